"""`dseinvert edit`: saved latents in, pictures out, without inverting again."""

from __future__ import annotations

from typing import Annotated

import typer

from dseinvert.cli.checks import check_edit_run, check_spread
from dseinvert.cli.spread import here, spread_out
from dseinvert.cli.verb import FAILS, Done, verb
from dseinvert.config import EditOptions, SpreadOptions
from dseinvert.media.atomic import shown
from dseinvert.progress import Watcher


@verb(EditOptions, quiet=FAILS, none_is_default=False)
def edit(
    paths: Annotated[list[str], typer.Argument(help="Latent files, folders and globs.")],
    options: EditOptions,
    spread: SpreadOptions,
    watcher: Watcher,
) -> Done:
    """Render saved latents, edited; without --edit, as they are.

    dseinvert edit latents/*.safetensors --edit smile=+1.5 --out smiling

    dseinvert edit latents --sliders --out look
    """
    check_edit_run(paths, options)
    check_spread(spread)
    shared = spread_out("edit", paths, options, spread, watcher)
    if shared is not None:
        return shared
    from dseinvert.run.play.edit import run_edit
    from dseinvert.run.spread.choice import part_of

    outcome = run_edit(paths, here(options, spread), watcher, part_of(spread))
    where = f"; see {shown(options.out)}" if outcome.done else "; nothing was written"
    watcher.note(outcome.summary() + where)
    return Done(outcome.asdict, code=outcome.exit_code)
