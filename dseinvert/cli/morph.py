"""`dseinvert morph`: a video of the way from latent to latent."""

from __future__ import annotations

from typing import Annotated

import typer

from dseinvert.cli.checks import check_morph
from dseinvert.cli.verb import NO_PROGRESS, Done, verb
from dseinvert.config import MorphOptions
from dseinvert.names import counted
from dseinvert.progress import Watcher


@verb(MorphOptions, quiet=NO_PROGRESS)
def morph(
    paths: Annotated[list[str], typer.Argument(help="Latent files, folders and globs.")],
    options: MorphOptions,
    watcher: Watcher,
) -> Done:
    """Draw the way from each latent to the next.

    dseinvert morph latents/*.safetensors --frames 60 --out morph.mp4

    dseinvert morph latents --loop --fps 25 --out round.gif
    """
    check_morph(paths, options)
    from dseinvert.run.play.morph import run_morph

    done = run_morph(paths, options, watcher)
    watcher.note(f"{counted(done.frames, 'frame')}; see {options.out}")
    return Done(done.asdict, code=done.exit_code)
