"""TIFF files of kinds that neither Pillow nor OpenCV writes."""

from __future__ import annotations

import struct

import numpy as np

_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(array: np.ndarray, photometric: int, *, extra: int | None = None) -> bytes:
    """A file of [H, W] or [H, W, C], whole in one strip.

    Args:
        array: the numbers, as they are stored.
        photometric: 0 = white is zero, 1 = black is zero, 2 = RGB, 5 = CMYK.
        extra: what the last channel is, 1 = alpha that is multiplied in; None = no such channel.
    """
    height, width, samples = (*array.shape, 1)[:3]
    bits, kind = array.itemsize * 8, _FORMATS[array.dtype.kind]
    tags = {256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [photometric]}
    tags |= {273: [0], 277: [samples], 278: [height], 279: [array.nbytes]}
    tags |= {339: [kind] * samples} if extra is None else {338: [extra], 339: [kind] * samples}
    beyond = 8 + 2 + 12 * len(tags) + 4
    pixels = beyond + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    table, lists = b"", b""
    for tag, values in sorted((tags | {273: [pixels]}).items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        table += struct.pack("<HHI", tag, 4, len(values))
        table += packed if len(values) == 1 else struct.pack("<I", beyond + len(lists))
        lists += packed if len(values) > 1 else b""
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + table + b"\0" * 4 + lists + np.ascontiguousarray(array).tobytes()
