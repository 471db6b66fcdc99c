"""`dseinvert edit`: saved latents in, pictures out, without inverting again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.images import batch_size
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.config import EditOptions, field_docs

HELP = field_docs(EditOptions)


def edit(
    paths: Annotated[list[str], typer.Argument(help="Latent files, folders and globs.")],
    out: Annotated[Path, typer.Option(help=HELP["out"])],
    edit: Annotated[list[str] | None, typer.Option(help=HELP["edits"])] = None,
    strengths: Annotated[str | None, typer.Option(help=HELP["strengths"])] = None,
    sweep: Annotated[str | None, typer.Option(help=HELP["sweep"])] = None,
    sliders: Annotated[bool, typer.Option("--sliders", help=HELP["sliders"])] = False,
    identity: Annotated[Path | None, typer.Option(help=HELP["identity"])] = None,
    identity_floor: Annotated[float, typer.Option(help=HELP["identity_floor"])] = 0.7,
    mask: Annotated[str | None, typer.Option(help=HELP["mask"])] = None,
    model: Annotated[str, typer.Option(help=HELP["model"])] = "default",
    device: Annotated[str, typer.Option(help=HELP["device"])] = "auto",
    backend: Annotated[str, typer.Option(help=HELP["backend"])] = "auto",
    batch: Annotated[str, typer.Option(help=HELP["batch"])] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
) -> int:
    """Render saved latents, edited; without --edit, as they are.

    dseinvert edit latents/*.safetensors --edit smile=+1.5 --out smiling
    """
    options = EditOptions(
        out=out,
        edits=tuple(edit or ()),
        strengths=strengths,
        sweep=sweep,
        sliders=sliders,
        identity=identity,
        identity_floor=identity_floor,
        mask=mask,
        model=model,
        device=device,
        backend=backend,
        batch=batch_size(batch),
    )
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.play.edit import run_edit

        with watching(quiet) as watcher:
            outcome = run_edit(paths, options, watcher)
            watcher.note(f"{outcome.summary()}; see {out}")
    if json:
        print_json(outcome.asdict())
    return int(outcome.exit_code)
