"""Pictures varied wildly: no longer faces that one would meet, but all that details can be."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.training.pictures import Variations, Vary, light


def wildly(share: float, others: Vary = Variations.a_little) -> Vary:
    """Variations of which a share is wild, for an encoder of details; the others are as usual.

    The wild are also blended with others, covered in part, blurred, and moved and lit far more.
    """

    def vary(varied: Variations, rng: np.random.Generator, index: int) -> NDArray[np.float32]:
        if rng.random() < share:
            return _wild(varied, rng, index)
        return others(varied, rng, index)

    return vary


def _wild(varied: Variations, rng: np.random.Generator, index: int) -> NDArray[np.float32]:
    picture = varied.before(rng, index, 0.7)
    if rng.random() < 0.5:
        picture = _blend(varied, rng, picture)
    if rng.random() < 0.35:
        picture = _cover(varied, rng, picture)
    far = rng.random() < 0.6
    picture = varied.frame(rng, picture, far=bool(far))
    if rng.random() < 0.3:
        picture = 0.5 * picture + 0.5 * picture[:, :, rng.permutation(3)]
    for share in (1, 0.5):
        if rng.random() < share:
            picture = light(rng, picture)
    if rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1)))
    return (picture.clip(0, 1) * 2 - 1).astype(np.float32)


def _blend(
    varied: Variations, rng: np.random.Generator, picture: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Parts of it and of another picture, with soft or hard borders."""
    other = varied.pictures[rng.integers(len(varied.pictures))].astype(np.float32) / 255
    if rng.random() < 0.5:
        other = light(rng, other)
    cells = int(rng.integers(2, 7))
    field = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    field = cv2.resize(field, picture.shape[:2], interpolation=cv2.INTER_CUBIC)
    mask = 1 / (1 + np.exp(-field * rng.uniform(2, 12)))[..., None]
    return (mask * picture + (1 - mask) * other).astype(np.float32)


def _cover(
    varied: Variations, rng: np.random.Generator, picture: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A star of some background over it, as a hand or a hat would be."""
    size = len(picture)
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
    reach = rng.uniform(0.1, 0.4) * size * rng.uniform(0.5, 1.5, (len(angles), 1))
    star = rng.uniform(0, size, 2) + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [star.astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.5, 3)))[..., None]
    return (mask * varied.background(rng) + (1 - mask) * picture).astype(np.float32)
