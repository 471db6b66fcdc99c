"""`dseinvert images`: faces in, latents and pictures out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.process import spare_cores
from dseinvert.cli.stdout import print_outcome, reserved_stdout
from dseinvert.config import ImagesOptions, field_docs
from dseinvert.errors import UsageError

HELP = field_docs(ImagesOptions)


def images(
    paths: Annotated[list[str], typer.Argument(help="Image files, folders and globs.")],
    out: Annotated[Path, typer.Option(help=HELP["out"])],
    edit: Annotated[list[str] | None, typer.Option(help=HELP["edits"])] = None,
    model: Annotated[str, typer.Option(help=HELP["model"])] = "default",
    device: Annotated[str, typer.Option(help=HELP["device"])] = "auto",
    backend: Annotated[str, typer.Option(help=HELP["backend"])] = "auto",
    batch: Annotated[str, typer.Option(help=HELP["batch"])] = "auto",
    label: Annotated[str, typer.Option(help=HELP["label"])] = "auto",
    align: Annotated[bool, typer.Option(help=HELP["align"])] = True,
    paste: Annotated[bool, typer.Option("--paste", help=HELP["paste"])] = False,
    refine: Annotated[str, typer.Option(help=HELP["refine"])] = "none",
    space: Annotated[str | None, typer.Option(help=HELP["space"])] = None,
    budget: Annotated[str | None, typer.Option(help=HELP["budget"])] = None,
    until: Annotated[str | None, typer.Option(help=HELP["until"])] = None,
    identity: Annotated[Path | None, typer.Option(help=HELP["identity"])] = None,
    identity_floor: Annotated[float, typer.Option(help=HELP["identity_floor"])] = 0.7,
    mask: Annotated[str | None, typer.Option(help=HELP["mask"])] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=HELP["overwrite"])] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=HELP["dry_run"])] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
) -> int:
    """Invert, edit and render the faces of images.

    dseinvert images photos --out latents --edit age=+2 --edit smile=1,age=-1
    """
    options = ImagesOptions(
        out=out,
        edits=tuple(edit or ()),
        model=model,
        device=device,
        backend=backend,
        batch=batch_size(batch),
        label=class_number(label),
        align=align,
        paste=paste,
        refine=refine,
        space=space,
        budget=budget,
        until=until,
        identity=identity,
        identity_floor=identity_floor,
        mask=mask,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    return _run(paths, options, json, quiet)


def _run(paths: list[str], options: ImagesOptions, json: bool, quiet: bool) -> int:
    # Read when torch is loaded: its idle threads must not spin on cores that the readers need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.images.run import run_images

        spare_cores()
        with watching(quiet) as watcher:
            outcome = run_images(paths, options, watcher)
            if not options.dry_run:
                watcher.note(f"{outcome.summary()}; see {options.out / 'index.html'}")
    return print_outcome(outcome, json=json, dry_run=options.dry_run)


def batch_size(text: str) -> int | None:
    """`auto` (None) or a number of at least one."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 4096:
        raise UsageError(f"--batch {text!r}", "auto, or a number from 1 to 4096")
    return int(text)


def class_number(text: str) -> int | None:
    """`auto` (None) or a number."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UsageError(f"--label {text!r}", "auto, or the number of a class")
    return int(text)
