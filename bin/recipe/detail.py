"""How much fine detail pictures hold: what a mean over many guesses loses first."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def fine(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] without their 3x3 means: the same shape."""
    return images - F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def detail(images: Tensor) -> Tensor:
    """The energy of the fine detail of images [B, 3, H, W]: [B]."""
    return fine(images).square().mean((1, 2, 3))


def share_kept(drawn: Tensor, real: Tensor) -> float:
    """The median over pairs [B, 3, H, W] of how much of the detail of `real` is in `drawn`."""
    return float((detail(drawn) / detail(real)).median())
