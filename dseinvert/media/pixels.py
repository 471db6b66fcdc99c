"""The names of arrays: pictures, and the numbers that say where things are in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""[H, W, 3] sRGB, 0 to 255."""
Levels = Pixels | NDArray[np.float32]
"""[H, W, 3] sRGB, 0 to 255: as a network drew it, or rounded."""
Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]


def rounded(levels: Levels) -> Pixels:
    """The nearest pixels; the same array where they are rounded."""
    if levels.dtype == np.uint8:
        return np.asarray(levels, np.uint8)
    return np.rint(levels).clip(0, 255).astype(np.uint8)
