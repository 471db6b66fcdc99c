"""Colours of more than 8 bits, of which Pillow keeps eight: all of them, and those of fewer bits.

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
_BITS_PER_SAMPLE, _EXTRA_SAMPLES, _MULTIPLIED = 258, 338, 1
# The main header of JPEG 2000, up to the bits of its first component, less one; and of the coding
# in AVIF, up to the bits that say whether there are 10 or 12.
_JPEG2000 = re.compile(rb"(?s)(?:\0\0\0\x0cjP  .{0,65536}?)?\xff\x4f\xff\x51.{38}(.)")
_AV1 = re.compile(rb"(?s).{4}ftyp.{0,65536}?av1C..(.)")
_HIGH, _TWELVE = 0x40, 0x20
_PPM = re.compile(rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*(\d+)")


def deep_colours(image: Image.Image, data: bytes, notes: list[str]) -> NDArray[np.uint16] | None:
    """The colours [H, W, 3 or 4] of a file in 16 bits, on their whole scale; None = it has 8.

    Where they cannot be read, `notes` gets a phrase.
    """
    if is_grey(image) or not _has_16_bits(image, data):
        return None
    deep = _read(image, data)
    if deep is None:
        notes.append("was written with 8 bits, for it has more that cannot be read")
        return None
    return _straight(_scaled(deep, _white(deep, image, data) or _DEEP), image)


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


def _straight(deep: NDArray[np.uint16], image: Image.Image) -> NDArray[np.uint16]:
    """Colours that a TIFF has multiplied by their alpha as they were before."""
    extra = getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, ())
    if deep.shape[2] < 4 or _MULTIPLIED not in (extra if isinstance(extra, tuple) else (extra,)):
        return deep
    alpha = deep[..., 3:].clip(1).astype(np.float32)
    colours = np.rint(deep[..., :3] * (_DEEP / alpha)).clip(0, _DEEP).astype(np.uint16)
    return np.concatenate([colours, deep[..., 3:]], axis=-1)


def _has_16_bits(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16
    if image.format in ("PPM", "JPEG2000", "AVIF"):
        return (_says_maxval(data) or 0) > 255
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    return max(bits if isinstance(bits, tuple) else (bits,)) == 16


def _says_maxval(data: bytes) -> int | None:
    """The largest number of a colour PPM, a JPEG 2000 or an AVIF; None = it is none of these."""
    if match := _PPM.match(data[:1024]):
        return int(match[1])
    if match := _JPEG2000.match(data):
        return (2 << (match[1][0] & 0x7F)) - 1
    match = _AV1.match(data)
    if match is None:
        return None
    flags = match[1][0]
    return (4095 if flags & _TWELVE else 1023) if flags & _HIGH else 255
