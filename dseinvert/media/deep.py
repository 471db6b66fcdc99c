"""Colours of 16 bits, of which Pillow keeps the upper eight: all of them, and those of fewer bits.

A camera's 12 bits in numbers of 16 would be read as nearly black.
"""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dseinvert.media.convert import fills, is_grey, said_small, tagged_white

_DEEP = 65535
_SMALL = (1023.0, 4095.0)
# The upper eight bits of 14, and one for rounding.
_DARK = 64
_BITS_PER_SAMPLE = 258
_PPM = re.compile(rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*(\d+)")


def deep_colours(image: Image.Image, data: bytes, notes: list[str]) -> NDArray[np.uint16] | None:
    """The colours [H, W, 3 or 4] of a file in 16 bits, on their whole scale; None = it has 8.

    Where they cannot be read, `notes` gets a phrase.
    """
    if is_grey(image) or not _has_16_bits(image, data):
        return None
    deep = _read(image, data)
    if deep is None:
        notes.append("was written with 8 bits, for its 16 cannot be read")
        return None
    return _scaled(deep, _white(deep, image, data) or _DEEP)


def brighten(image: Image.Image, data: bytes, notes: list[str]) -> None:
    """Give an image, in place, the 8 bits that matter, where its 16 hold numbers of fewer."""
    if is_grey(image) or not _has_16_bits(image, data) or _peak(image) > _DARK:
        return
    deep = _read(image, data)
    white = None if deep is None else _white(deep, image, data)
    if deep is None or white is None or _says_maxval(data) not in (None, _DEEP):
        return
    shallow = np.rint(_scaled(deep, white) / 257).astype(np.uint8)
    image.paste(Image.fromarray(shallow).convert(image.mode))
    notes.append(said_small(float(deep[..., :3].max()), white))


def _peak(image: Image.Image) -> int:
    """The largest of its colours, as Pillow has them."""
    colours = image.getextrema()[: 1 if image.mode == "LA" else 3]
    return max(int(one[1]) for one in colours if isinstance(one, tuple))


def _read(image: Image.Image, data: bytes) -> NDArray[np.uint16] | None:
    try:
        deep: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    wanted = (image.height, image.width)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3 or deep.shape[:2] != wanted:
        return None
    return np.asarray(deep[..., [2, 1, 0, 3][: deep.shape[2]]])


def _white(deep: NDArray[np.uint16], image: Image.Image, data: bytes) -> float | None:
    """The largest number that colours may be, where that is less than 16 bits hold."""
    colours = deep[..., :3].astype(np.float32)
    tagged = _says_maxval(data) or tagged_white(image)
    if tagged is not None and colours.max() <= tagged < _DEEP:
        return float(tagged)
    return next((white for white in _SMALL if fills(colours, white)), None)


def _scaled(deep: NDArray[np.uint16], white: float) -> NDArray[np.uint16]:
    """On the whole scale; alpha too, where it keeps to the same numbers."""
    if white == _DEEP:
        return deep
    scaled = np.rint(deep.astype(np.float32).clip(0, white) * np.float32(_DEEP / white))
    if deep.shape[2] == 4 and deep[..., 3].max() > white:
        scaled[..., 3] = deep[..., 3]
    return scaled.astype(np.uint16)


def _has_16_bits(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "PPM":
        return (_says_maxval(data) or 0) > 255
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    return max(bits if isinstance(bits, tuple) else (bits,)) == 16


def _says_maxval(data: bytes) -> int | None:
    """The largest number of a colour PPM; None = it is none."""
    match = _PPM.match(data[:1024])
    return int(match[1]) if match else None
