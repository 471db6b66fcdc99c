"""Pictures varied wildly: no longer faces that one would meet, but all that details can be."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.training.pictures import Variations, Vary, light


def wildly(share: float, others: Vary = Variations.a_little) -> Vary:
    """Variations of which a share is wild, for an encoder of details; the others are as usual.

    The wild are also blended with others, covered in part, woven over, blurred or made crisp, seen
    from afar, and moved and lit far more.
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
    if rng.random() < 0.3:
        picture = _woven(rng, picture)
    far = rng.random() < 0.6
    if rng.random() < 0.25:
        picture = _afar(rng, picture)
    picture = varied.frame(rng, picture, far=bool(far))
    if rng.random() < 0.3:
        picture = 0.5 * picture + 0.5 * picture[:, :, rng.permutation(3)]
    for share in (1, 0.5):
        if rng.random() < share:
            picture = light(rng, picture)
    kind = rng.random()
    if kind < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1)))
    elif kind < 0.45:
        soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 1.5)))
        picture = picture + rng.uniform(0.2, 1.2) * (picture - soft)
    return (picture.clip(0, 1) * 2 - 1).astype(np.float32)


def _blend(
    varied: Variations, rng: np.random.Generator, picture: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Parts of it and of another picture, with soft or hard borders."""
    other = varied.pictures[rng.integers(len(varied.pictures))].astype(np.float32) / 255
    if rng.random() < 0.5:
        other = light(rng, other)
    mask = _parts(rng, len(picture))
    return (mask * picture + (1 - mask) * other).astype(np.float32)


def _woven(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Parts of it under a pattern: threads of cloth, strands of hair, leaves, a grain."""
    size = len(picture)
    line = np.arange(size, dtype=np.float32) / size
    angle, waves = rng.uniform(0, np.pi), rng.uniform(20, 110)
    along = 2 * np.pi * waves * (np.cos(angle) * line[:, None] + np.sin(angle) * line[None])
    bend = _noise(rng, size, int(rng.integers(2, 12))) * rng.uniform(0, 12)
    pattern = np.sin(along + bend)
    kind = rng.random()
    if kind < 0.35:  # crossed by others, as in cloth
        pattern = pattern * np.sin(along[::-1].T + rng.uniform(0, 6))
    elif kind < 0.65:  # no order at all
        sizes = (16, 32, 64, 128)
        pattern = sum(_noise(rng, size, cells) * rng.uniform(0, 0.7) for cells in sizes)
    pattern = np.tanh(pattern * rng.uniform(0.5, 4))[..., None]
    colour = rng.uniform(0.03, 0.25) * (1 + rng.normal(0, 0.3, 3))
    changed = picture + colour * pattern
    return (picture + _parts(rng, size) * (changed - picture)).astype(np.float32)


def _afar(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """It smaller, and mirrored around: the same detail in less room."""
    size = len(picture)
    small = int(size * rng.uniform(0.5, 0.85))
    picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    room = size - small
    top, left = (int(rng.integers(room + 1)) for _ in range(2))
    sides = (top, room - top, left, room - left)
    return cv2.copyMakeBorder(picture, *sides, borderType=cv2.BORDER_REFLECT)


def _parts(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A mask [size, size, 1] from 0 to 1 of some parts, with soft or hard borders."""
    field = _noise(rng, size, int(rng.integers(2, 7)))
    return (1 / (1 + np.exp(-field * rng.uniform(2, 12))))[..., None]


def _noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """A smooth field [size, size] of so many bumps a side."""
    field = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)


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
