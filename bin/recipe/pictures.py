"""Pictures of the tars as the networks see them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from dseinvert.media.pixels import Pixels


def to_tensor(pictures: Pixels, side: int) -> Tensor:
    """uint8 [N, S, S, 3] -> [N, 3, side, side] in [-1, 1]."""
    small = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1
