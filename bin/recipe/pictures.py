"""Pictures of the tars as the networks see them."""

from __future__ import annotations

import cv2
from torch import Tensor

from dseinvert.generators import pixels
from dseinvert.media.pixels import Pixels


def to_tensor(pictures: Pixels, side: int) -> Tensor:
    """uint8 [N, S, S, 3] -> [N, 3, side, side] in [-1, 1]."""
    small = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures]
    return pixels.to_tensor(small)
