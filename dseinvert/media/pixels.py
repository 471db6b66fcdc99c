"""The names of arrays: pictures, and the numbers that say where things are in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""[H, W, 3] sRGB, 0 to 255."""
Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
