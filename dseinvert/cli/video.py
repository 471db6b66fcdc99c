"""`dseinvert video`: a clip in, the same clip with its faces edited out."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dseinvert.cli.checks import check_video
from dseinvert.cli.process import spare_cores
from dseinvert.cli.verb import FAILS, Done, verb
from dseinvert.config import VideoOptions
from dseinvert.progress import Watcher


@verb(VideoOptions, quiet=FAILS)
def video(
    paths: Annotated[list[str], typer.Argument(help="Videos, folders of frames, and globs.")],
    options: VideoOptions,
    watcher: Watcher,
) -> Done:
    """Edit the faces of videos; without --edit, reconstruct them.

    dseinvert video clip.mp4 --edit age=+2 --out older.mp4

    dseinvert video clip.mp4 --edit smile=+1 --preview --out first-look
    """
    check_video(paths, options)
    # Read when torch is loaded: its idle threads must not spin on cores that decoding needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from dseinvert.run.video.run import run_video

    spare_cores()
    outcome = run_video(paths, options, watcher)
    if options.dry_run:
        return Done(outcome.asdict, outcome.preview(), code=outcome.exit_code)
    watcher.note(outcome.summary())
    return Done(outcome.asdict, code=outcome.exit_code)
