"""Some frames of a clip, spread evenly: all are decoded, and only these are made pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

from dseinvert.media.clip import Clip, Trouble
from dseinvert.media.colour import Converter, guessed
from dseinvert.media.frame_files import read_frame_file
from dseinvert.media.pixels import Pixels
from dseinvert.media.video_read import timed_frames

_Later = tuple[Fraction, Callable[[], Pixels]]


def sampled(clip: Clip, every: Fraction) -> Iterator[tuple[float, Pixels]]:
    """Seconds from the beginning of a clip, and a frame uint8 [H, W, 3], upright.

    It is the first in each `every` seconds; interlaced ones are as they are stored. Raises
    InputError where the clip cannot be read.
    """
    due = Fraction(0)
    for time, pixels in _files(clip) if clip.files else _decoded(clip):
        if time >= due:
            yield float(time), pixels()
            due = (time // every + 1) * every


def _files(clip: Clip) -> Iterator[_Later]:
    for file, pts in zip(clip.files, clip.times, strict=True):
        yield pts * clip.time_base - clip.start, partial(read_frame_file, file, clip)


def _decoded(clip: Clip) -> Iterator[_Later]:
    width, height = clip.size[::-1] if clip.turn.transpose else clip.size
    converter = Converter(guessed(clip.colours, width, height), width, height)

    def upright(frame: Any) -> Pixels:
        return clip.turn(converter.to_rgb(frame))

    for pts, frame in timed_frames(clip, Trouble()):
        yield pts * clip.time_base - clip.start, partial(upright, frame)
