"""`dseinvert mix`: rows of one latent in another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.config import MixOptions


@offer(MixOptions, {})
def mix(
    base: Annotated[str, typer.Argument(help="Latent file, folder or glob: who it is.")],
    other: Annotated[str, typer.Argument(help="Latent file, folder or glob: what is taken over.")],
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
    **given: Any,
) -> None:
    """Mix styles: every first latent with some rows of every second one.

    dseinvert mix latents latents --layers 4-5 --out mixes
    """
    options = MixOptions(**given)
    with reserved_stdout():
        from dseinvert.run.flow.progress import watching
        from dseinvert.run.play.mix import SHEET, run_mix

        with watching(quiet) as watcher:
            done = run_mix([base], [other], options, watcher)
            watcher.note(f"{len(done.names)} mixes; see {options.out / SHEET}")
    if json:
        print_json(done.asdict())
