"""What an edit does to a face, evened over the frames around each.

The motion that is found in a frame, and the change that is left for it, tremble. Both mean the same
at the same place of the next crop, however the face moves; so they are meaned there, over frames
before and after. Nothing lags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Doubles
from dseinvert.video.flow import Singles

MOST = 4
"""Frames on either side that count at most: so many must be known beforehand."""
# A kernel ends at this many standard deviations.
_REACH = 2.0


def shares(apart: Doubles, sigma: float, seen: Doubles) -> Doubles:
    """The shares [N] that frames have in the evened one; their sum is 1.

    Args:
        apart: [N] seconds from it; its own is 0.
        sigma: standard deviation of the kernel in seconds; 0 = only itself counts.
        seen: [N] how much of the face can be seen in each; its own is above 0.
    """
    if sigma > 0:
        # Comes down to 0, lest it matter on which side of the end a time is rounded to.
        weights = np.exp(-0.5 * (apart / sigma) ** 2) - np.exp(-0.5 * _REACH**2)
        weights = np.maximum(weights, 0) * seen
    else:
        weights = (apart == 0).astype(np.float64)
    return np.asarray(weights / weights.sum(), np.float64)


def evened(patches: Sequence[NDArray[np.float32]], weights: Doubles) -> Singles:
    """The mean of arrays of neighbouring frames, with weights of sum 1.

    Where nothing is in any of them, it is exactly 0.
    """
    total = np.zeros_like(patches[0])
    for patch, weight in zip(patches, weights.tolist(), strict=True):
        if weight > 0:
            total += np.float32(weight) * patch
    return total
