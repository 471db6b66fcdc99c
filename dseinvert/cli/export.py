"""`dseinvert export`: a model to files that run without this program."""

from __future__ import annotations

from typing import Annotated

import typer

from dseinvert.cli.checks import check_export
from dseinvert.cli.verb import FAILS, Done, verb
from dseinvert.export.options import ExportOptions
from dseinvert.progress import Watcher


@verb(ExportOptions, json="Print the sidecar as JSON.", quiet=FAILS)
def export(
    model: Annotated[str, typer.Argument(help="Model name or folder, or a checkpoint file.")],
    options: ExportOptions,
    watcher: Watcher,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> Done:
    """Write a model as files for another runtime, each compared with PyTorch.

    dseinvert export default --to onnx --out exported

    dseinvert export default --what encoder --batch 1 --out encoder-only
    """
    check_export(model, device, options)
    from dseinvert.export.exporting import export_model
    from dseinvert.models import open_model, pick_device

    exported = export_model(open_model(model, pick_device(device)), options, watcher.note)
    watcher.note(exported.summary())
    return Done(lambda: exported.sidecar)
