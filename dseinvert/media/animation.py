"""A moving picture made of nothing but frames: a video, a GIF or a WebP, by its suffix."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from dseinvert.errors import OutputError, UsageError
from dseinvert.media.atomic import replacing, shown
from dseinvert.media.colour import BT709, LIMITED, Colours
from dseinvert.media.encoding import CODECS, CONTAINERS, Encoding, default_codec
from dseinvert.media.video_write import writing

PICTURES = {".gif": "GIF", ".webp": "WEBP"}
"""Animated pictures by suffix, and their formats."""
SUFFIXES = (*CONTAINERS, *PICTURES)
"""Of all that can be written."""
_CRF, _WHITE = 14, 255  # generated pictures are small: nothing is gained by saving bytes
_SRGB_AS_VIDEO = Colours(LIMITED, BT709, BT709, BT709)


def check_animation(path: Path) -> None:
    """Raise UsageError where the suffix is none that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"{shown(path)}: not the name of a video or moving picture", known)


def write_animation(path: Path, frames: Iterable[np.ndarray], rate: Fraction) -> None:
    """Write frames uint8 [H, W, 3] of one size, `rate` of them a second; whole or not at all.

    Videos are h264, or av1 where the container wants it, and get a white row or column where a
    side is odd; GIF and WebP loop.
    Raises UsageError for another suffix and OutputError where it cannot be written.
    """
    check_animation(path)
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise OutputError(f"{shown(path)}: there is no frame to write")
    every = chain([first], stream)
    if path.suffix.lower() in PICTURES:
        _write_picture(path, every, rate)
        return
    height, width = (side + side % 2 for side in first.shape[:2])
    with writing(path, _settings(default_codec(path), width, height, rate)) as segments:
        for number, frame in enumerate(every):
            segments.write(_even(frame), number)


def _settings(codec: str, width: int, height: int, rate: Fraction) -> Encoding:
    return Encoding(
        codec=codec,
        width=width,
        height=height,
        pixel_format="yuv420p",
        time_base=1 / rate,
        rate=rate,
        aspect=Fraction(1),
        colours=_SRGB_AS_VIDEO,
        crf=_CRF,
        preset=CODECS[codec].preset,
    )


def _even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    room = ((0, height % 2), (0, width % 2), (0, 0))
    return np.pad(frame, room, constant_values=_WHITE) if height % 2 or width % 2 else frame


def _write_picture(path: Path, frames: Iterable[np.ndarray], rate: Fraction) -> None:
    kind = PICTURES[path.suffix.lower()]
    pictures = (Image.fromarray(frame) for frame in frames)
    options = {"quality": 90, "method": 4} if kind == "WEBP" else {"optimize": False}
    with replacing(path) as part, part.open("wb") as file:
        next(pictures).save(
            file,
            kind,
            save_all=True,
            append_images=pictures,
            duration=round(1000 / rate),
            loop=0,
            **options,
        )
