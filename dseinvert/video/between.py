"""A change held to what the frame and the edit show: no detail comes that is in neither.

Where a reconstruction has a line that the frame lacks, or has it elsewhere, an edit that takes it
away would leave its negative in the frame: a pale line over a brow, a red one between lips.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

# What is broad and no detail, in sides of the crop; and the side in pixels at which it is found.
_BROAD, _SIDE = 1 / 24, 64


def held_between(change: Singles, source: Singles, edited: Singles) -> Singles:
    """The change [N, N, 3] in levels, less where with it there were more detail than at both ends.

    Args:
        source: [N, N, 3] in 0 .. 255, what it is added to.
        edited: [N, N, 3] what the generator drew.

    Each pixel of the result is between 0 and the change.
    """
    fine, one, other = map(_fine, (change, source, edited))
    held = np.clip(one + fine, np.minimum(one, other), np.maximum(one, other)) - one
    nothing = np.zeros((), np.float32)
    low, high = np.minimum(change, nothing), np.maximum(change, nothing)
    return np.asarray(np.clip(change + held - fine, low, high), np.float32)


def _fine(image: Singles) -> Singles:
    """A picture [N, N, 3] without what is broad in it."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    broad = cv2.GaussianBlur(small, (0, 0), _BROAD * _SIDE)
    shape = image.shape[1::-1]
    return np.asarray(image - cv2.resize(broad, shape, interpolation=cv2.INTER_LINEAR), np.float32)
