"""Where the frames of one output go: a video, or a folder of pictures; both resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from dseinvert.media.atomic import output_error, remove_stale_parts, replace_folder
from dseinvert.media.frame_files import SOUND, FrameFiles, writing_frames
from dseinvert.media.planes import Planes
from dseinvert.media.video_write import write_sound, writing
from dseinvert.run.video.plan import Output
from dseinvert.run.video.unfinished import aside
from dseinvert.run.video.work import Work


class Sink(Protocol):
    """Takes the frames of an output, from number `done` on."""

    done: int
    """Frames that need not be written again."""
    problems: list[str]
    """What was wrong beside the frames; whole on leaving."""

    def write(self, picture: np.ndarray | Planes, pts: int) -> None:
        """The next frame, RGB [H, W, 3] for pictures, and when it is shown in ticks."""


@contextmanager
def open_sink(work: Work, output: Output, every: int) -> Iterator[Sink]:
    """On leaving it the output is there under its name; after an exception what was done waits.

    every: frames a segment.
    """
    task, kept = work.task, work.kept(f"{output.label}-{output.begun}")
    if task.settings is None:
        with _frames(work, output, kept) as frames:
            yield frames
        return
    with writing(output.path, task.settings, work.clip, task.cut, kept, every) as segments:
        yield segments


class _Frames:
    """A folder of pictures in the making."""

    def __init__(self, files: FrameFiles, done: int) -> None:
        self.done, self.problems = done, list[str]()
        self._files = files

    def write(self, picture: np.ndarray | Planes, pts: int) -> None:
        """See `Sink`."""
        assert isinstance(picture, np.ndarray)
        self._files.write(picture, pts)


@contextmanager
def _frames(work: Work, output: Output, kept: Path) -> Iterator[Sink]:
    with writing_frames(kept, work.clip.time_base) as files:
        remove_stale_parts(kept)
        done = 0  # a picture has its name only when it is whole
        while done < work.count and (kept / f"frame-{done + 1:06d}.png").exists():
            files.rows.append((f"frame-{done + 1:06d}.png", int(work.seen.pts[done])))
            done += 1
        frames = _Frames(files, done)
        yield frames
        frames.problems += write_sound(kept / SOUND, work.clip, work.task.cut)
    try:
        replace_folder(kept, output.path, aside(work.task, output))
    except OSError as error:
        raise output_error(output.path, error) from error
