"""Colours in floating point, which Pillow does not read: TIFF and PFM, as a PNG of 16 bits."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from dseinvert.errors import InputError
from dseinvert.media.convert import float_white, said_float

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 262, 274
_SAMPLES, _EXTRA, _FORMAT = 277, 338, 339
_FLOAT, _CMYK = 3, 5
_PFM = re.compile(rb"PF\s+(\d+)\s+(\d+)\s+(-?[\d.]+(?:[eE][-+]?\d+)?)\s")
# Bytes of a PNG up to the end of its first chunk.
_HEAD = 33
_WITHOUT = "save it without the alpha, or as RGB"


def as_integers(
    data: bytes, check: Callable[[tuple[int, int]], None], notes: list[str]
) -> bytes | None:
    """The file of float colours as that of a PNG of 16 bits; None = it is another.

    check: is given width and height before there are pixels, and may refuse them.

    Raises:
        InputError: damaged, or CMYK with an alpha, which nothing here reads.
    """
    if match := _PFM.match(data[:128]):
        size = int(match[1]), int(match[2])
        check(size)
        return _as_png(_pfm(data[match.end() :], size, float(match[3])), 1, notes)
    tags = _tags(data)
    if tags is None or _first(tags, _SAMPLES) < 3:
        return None
    if _first(tags, _PHOTOMETRIC) == _CMYK and (_EXTRA in tags or _first(tags, _SAMPLES) > 4):
        raise InputError("is a CMYK TIFF with an alpha channel, which is not supported", _WITHOUT)
    if _first(tags, _FORMAT) != _FLOAT:
        return None
    check((_first(tags, _WIDTH), _first(tags, _HEIGHT)))
    return _as_png(_tiff(data), _first(tags, _ORIENTATION), notes)


def _tags(data: bytes) -> ImageFileDirectory_v2 | None:
    """Of the first page of a TIFF; None = it is none that can be read."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    file = io.BytesIO(data)
    try:
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
    except Exception:  # whoever reads it next says what is wrong
        return None
    return tags


def _first(tags: ImageFileDirectory_v2, number: int) -> int:
    """The number of a tag, or its first; 0 = it is not there."""
    try:
        value = tags.get(number, 0)
        return int(value[0] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, IndexError, ArithmeticError):
        return 0


def _pfm(data: bytes, size: tuple[int, int], scale: float) -> NDArray[np.float32]:
    """Rows from the bottom up; a negative scale means that the least byte comes first."""
    width, height = size
    count = width * height * 3
    if len(data) < 4 * count or scale == 0 or count == 0:
        raise InputError("truncated PFM: the file ends before the picture does")
    values = np.frombuffer(data, "<f4" if scale < 0 else ">f4", count)
    return np.ascontiguousarray(values.reshape(height, width, 3)[::-1], np.float32)


def _tiff(data: bytes) -> NDArray[np.float32]:
    """[H, W, 3 or 4], upright or not, as it lies in the file."""
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        deep = None
    if deep is None or deep.ndim != 3:
        raise InputError("float TIFF of a kind that is not supported", "save it with 16 bits")
    return np.asarray(deep[..., [2, 1, 0, 3][: deep.shape[2]]], np.float32)


def _as_png(values: NDArray[np.float32], turn: int, notes: list[str]) -> bytes:
    if not np.isfinite(values).all():
        raise InputError("has pixels that are NaN or infinite")
    colours, alpha = values[..., :3], values[..., 3:]
    white = float_white(float(colours.max()))
    notes.append(said_float(float(colours.max()), white))
    whole = np.concatenate([colours / white, alpha], axis=-1)
    deep = np.rint(whole.clip(0, 1) * 65535).astype(np.uint16)
    done, file = cv2.imencode(".png", deep[..., [2, 1, 0, 3][: deep.shape[2]]])
    assert done
    return _with_turn(file.tobytes(), turn)


def _with_turn(png: bytes, turn: int) -> bytes:
    """The PNG with an EXIF orientation, where that says something."""
    if turn in (0, 1):
        return png
    exif = Image.Exif()
    exif[_ORIENTATION] = turn
    content = exif.tobytes()[6:]  # without the mark of a JPEG
    check = struct.pack(">I", zlib.crc32(b"eXIf" + content))
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + check
    return png[:_HEAD] + chunk + png[_HEAD:]
