"""Small crops of a face led to another crop of it, as its head turns: by a smooth flow.

The flow of a crop is a polynomial of the second order in x and y. It follows a head that turns or
nods, and cannot follow what only comes over a part of the face.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.paste import face_mask
from dseinvert.faces.tone import LUMA

Singles = NDArray[np.float32]

# Pixels: how far crops are blurred, from coarse to fine; and steps at each.
BLURS, STEPS = (1.5, 0.8), 4
# Grey levels at which a pixel counts for a quarter: what is farther is of something else.
ODD = 12.0
# How much a shift is held back, and how much what bends.
_SHIFT, _BEND = 2.0, 100.0
# How much of a face's mask is of the head.
_HEAD = 0.1


def turned(crops: Singles, target: Singles) -> Singles:
    """Crops [N, N, 3, E] of a face, each moved to where a crop [N, N, 3] of it has its parts.

    All are grey levels in one light. What a crop does not show comes from its nearest border.
    """
    gray, aim = _gray(crops), _gray(target[..., None])[0]
    terms = np.zeros((len(gray), 12), np.float32)
    for blur in BLURS:
        soft = np.stack([cv2.GaussianBlur(one, (0, 0), blur) for one in gray])
        down, right = np.gradient(soft, axis=(1, 2))
        stacks = np.stack([soft, right, down], -1).astype(np.float32)
        near = cv2.GaussianBlur(aim, (0, 0), blur)
        for _ in range(STEPS):
            terms = terms + _step(stacks, near, terms)
    return np.stack([_moved(crops[..., k], one) for k, one in enumerate(terms)], -1)


def _gray(crops: Singles) -> Singles:
    """[E, N, N] of crops [N, N, 3, E]."""
    return np.ascontiguousarray(np.einsum("yxce,c->eyx", crops, LUMA.astype(np.float32)))


def _step(stacks: Singles, aim: Singles, terms: Singles) -> Singles:
    """By how much to change the flows [E, 12], after Gauss and Newton.

    Pixels count by Geman and McClure's 1 / (1 + (r / ODD)^2)^2 of how far off they are.

    Args:
        stacks: [E, N, N, 3] grey levels, and their slopes to the right and down.
        aim: [N, N] grey levels to be met.
        terms: [E, 12] the flows so far.
    """
    head, basis, held = _basis(len(aim))
    found = np.stack([_moved(*pair)[head] for pair in zip(stacks, terms, strict=True)])
    gap = aim[head] - found[..., 0]
    slopes = np.concatenate([found[..., 1:2] * basis, found[..., 2:] * basis], -1)
    weighed = (slopes / (1 + (gap / ODD) ** 2)[..., None] ** 2).transpose(0, 2, 1)
    wanted = weighed @ gap[..., None] - (terms * held)[..., None]
    return np.asarray(np.linalg.solve(weighed @ slopes + np.diag(held), wanted)[..., 0], np.float32)


def _moved(image: Singles, terms: Singles) -> Singles:
    """An image [N, N, C] along its flow [12]."""
    rows, columns = np.mgrid[: len(image), : len(image)].astype(np.float32)
    across, down = (_powers(len(image)) @ part for part in (terms[:6], terms[6:]))
    moved = cv2.remap(
        np.ascontiguousarray(image),
        columns + across,
        rows + down,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.float32)


@cache
def _powers(side: int) -> Singles:
    """[N, N, 6] 1, x, y, x^2, xy, y^2, with x and y from -1 to 1."""
    line = ((np.arange(side) - (side - 1) / 2) / (side / 2)).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)


@cache
def _basis(side: int) -> tuple[NDArray[np.bool_], Singles, Singles]:
    """Where the head is [N, N], the powers there [P, 6], and how each term is held back [12]."""
    mask = (face_mask(side) > _HEAD).astype(np.uint8)
    head = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
    held = np.array([_SHIFT, *[_BEND] * 5] * 2, np.float32)
    return head, _powers(side)[head], held
