"""`dseinvert mix`: rows of one latent in another."""

from __future__ import annotations

from typing import Annotated

import typer

from dseinvert.cli.verb import NO_PROGRESS, Done, verb
from dseinvert.config import MixOptions
from dseinvert.progress import Watcher


@verb(MixOptions, quiet=NO_PROGRESS)
def mix(
    base: Annotated[str, typer.Argument(help="Latent file, folder or glob: who it is.")],
    other: Annotated[str, typer.Argument(help="Latent file, folder or glob: what is taken over.")],
    options: MixOptions,
    watcher: Watcher,
) -> Done:
    """Mix styles: every first latent with some rows of every second one.

    dseinvert mix latents latents --layers 4-5 --out mixes
    """
    from dseinvert.run.play.mix import SHEET, run_mix

    done = run_mix([base], [other], options, watcher)
    watcher.note(f"{len(done.names)} mixes; see {options.out / SHEET}")
    return Done(done.asdict, code=done.exit_code)
