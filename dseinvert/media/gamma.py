"""The gamma and the primaries that a PNG tells of, as a colour profile that does the same.

PNG specification, gAMA and cHRM; ICC.1:2001-04 for the profile.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import Image

from dseinvert.media.pixels import Doubles

# What sRGB comes near to, and the share by which a gamma may differ from it and mean the same.
USUAL = 1 / 2.2
_SAME = 0.1
# White, red, green and blue of sRGB, x and y each, and how far numbers that mean them may stray.
_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_STRAY = 0.002
_D50 = np.array([0.9642, 1.0, 0.8249])
# The cone responses of Bradford, in which a white is brought to another.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def gamma_profile(image: Image.Image) -> bytes | None:
    """A colour profile of RGB for what gAMA and cHRM of a PNG say; None = nothing, or sRGB.

    Primaries without a gamma say too little. A profile of its own, or a mark that it is sRGB,
    goes before both.
    """
    gamma: Any = image.info.get("gamma")
    if not _possible(gamma) or {"srgb", "icc_profile"} & {*image.info}:
        return None
    columns = _matrix(image.info.get("chromaticity") or _SRGB)
    if abs(gamma / USUAL - 1) <= _SAME and np.allclose(columns, _matrix(_SRGB), atol=_STRAY):
        return None
    tags = {b"desc": _described(), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_D50)}
    for name, one in zip((b"r", b"g", b"b"), np.transpose(columns), strict=True):
        tags[name + b"XYZ"] = _xyz(one)
        tags[name + b"TRC"] = b"curv" + struct.pack(">IIH", 0, 1, round(256 / gamma))
    return _file(tags)


def _possible(gamma: Any) -> bool:
    """Whether a profile can hold it: from 1/16 to 16."""
    return isinstance(gamma, float) and 1 / 16 <= gamma <= 16


def _matrix(chromaticity: tuple[float, ...]) -> Doubles:
    """Linear RGB to XYZ under D50 [3, 3]; that of sRGB where primaries span no colours."""
    x, y = np.reshape(np.asarray(chromaticity, np.float64), (4, 2)).T
    if (y <= 0).any():
        return _matrix(_SRGB)
    white, *columns = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=-1)
    primaries = np.stack(columns, axis=-1)
    if abs(np.linalg.det(primaries)) < 1e-3:
        return _matrix(_SRGB)
    primaries = primaries * np.linalg.solve(primaries, white)
    gains = (_CONES @ _D50) / (_CONES @ white)
    return np.asarray(np.linalg.inv(_CONES) @ (gains[:, None] * _CONES) @ primaries)


def _xyz(values: Doubles) -> bytes:
    numbers = [round(float(value) * 65536) for value in values]
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *numbers)


def _described() -> bytes:
    name = b"gAMA and cHRM of a PNG\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)


def _file(tags: dict[bytes, bytes]) -> bytes:
    """The header of 128 bytes, the table of tags and what they hold."""
    at, table, held = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(held), len(content))
        held += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI", at + len(held), 0x02400000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + held
