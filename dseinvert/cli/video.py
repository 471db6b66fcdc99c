"""`dseinvert video`: a clip in, the same clip with its faces edited out."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dseinvert.cli.checks import check_spread, check_video
from dseinvert.cli.process import spare_cores
from dseinvert.cli.spread import after, here, spread_out
from dseinvert.cli.verb import FAILS, Done, verb
from dseinvert.config import SpreadOptions, VideoOptions
from dseinvert.progress import Watcher


@verb(VideoOptions, quiet=FAILS, by_file=True)
def video(
    paths: Annotated[list[str], typer.Argument(help="Videos, folders of frames, and globs.")],
    options: VideoOptions,
    spread: SpreadOptions,
    watcher: Watcher,
) -> Done:
    """Edit the faces of videos; without --edit, reconstruct them.

    dseinvert video clip.mp4 --edit age=+2 --out older.mp4

    dseinvert video clip.mp4 --edit smile=+1 --preview --out first-look

    dseinvert video clip.mp4 --edit left:age=0..+2@0:00.1-0:00.4 --out directed
    """
    check_video(paths, options)
    check_spread(spread)
    # Read when torch is loaded: its idle threads must not spin on cores that decoding needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    spare_cores()
    if options.list_people:
        return _listed(paths, options, watcher)
    if options.still is not None:
        return _stills(paths, options, watcher)
    shared = spread_out("video", paths, options, spread, watcher)
    if shared is not None:
        return shared
    from dseinvert.run.spread.choice import part_of
    from dseinvert.run.video.run import run_video

    outcome = run_video(paths, here(options, spread), watcher, part_of(spread))
    if options.dry_run:
        return Done(outcome.asdict, outcome.preview(), code=outcome.exit_code)
    watcher.note(outcome.summary() + (after(spread, options.out) or outcome.where()))
    return Done(outcome.asdict, code=outcome.exit_code)


def _listed(paths: list[str], options: VideoOptions, watcher: Watcher) -> Done:
    from dseinvert.run.video.sheet import list_people

    lists = list_people(paths, options, watcher)
    return Done(lists.asdict, lists.lines(), lists.notes(), code=lists.exit_code)


def _stills(paths: list[str], options: VideoOptions, watcher: Watcher) -> Done:
    from dseinvert.run.video.still import write_stills

    stills = write_stills(paths, options, watcher)
    return Done(stills.asdict, map(str, stills.written), code=stills.exit_code)
