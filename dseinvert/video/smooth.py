"""Smoothing in presentation time, without lag: of crops, and of latents row by row.

Local linear regression with a Gaussian kernel (Fan, "Design-adaptive nonparametric regression",
1992): symmetric in the middle, so nothing lags; a straight motion stays as it is, also at both ends
and where frames come at odd times. What crosses a cut is smoothed in two calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import face_quad, quad_side
from dseinvert.media.pixels import Doubles

Payload = TypeVar("Payload")
Strength = float | Literal["auto"]

# Seconds at strength 1; at 0.5 and 25 frames a second these are the 1 and 3 frames of
# STIT (Tzaban et al., 2022): talking stretches the axes more than it moves the centre.
CENTRE, AXES = 0.08, 0.24
# In sides of the quad, 95 of 100 frames: how far "auto" may let a crop be from its face.
OFF_CENTRE, OFF_AXES = 0.01, 0.03
# Seconds at strength 1 of the first rows of a latent, which move a face, and of the last, which
# paint it.
COARSE, FINE = 0.04, 0.8
# A kernel ends at this many standard deviations.
REACH = 3.5


def smooth(
    times: Doubles, values: NDArray[Any], sigma: float, weights: Doubles | None = None
) -> Doubles:
    """`values` [N, ...] smoothed over their `times` [N] in seconds, in growing order.

    Args:
        sigma: standard deviation of the kernel in seconds; 0 = leave as they are.
        weights: [N] how much each counts, above 0; None = all the same.
    """
    result = np.array(values, np.float64)
    for k in range(len(times) if sigma > 0 else 0):
        low, high = np.searchsorted(times, [times[k] - REACH * sigma, times[k] + REACH * sigma])
        near = slice(int(low), int(high) + 1)
        shares = kernel(times[near] - times[k], sigma, None if weights is None else weights[near])
        result[k] = np.tensordot(shares, values[near], 1)
    return result


def kernel(apart: Doubles, sigma: float, weights: Doubles | None = None) -> Doubles:
    """The shares [N] that values `apart` [N] seconds from here have in the smoothed one; sum 1."""
    if sigma <= 0:
        shares = (apart == 0).astype(np.float64)
        return shares / shares.sum()
    # Comes down to 0, lest it matter on which side of the end a time is rounded to.
    weight = np.exp(-0.5 * (apart / sigma) ** 2) - np.exp(-0.5 * REACH**2)
    weight = np.maximum(weight, 0)
    if weights is not None:
        weight = weight * weights
    s0, s1, s2 = (float((weight * apart**power).sum()) for power in range(3))
    spread = s0 * s2 - s1 * s1
    if spread > 1e-9 * s0 * s0 * sigma * sigma:
        weight = weight * (s2 - apart * s1)  # the line through what is near, read off here
    return weight / weight.sum()


def quads(points: Doubles) -> Doubles:
    """The FFHQ quads [N, 4, 2] of faces [N, 5, 2]."""
    return np.stack([face_quad(face) for face in points])


def smooth_quads(
    times: Doubles, quads: Doubles, strength: Strength = "auto", weights: Doubles | None = None
) -> Doubles:
    """Quads [N, 4, 2] of one track, their centres and axes smoothed apart; still squares.

    Args:
        strength: 0 (as they are) to 1; "auto" = see `auto_strengths`.
        weights: [N] how much each frame's face can be trusted; None = all the same.
    """
    centre, axis = quads.mean(1), (quads[:, 3] - quads[:, 0]) / 2
    share = auto_strengths(times, quads, weights) if strength == "auto" else (strength, strength)
    centre = smooth(times, centre, CENTRE * share[0], weights)
    axis = smooth(times, axis, AXES * share[1], weights)
    other = np.stack([-axis[:, 1], axis[:, 0]], -1)
    signs = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return centre[:, None] + signs[:, :1] * axis[:, None] + signs[:, 1:] * other[:, None]


def auto_strengths(
    times: Doubles, quads: Doubles, weights: Doubles | None = None
) -> tuple[float, float]:
    """The strengths for centre and axes: the most that leaves the crop on its face.

    Jitter of landmarks is small and quick, so taking it out moves no crop far; a face that really
    moves quickly would leave its crop, and is smoothed less.
    """
    centre, axis = quads.mean(1), (quads[:, 3] - quads[:, 0]) / 2
    side = float(np.median([quad_side(quad) for quad in quads]))
    parts = ((centre, CENTRE, OFF_CENTRE), (axis, AXES, OFF_AXES))
    return tuple(  # type: ignore[return-value]
        _most(times, part, sigma, limit * side, weights) for part, sigma, limit in parts
    )


def _most(
    times: Doubles, values: Doubles, sigma: float, limit: float, weights: Doubles | None
) -> float:
    """The largest strength that moves 95 of 100 values [N, 2] by no more than `limit`."""
    low, high = 0.0, 1.0
    for strength in (1.0, 0.5, 0.75, 0.25, 0.625, 0.375, 0.125):
        if not low < strength <= high:
            continue
        away = np.hypot(*(smooth(times, values, sigma * strength, weights) - values).T)
        if np.quantile(away, 0.95) <= limit:
            low = strength
        else:
            high = strength
    return low


def row_sigmas(rows: int, strength: float) -> Doubles:
    """Seconds [L] to smooth each row of a latent with: little at first, much for the late ones.

    Rows up to 7 (32 pixels in StyleGAN) turn and talk, and smoothing them would slur; from the 13th
    (256 pixels) they hold colour and texture, which RIGID and StyleGAN3-editing share over time.
    """
    rise = np.clip((np.arange(rows) - 6) / 6, 0, 1)
    return np.asarray(strength * COARSE * (FINE / COARSE) ** rise)


def smooth_stream(
    items: Iterable[tuple[Fraction | float, NDArray[Any], Payload]],
    sigmas: float | Sequence[float] | Doubles,
) -> Iterator[tuple[NDArray[np.float32], Payload]]:
    """Smoothed arrays of one track as they come, each with what came along with it.

    Args:
        items: time in seconds, array [L, ...], and anything that belongs to it, in order.
        sigmas: seconds for each row of the arrays, or one for all.

    Holds as many items as fit into 3.5 of the largest sigma on both sides.
    """
    rows = np.atleast_1d(np.asarray(sigmas, np.float64))
    reach = REACH * float(rows.max())
    window: deque[tuple[float, NDArray[Any], Payload]] = deque()
    here = 0  # the item in the window that is next to leave
    for time, array, payload in items:
        window.append((float(time), array, payload))
        while window[-1][0] - window[here][0] > reach:
            yield _at(window, here, rows)
            here = _moved_on(window, here, reach)
    while here < len(window):
        yield _at(window, here, rows)
        here = _moved_on(window, here, reach)


def _moved_on(window: deque[tuple[float, Any, Any]], here: int, reach: float) -> int:
    """The next place in the window once what it no longer sees is dropped."""
    here += 1
    while here < len(window) and window[here][0] - window[0][0] > reach:
        window.popleft()
        here -= 1
    return here


def _at(
    window: deque[tuple[float, NDArray[Any], Payload]], here: int, rows: Doubles
) -> tuple[NDArray[np.float32], Payload]:
    apart = np.array([time for time, _, _ in window]) - window[here][0]
    shares = np.stack([kernel(apart, sigma) for sigma in rows])
    arrays = np.stack([array for _, array, _ in window])
    if len(rows) == 1:
        return np.tensordot(shares[0], arrays, 1).astype(np.float32), window[here][2]
    return np.einsum("ln,nl...->l...", shares, arrays).astype(np.float32), window[here][2]
