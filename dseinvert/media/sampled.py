"""A clip glanced through: what is cheap to see of its frames, of which few are made pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.media.clip import Clip, Trouble
from dseinvert.media.colour import Converter, guessed
from dseinvert.media.frame_files import read_frame_file
from dseinvert.media.pixels import Pixels
from dseinvert.media.video_read import timed_frames


@dataclass(frozen=True)
class Glimpse:
    """A frame that is a picture only for whoever asks; until the next one comes."""

    time: Fraction
    """Seconds from the beginning of the clip."""
    pixels: Callable[[], Pixels]
    """The frame uint8 [H, W, 3], upright; an interlaced one is as it is stored."""
    gray: Callable[[float], NDArray[np.uint8]] | None
    """The same in grey, at a scale from 0 to 1; None = that would be as dear as the picture."""


def glimpses(clip: Clip) -> Iterator[Glimpse]:
    """The frames of a clip, without those that no other leans on, so that it is read in half of
    the time.

    Raises InputError where the clip cannot be read.
    """
    return _files(clip) if clip.files else _decoded(clip)


def _files(clip: Clip) -> Iterator[Glimpse]:
    for file, pts in zip(clip.files, clip.times, strict=True):
        yield Glimpse(pts * clip.time_base - clip.start, partial(read_frame_file, file, clip), None)


def _decoded(clip: Clip) -> Iterator[Glimpse]:
    from av.video.reformatter import VideoReformatter

    width, height = clip.size[::-1] if clip.turn.transpose else clip.size
    converter = Converter(guessed(clip.colours, width, height), width, height)
    shrinker = VideoReformatter()

    def upright(frame: Any) -> Pixels:
        return clip.turn(converter.to_rgb(frame))

    def small(frame: Any, scale: float) -> NDArray[np.uint8]:
        across, down = (max(1, round(scale * side)) for side in (width, height))
        gray = shrinker.reformat(frame, across, down, format="gray", interpolation="AREA")
        return np.ascontiguousarray(clip.turn(gray.to_ndarray()))

    for pts, frame in timed_frames(clip, Trouble(), skim=True):
        time = pts * clip.time_base - clip.start
        yield Glimpse(time, partial(upright, frame), partial(small, frame))
