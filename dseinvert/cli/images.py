"""`dseinvert images`: faces in, latents and pictures out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from dseinvert.cli.checks import check_images, check_spread
from dseinvert.cli.inputs import inside_inputs
from dseinvert.cli.process import spare_cores
from dseinvert.cli.spread import after, here, spread_out
from dseinvert.cli.verb import FAILS, Done, verb
from dseinvert.config import ImagesOptions, SpreadOptions
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.progress import Watcher


@verb(ImagesOptions, quiet=FAILS, none_is_default=False, by_file=True)
def images(
    paths: Annotated[list[str], typer.Argument(help="Image files, folders and globs.")],
    options: ImagesOptions,
    spread: SpreadOptions,
    watcher: Watcher,
) -> Done:
    """Invert, edit and render the faces of images.

    dseinvert images photos --out latents --edit age=+2 --edit smile=1,age=-1

    dseinvert images group-photo.jpg --out pasted --edit smile=+1.5 --paste
    """
    check_images(paths, options)
    check_spread(spread)
    # Read when torch is loaded: its idle threads must not spin on cores that the readers need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _check_kept(paths, options, spread)
    word = "folders" if options.keep_folders else "images"
    shared = spread_out(word, paths, options, spread, watcher)
    if shared is not None:
        return shared
    from dseinvert.run.spread.choice import part_of
    from dseinvert.run.spread.verbs import runner

    spare_cores()
    if inside_inputs(paths, options.out):
        watcher.note(f"{options.out} is an input too: what is made lies beside the images")
    outcome = runner(word)(paths, here(options, spread), watcher, part_of(spread))
    if options.dry_run:
        return Done(outcome.asdict, outcome.preview(), code=outcome.exit_code)
    page = options.out if options.keep_folders else options.out / "index.html"
    see = after(spread, options.out) or f"; see {shown(page)}"
    watcher.note(outcome.summary() + see)
    return Done(outcome.asdict, code=outcome.exit_code)


def _check_kept(paths: Sequence[str], options: ImagesOptions, spread: SpreadOptions) -> None:
    """OutputError where results of other options would be replaced, as far as these tell."""
    if not far(options.out) and not options.out.is_dir():
        return
    from dseinvert.run.images.kept import check_before_loading
    from dseinvert.run.spread.choice import part_of

    check_before_loading(paths, options, part_of(spread))
