"""One path from two witnesses: placed points, noisy but true, and flow, smooth but drifting.

A Kalman filter run forth and smoothed back (Rauch, Tung and Striebel, 1965) with the flow as what
moves the state and the placed points as what is seen of it: neither lags nor jumps where a new
placement arrives, and becomes a straight line across frames that have neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Doubles

# Placements farther off than this many standard deviations count less and less.
SUSPECT, ROUNDS = 2.0, 3


def fuse(steps: Doubles, step_noise: Doubles, placed: Doubles, placed_noise: Doubles) -> Doubles:
    """The likeliest path [N, P, 2] of P points over N frames.

    Args:
        steps: [N, P, 2] how far flow says each moved since the frame before; the first is not used.
        step_noise: [N, P] standard deviation of that.
        placed: [N, P, 2] where they were seen; NaN = not looked for. At least one frame has them.
        placed_noise: [N] standard deviation of that.
    """
    seen = np.asarray(np.isfinite(placed).all((1, 2)))
    change = np.maximum(step_noise, 1e-6) ** 2
    base = np.maximum(placed_noise, 1e-6)[:, None] ** 2 * np.ones(placed.shape[:2])
    doubt = np.ones_like(base)
    for _ in range(ROUNDS):
        path = _smoothed(steps, change, placed, base * doubt, seen)
        gap = np.hypot(*np.moveaxis(placed - path, -1, 0)) / np.sqrt(base)
        doubt = np.where(seen[:, None], np.maximum(1.0, np.nan_to_num(gap) / SUSPECT), 1.0)
    return path


def _smoothed(
    steps: Doubles, change: Doubles, placed: Doubles, error: Doubles, seen: NDArray[np.bool_]
) -> Doubles:
    """Variances `change` and `error` are [N, P]; a scalar filter for each point."""
    count = len(steps)
    mean, variance = np.zeros_like(placed), np.zeros_like(error)
    first = int(np.argmax(seen))
    state, doubt = placed[first] - steps[1 : first + 1].sum(0), np.full(error.shape[1], 1e12)
    for k in range(count):
        if k:
            state, doubt = state + steps[k], doubt + change[k]
        if seen[k]:
            gain = doubt / (doubt + error[k])
            state, doubt = state + gain[:, None] * (placed[k] - state), (1 - gain) * doubt
        mean[k], variance[k] = state, doubt
    for k in range(count - 2, -1, -1):
        back = variance[k] / (variance[k] + change[k + 1])
        mean[k] += back[:, None] * (mean[k + 1] - steps[k + 1] - mean[k])
    return mean
