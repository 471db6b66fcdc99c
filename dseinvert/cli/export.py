"""`dseinvert export`: a model to files that run without this program."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.export.options import ExportOptions


@offer(ExportOptions, {})
def export(
    model: Annotated[str, typer.Argument(help="Model name or folder, or a checkpoint file.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the sidecar as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.")] = False,
    **given: Any,
) -> None:
    """Write a model as files for another runtime, each compared with PyTorch.

    dseinvert export default --to onnx --out exported
    """
    options = ExportOptions(**given)
    with reserved_stdout():
        from dseinvert.export.exporting import export_model
        from dseinvert.models import open_model, pick_device
        from dseinvert.run.flow.progress import watching

        with watching(quiet) as watcher:
            opened = open_model(model, pick_device(device))
            exported = export_model(opened, options, watcher.note)
            watcher.note(exported.summary())
    if json:
        print_json(exported.sidecar)
