"""Where the frames of one output go: a video, or a folder of pictures; both resume."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dseinvert.media.atomic import remove_stale_parts, sync_folder
from dseinvert.media.frame_files import FrameFiles, writing_frames
from dseinvert.media.video_write import writing
from dseinvert.run.video.plan import Output, Task


class Sink(Protocol):
    """Takes the frames of an output, from number `done` on."""

    done: int
    """Frames that need not be written again."""
    problems: list[str]
    """What was wrong beside the frames; whole on leaving."""

    def write(self, pixels: np.ndarray, pts: int) -> None:
        """The next frame, [H, W, 3], and when it is shown in ticks."""


@contextmanager
def open_sink(task: Task, output: Output, pts: NDArray[np.int64], every: int) -> Iterator[Sink]:
    """On leaving it the output is there under its name; after an exception what was done waits.

    pts: [F] of all frames. every: frames a segment.
    """
    kept = task.work / f"{output.label}-{output.key}"
    if task.settings is None:
        with _frames(task, output, kept, pts) as frames:
            yield frames
        return
    with writing(output.path, task.settings, task.clip, task.cut, kept, every) as segments:
        yield segments


class _Frames:
    """A folder of pictures in the making."""

    def __init__(self, files: FrameFiles, done: int) -> None:
        self.done, self.problems = done, list[str]()
        self._files = files

    def write(self, pixels: np.ndarray, pts: int) -> None:
        """See `Sink`."""
        self._files.write(pixels, pts)


@contextmanager
def _frames(task: Task, output: Output, kept: Path, pts: NDArray[np.int64]) -> Iterator[Sink]:
    with writing_frames(kept, task.clip.time_base) as files:
        remove_stale_parts(kept)
        done = 0  # a picture has its name only when it is whole
        while done < len(pts) and (kept / f"frame-{done + 1:06d}.png").exists():
            files.rows.append((f"frame-{done + 1:06d}.png", int(pts[done])))
            done += 1
        yield _Frames(files, done)
    if output.path.exists():
        shutil.rmtree(output.path)
    kept.replace(output.path)
    sync_folder(output.path.parent)
