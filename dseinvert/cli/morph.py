"""`dseinvert morph`: a video of the way from latent to latent."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.config import MorphOptions
from dseinvert.errors import UsageError


@offer(MorphOptions, {"fps": str})
def morph(
    paths: Annotated[list[str], typer.Argument(help="Latent files, folders and globs.")],
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
    **given: Any,
) -> None:
    """Draw the way from each latent to the next.

    dseinvert morph latents/*.safetensors --frames 60 --out morph.mp4
    """
    options = MorphOptions(**{**given, "fps": _rate(str(given["fps"]))})
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.play.morph import run_morph

        with watching(quiet) as watcher:
            done = run_morph(paths, options, watcher)
            watcher.note(f"{done.frames} frames; see {options.out}")
    if json:
        print_json(done.asdict())


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--fps {text!r}: not a rate", "such as 25 or 30000/1001") from error
