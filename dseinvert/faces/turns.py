"""Quarter turns of a photo, and what was found in a turned one back in its own coordinates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.detect import Face
from dseinvert.media.pixels import Doubles, Floats, Pixels

TURNS = (0, 90, 180, 270)
"""Degrees clockwise by which a photo may be turned before its faces are searched."""
# The corner of an upright quad that comes first in one of a photo that was turned.
_FIRST = {0: 0, 90: 1, 180: 2, 270: 3}


def turned(photo: Pixels, degrees: int) -> Pixels:
    """The photo [H, W, 3], turned clockwise by one of TURNS."""
    return np.ascontiguousarray(np.rot90(photo, -(degrees // 90) % 4))


def turned_quad(quad: Doubles, degrees: int) -> Doubles:
    """The quad [4, 2] of the same square, whose crop is turned clockwise by one of TURNS."""
    return np.roll(quad, -_FIRST[degrees], axis=0)


def unturned(face: Face, degrees: int, width: int, height: int) -> Face:
    """A face found in a photo of that size after `turned`, in the coordinates of the photo."""
    corners = _back(np.reshape(face.box, (2, 2)), degrees, width, height)
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    points = _back(face.points, degrees, width, height)
    return replace(face, box=(x0, y0, x1, y1), points=points.astype(np.float32))


def _back(places: Floats, degrees: int, width: int, height: int) -> NDArray[np.floating[Any]]:
    """Places [N, 2] of the turned photo, in the photo."""
    x, y = np.asarray(places, np.float64).T
    right, bottom = width - 1, height - 1
    ways = {0: (x, y), 90: (y, bottom - x), 180: (right - x, bottom - y), 270: (right - y, x)}
    return np.stack(ways[degrees], axis=-1)
