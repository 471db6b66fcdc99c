"""A change led by the colours of the photo that it is added to: it ends where they do.

What a generator draws is soft, and its outlines lie elsewhere than the photo's. Half of dark hair
on a temple, or of wall on a jaw, is a smear. So the change is told again as what it is of each
colour nearby: the guided filter of He, Sun and Tang (2013), its slopes found on a small picture
(He and Sun, 2015).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.complexion import in_complexion
from dseinvert.faces.paste import MIDDLE, oval

Singles = NDArray[np.float32]

# The side at which slopes are found, how far around in its pixels, and the grey levels of contrast
# below which colours say nothing.
_SIDE, _REACH, _FLAT = 64, 4, 14.0
# Grey levels of contrast at which an edge counts half, and how far it is one.
_EDGE, _EDGE_NEAR = 5.0, 1.0
# How much what is hidden counts, as a place where nothing changes.
_HIDDEN = 0.03
# Grey levels by which a change strays from what it is of the colours, at which it is 1/e; over how
# much of the side they are one.
_STRAY, _NEAR = 60.0, 1 / 64


def led(change: Singles, source: Singles, seen: Singles) -> Singles:
    """A change [N, N, 3] in levels, around the middle of a face as the photo's colours have it.

    Args:
        source: [N, N, 3] in 0 .. 255, what it is added to.
        seen: [N, N] in 0 .. 1, how much of the change is shown, as of the result.

    Where a change is of no colour, as where an outline moved, it fades.
    """
    change = in_complexion(change, source, seen)
    slope, rest = _told(change, source, seen)
    follows = rest + sum(source[..., k, None] * slope[..., k, :] for k in range(3))
    stray = np.sqrt(np.square(change - follows).mean(-1))
    stray = cv2.GaussianBlur(stray, (0, 0), _NEAR * len(change)) / _STRAY
    middle = middle_of(len(change))
    beside = (1 - middle) * np.exp(-np.square(stray))
    return (seen * middle)[..., None] * change + (seen * beside)[..., None] * follows


@lru_cache(maxsize=4)
def middle_of(side: int) -> Singles:
    """1 in the middle of a face in the FFHQ framing, softly to 0 around it: [N, N].

    There a generator draws features, which need not have colours of their own in the photo, and
    outlines are none.
    """
    return oval(side, *MIDDLE)


def _told(change: Singles, source: Singles, seen: Singles) -> tuple[Singles, Singles]:
    """Slopes [N, N, 3, 3] and rests [N, N, 3]: source @ slope + rest is the change nearby."""
    counted = seen + _HIDDEN * (1 - seen)
    weight, colours = _small(counted)[..., None], _small(source)
    changes = _small(seen[..., None] * change) / weight
    weight = weight * _evenness(colours)
    both = np.concatenate([colours, changes], axis=-1)
    products = (colours[..., :, None] * both[..., None, :]).reshape(_SIDE, _SIDE, 18)
    mean, product = _mean(both, weight), _mean(products, weight).reshape(_SIDE, _SIDE, 3, 6)
    shared = product - mean[..., :3, None] * mean[..., None, :]
    # Eq. (19) and (20) of He, Sun and Tang.
    slope = np.linalg.solve(shared[..., :3] + _FLAT**2 * np.eye(3), shared[..., 3:])
    rest = mean[..., 3:] - np.einsum("hwi,hwij->hwj", mean[..., :3], slope)
    told = np.concatenate([slope.reshape(_SIDE, _SIDE, 9), rest], axis=-1)
    told = _mean(told, weight).astype(np.float32)
    large = cv2.resize(told, change.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return large[..., :9].reshape(*change.shape[:2], 3, 3), large[..., 9:]


def _evenness(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where colours [S, S, 3] are even, towards 0 at edges: [S, S, 1].

    There a soft change is half of what it is on either side.
    """
    mean, square = (cv2.GaussianBlur(one, (0, 0), _EDGE_NEAR) for one in (colours, colours**2))
    contrast = (square - mean**2).mean(axis=-1, keepdims=True)
    return np.asarray(1 / (1 + contrast / _EDGE**2))


def _mean(image: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted means [S, S, C] around each place; weight [S, S, 1]."""
    return _around(weight * image) / _around(weight)[..., None]


def _around(image: NDArray[np.float64]) -> NDArray[np.float64]:
    width = 2 * _REACH + 1
    return np.asarray(cv2.blur(image, (width, width), borderType=cv2.BORDER_REFLECT))


def _small(image: Singles) -> NDArray[np.float64]:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64)
