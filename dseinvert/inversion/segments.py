"""An image in segments, each given to the first of some spaces that can hold it (SAM)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.media.pixels import Pixels

GRID = 6
"""Segments begin as so many columns and rows."""
SIDE = 128
"""They are found on pictures of at most so many pixels a side."""
COMPACT = 10.0
"""How much distance counts beside colour (Lab), as in SLIC."""
COLOURS = np.array(
    [(0, 0, 0), (40, 90, 255), (30, 190, 90), (255, 210, 0), (235, 40, 40)], np.uint8
)
"""Of the spaces on a map, as red, green and blue; the first is not shown."""
_ROUNDS = 10
_Labels = NDArray[np.int32]


def superpixels(pixels: Pixels) -> _Labels:
    """A picture [H, W, 3] in segments of like colour: their numbers [H, W], from 0.

    They are clusters of colour and place together, as those of SLIC (Achanta et al., 2012), which
    begin on a grid; nothing is drawn at random.
    """
    height, width = pixels.shape[:2]
    side = min(SIDE, height)
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    colours = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    places = np.stack([rows, columns], axis=2) * (COMPACT * GRID / side)
    points = np.concatenate([colours, places], axis=2).reshape(-1, 5)
    grid = (rows * GRID // side) * GRID + columns * GRID // side
    first = grid.astype(np.int32).reshape(-1, 1)
    ends = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 0.1)
    _, found, _ = cv2.kmeans(points, GRID**2, first, ends, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    labels = found.reshape(side, side).astype(np.int32)
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)


def chosen(errors: Tensor, labels: _Labels, threshold: float) -> Tensor:
    """For each segment the first space whose mean error there is at most `threshold`, or the last.

    Args:
        errors: [K, H, W] of each space, the most editable first.
        labels: [H, W] from 0.
        threshold: in the units of `errors`.

    Returns:
        The number of the space, [H, W] uint8.
    """
    flat = torch.from_numpy(labels.astype(np.int64)).flatten().to(errors.device)
    count = int(flat.max()) + 1
    sums = errors.new_zeros(len(errors), count).index_add_(1, flat, errors.flatten(1))
    means = sums / torch.bincount(flat, minlength=count).clamp_min(1)
    good = means <= threshold
    good[-1] = True
    return good.int().argmax(0)[flat].view(errors.shape[1:]).to(torch.uint8)


def painted(maps: Tensor, pictures: Sequence[Pixels]) -> list[Pixels]:
    """Maps [B, H, W] of the numbers 0 to 4 as colours over their pictures [H, W, 3], made grey.

    0 has none; later spaces are blue, green, yellow and red.
    """
    return [_tinted(own.cpu().numpy(), one) for own, one in zip(maps, pictures, strict=True)]


def _tinted(numbers: NDArray[np.uint8], picture: Pixels) -> Pixels:
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(grey, 0.5, COLOURS[numbers], 0.5, 0)
    return np.where(numbers[:, :, None] > 0, mixed, grey)
