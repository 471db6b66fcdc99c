"""One clip on its way through the passes: what is to do, what is known, and who hears of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dseinvert import names
from dseinvert.errors import InputError
from dseinvert.latent.clip import ClipLatents
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip
from dseinvert.media.video_read import Frame, read_frames
from dseinvert.progress import Watcher
from dseinvert.run.video.plan import Task
from dseinvert.run.video.reel import Reel
from dseinvert.stop import Stop
from dseinvert.video.tracks import Track


class Stopped(Exception):
    """The run was asked to stop; what is done is kept."""


@dataclass(frozen=True)
class Seen:
    """What one reading of a clip told."""

    tracks: tuple[Track, ...]
    """None are known where the latents were there already."""
    starts: tuple[int, ...]
    """Places of the frames that begin a shot."""
    pts: NDArray[np.int64]
    """[F] when each frame is shown, in ticks."""
    lost: int
    """Frames that could not be decoded."""
    problems: tuple[str, ...]
    """A phrase each."""
    partial: bool
    """Whether the clip is not all there, or was damaged."""

    def text(self) -> dict[str, str]:
        """What a reading told besides tracks and times, for the header of a file."""
        return {
            "shots": json.dumps(self.starts),
            "lost": str(self.lost),
            "problems": json.dumps(self.problems),
            "partial": str(int(self.partial)),
        }

    @classmethod
    def parse(
        cls, tracks: Sequence[Track], pts: NDArray[np.int64], text: Mapping[str, str]
    ) -> Seen:
        """What `text` made text of, with the rest; KeyError or ValueError where it did not."""
        starts = names.each(names.json_value(text["shots"]), names.count)
        problems = names.each(names.json_value(text["problems"]), names.text)
        lost, partial = int(text["lost"]), text["partial"] == "1"
        return cls(tuple(tracks), tuple(starts), pts, lost, tuple(problems), partial)


NOTHING = Seen((), (), np.empty(0, np.int64), 0, (), False)
"""Before the first reading."""


@dataclass(frozen=True)
class Work:
    """A clip, what is known of it so far, and who hears how far it is and may stop it."""

    task: Task
    watcher: Watcher
    stop: Stop
    seen: Seen = NOTHING
    reel: Reel | None = None
    """What the first pass keeps of the frames; None = each pass decodes them."""

    def knowing(self, seen: Seen) -> Work:
        """The same work once the clip was read."""
        return replace(self, seen=seen)

    @property
    def clip(self) -> Clip:
        """The source."""
        return self.task.clip

    @property
    def count(self) -> int:
        """Frames that were seen."""
        return len(self.seen.pts)

    def seconds(self, place: int) -> Fraction:
        """When the frame at `place` is shown, by the clock of the clip."""
        return int(self.seen.pts[place]) * self.clip.time_base

    def begin(self, what: str, total: int) -> None:
        """Say that a pass begins in which `total` things are to do."""
        self.watcher.begin(f"{self.task.name}: {what}", total)

    def advance(self) -> None:
        """One more is done."""
        self.watcher.advance()

    def check(self) -> None:
        """Raises Stopped where the run was asked to stop."""
        if self.stop.code is not None:
            raise Stopped

    def kept(self, name: str) -> Path:
        """A file or folder that a killed run leaves to the next one."""
        return self.task.kept / name

    def latents(self) -> ClipLatents:
        """Its latents, opened; they must have been written. One thread at a time reads them."""
        return ClipLatents(self.task.latents)

    def frames(
        self, first: int, depth: int = 8, *, planes: bool = False
    ) -> Iterator[tuple[int, Frame]]:
        """The frames from place `first` on, each with its place; the same as when they were `seen`.

        depth: bits a sample; planes: as in `read_frames`. Raises InputError where they are not the
        same.
        """
        begin, frames = self._read(first, depth, planes)
        place = begin - 1
        for frame in frames:
            place += 1
            if place >= self.count or frame.pts != self.seen.pts[place]:
                raise self.changed()
            if place >= first:
                yield place, frame
        if place + 1 != self.count:
            raise self.changed()

    def _read(self, first: int, depth: int, planes: bool) -> tuple[int, Iterable[Frame]]:
        """Frames up to the last, and the place of the first of them, which is `first` or before."""
        if self.reel is not None and self.reel.frames and depth == 8 and not planes:
            return first, self.reel.frames[first:]
        # After damage, or with times made up, only a reading from the beginning is sure to agree.
        # A whole picture of an interlaced one is made with the frame before it, too.
        doubtful = self.seen.partial or self.seen.problems or self.clip.deinterlaced
        skip = first and not doubtful
        start = self.seconds(first) if skip else self.task.cut.start
        frames = read_frames(self.clip, start, self.task.cut.end, depth, planes=planes)
        return first if skip else 0, frames

    def keeping(self, frames: Iterable[Frame]) -> Iterable[Frame]:
        """The frames of the first pass from the beginning, kept where that is wanted."""
        return frames if self.reel is None else self.reel.keeping(frames)

    def changed(self) -> InputError:
        """The error of a clip that is not what it was."""
        return InputError(f"{shown(self.clip.path)}: changed while it was read", "run again")
