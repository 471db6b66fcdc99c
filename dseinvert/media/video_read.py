"""The frames of a clip one after the other: upright RGB with the time each is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from dseinvert.media.clip import Clip, Trouble, decoded, open_video
from dseinvert.media.colour import Colours, Converter, guessed, own_range
from dseinvert.media.deinterlace import whole_pictures
from dseinvert.media.frame_files import read_frame_file
from dseinvert.media.planes import Planes, is_yuv, planes_of, upright_format

_SECONDS_BACK = (0, 5, 60)
_JUMP = 1  # seconds back from which on a clock has been set anew rather than jittered
_SHORTFALL = Fraction(1)  # seconds a header may promise too much


@dataclass(frozen=True)
class Frame:
    """One picture of a clip."""

    index: int
    """Counted from the first frame read."""

    pts: int
    """When it is shown, in ticks of the clip's `time_base`; grows from frame to frame."""

    time: Fraction
    """The same in seconds."""

    duration: int
    """How long it is shown, in ticks; 0 = not said."""

    pixels: np.ndarray
    """[H, W, 3] uint8, or uint16 where a depth of 16 was asked for; full range, upright."""

    key: bool
    """True where decoding can begin."""

    planes: Planes | None = None
    """The samples of `pixels` as the clip stores them; None = not asked for, or it has no such."""


class Reading:
    """The frames of `read_frames`, once; `trouble` tells what was lost, as far as it was read."""

    def __init__(
        self,
        clip: Clip,
        start: Fraction | None,
        end: Fraction | None,
        depth: int,
        resume: Fraction | None,
        planes: bool,
    ) -> None:
        self.clip = clip
        self.trouble = Trouble()
        self._end, self._depth, self._planes = end, depth, planes
        self._start, self._whole = (start if resume is None else resume), start is None

    @property
    def partial(self) -> bool:
        """True where the clip, or what was read of it, is not all there or was damaged."""
        return bool(self.clip.partial or self.trouble.lost or self.trouble.damaged)

    def __iter__(self) -> Iterator[Frame]:
        frames = self._files() if self.clip.files else self._decoded()
        for index, (pts, duration, pixels, key, planes) in enumerate(frames):
            time = pts * self.clip.time_base
            yield Frame(index, pts, time, duration, pixels, key, planes)

    def _wanted(self, pts: int) -> bool:
        return self._start is None or pts * self.clip.time_base >= self._start

    def _over(self, pts: int) -> bool:
        return self._end is not None and pts * self.clip.time_base >= self._end

    def _files(self) -> Iterator[tuple[int, int, np.ndarray, bool, None]]:
        for file, pts in zip(self.clip.files, self.clip.times, strict=True):
            if self._over(pts):
                return
            if self._wanted(pts):
                yield pts, 0, read_frame_file(file, self.clip), True, None

    def _decoded(self) -> Iterator[tuple[int, int, np.ndarray, bool, Planes | None]]:
        clip = self.clip
        width, height = clip.size[::-1] if clip.turn.transpose else clip.size
        colours = guessed(clip.colours, width, height)
        converter = Converter(colours, width, height)
        frames = timed_frames(clip, self.trouble, self._start, self._whole)
        for pts, frame in whole_pictures(frames) if clip.deinterlaced else frames:
            if self._over(pts):
                return
            if self._wanted(pts):
                if (frame.width, frame.height) != (width, height):
                    self.trouble.note("changes its size; later frames are scaled to the first")
                pixels = clip.turn(converter.to_rgb(frame, self._depth))
                planes = self._planes_of(frame, converter, colours)
                yield pts, frame.duration or 0, pixels, bool(frame.key_frame), planes

    def _planes_of(self, frame: Any, converter: Converter, colours: Colours) -> Planes | None:
        name = self.clip.pixel_format
        planar = upright_format(name, self.clip.turn) if self._planes else None
        if planar is None:
            return None
        own = own_range(frame, colours.range)
        stored = name if is_yuv(name) else planar
        wanted = converter.from_frame(frame, stored, own)
        return planes_of(wanted, self.clip.turn, colours)


def read_frames(
    clip: Clip,
    start: Fraction | None = None,
    end: Fraction | None = None,
    depth: int = 8,
    resume: Fraction | None = None,
    planes: bool = False,
) -> Reading:
    """Decode the frames shown from `start` until before `end`, in seconds; None = the clip's own.

    One frame at a time is held. A packet that cannot be decoded costs its frame; missing or
    repeated times are made up from the average rate. Both are told by `Reading.trouble`. A start
    is reached from the key frame before it and gives the same pixels as reading from the beginning.
    resume: where to begin in place of `start`, for who has read all before it; None = nobody has.
    planes: whether frames come with the samples of which their pixels were made, too.
    """
    return Reading(clip, start, end, depth, resume, planes)


def frame_times(clip: Clip, trouble: Trouble | None = None) -> list[int]:
    """The `pts` of every frame that can be decoded; `trouble` is filled if given."""
    if clip.files:
        return list(clip.times)
    return [pts for pts, _ in timed_frames(clip, trouble or Trouble())]


def timed_frames(
    clip: Clip,
    trouble: Trouble,
    start: Fraction | None = None,
    whole: bool | None = None,
    skim: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Decoded frames from a key frame up to `start` on, each with a growing time in ticks.

    whole: whether the end is to be where the header says; None = when there is no `start`.
    skim: leave out the frames that no other leans on, and with them half of the work.
    """
    step = max(1, round(1 / (clip.rate * clip.time_base)))
    last, shift = None, 0
    for frame in _decoded_from(clip, start, trouble, skim):
        pts = frame.dts if frame.pts is None else frame.pts
        if pts is None:
            trouble.note("has frames without a time; theirs is made up from the average rate")
            pts = round(clip.start / clip.time_base) if last is None else last + step
        elif last is not None and (pts := pts + shift) <= last:
            trouble.note("has times that do not grow; they are moved behind the frame before")
            onward = step if (last - pts) * clip.time_base >= _JUMP else 1
            shift += last + step - pts if onward == step else 0
            pts = last + onward
        last = pts
        yield pts, frame
    if (start is None if whole is None else whole) and last is not None:
        _check_the_end(clip, last + step, trouble)


def _decoded_from(
    clip: Clip, start: Fraction | None, trouble: Trouble, skim: bool
) -> Iterator[Any]:
    """Frames from a key frame shown at or before `start`, or from the beginning."""
    seeking = start is not None and start > clip.start
    for back in _SECONDS_BACK if seeking else ():
        assert start is not None
        with _opened(clip, skim) as (container, stream):
            before = trouble.lost, trouble.damaged, [*trouble.problems]
            frames = _sought(container, stream, start - back, trouble)
            # A frame shown before its key frame may lean on what was not decoded.
            first = next((frame for frame in frames if frame.key_frame), None)
            trouble.lost, trouble.damaged, trouble.problems[:] = before
            pts = first.pts if first else None
            if pts is not None and pts * clip.time_base <= start:
                yield first
                yield from frames
                return
    with _opened(clip, skim) as (container, stream):
        yield from decoded(container, stream, trouble)


@contextmanager
def _opened(clip: Clip, skim: bool) -> Iterator[tuple[Any, Any]]:
    with open_video(clip.path) as container:
        stream = container.streams[clip.stream]
        if skim and stream.codec_context.has_b_frames:
            stream.codec_context.skip_frame = "NONREF"
        yield container, stream


def _sought(container: Any, stream: Any, time: Fraction, trouble: Trouble) -> Iterator[Any]:
    import av

    try:
        container.seek(int(time / stream.time_base), stream=stream)
    except av.error.FFmpegError:  # a container that cannot
        return
    yield from decoded(container, stream, trouble)


def _check_the_end(clip: Clip, end: int, trouble: Trouble) -> None:
    """Compare the last frame's end with the header's where that one tells it of each stream."""
    if clip.container.startswith("mov") and clip.duration:
        missing = clip.start + clip.duration - end * clip.time_base
        if missing > _SHORTFALL:
            trouble.damage(f"ends {float(missing):.1f} s before its header says")
