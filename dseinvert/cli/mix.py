"""`dseinvert mix`: rows of one latent in another."""

from __future__ import annotations

from typing import Annotated

import typer

from dseinvert.cli.checks import check_mix
from dseinvert.cli.verb import NO_PROGRESS, Done, verb
from dseinvert.config import MixOptions
from dseinvert.names import counted
from dseinvert.progress import Watcher


@verb(MixOptions, quiet=NO_PROGRESS)
def mix(
    base: Annotated[str, typer.Argument(help="Latent file, folder or glob: who it is.")],
    other: Annotated[str, typer.Argument(help="Latent file, folder or glob: what is taken over.")],
    options: MixOptions,
    watcher: Watcher,
) -> Done:
    """Mix styles: every first latent with some rows of every second one.

    A mixture is named after both, A.mix-B, so that no two have one name.

    dseinvert mix latents latents --layers 4-5 --out mixes

    dseinvert mix latents latents --layers 0-3 --out poses
    """
    check_mix(base, other, options)
    from dseinvert.run.play.mix import SHEET, run_mix

    done = run_mix([base], [other], options, watcher)
    watcher.note(f"{counted(len(done.names), 'picture')} mixed; see {options.out / SHEET}")
    return Done(done.asdict, code=done.exit_code)
