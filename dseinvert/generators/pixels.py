"""Between pictures of bytes and the tensors that networks take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dseinvert.media.pixels import Levels, Pixels


def to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """uint8 [H, W, 3] each -> [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> list[Pixels]:
    """[B, 3, H, W] in [-1, 1] on any device -> uint8 [H, W, 3] each."""
    return list(to_bytes(images).cpu().numpy())


def to_bytes(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> uint8 [B, H, W, 3], where the images are."""
    return _scaled(images).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_levels(images: Tensor) -> list[Levels]:
    """The same as float32 [H, W, 3] each, of which `to_pixels` are the roundings.

    For what goes on with them: in another batch each differs a little, and roundings by a whole.
    """
    return list(_scaled(images).permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _scaled(images: Tensor) -> Tensor:
    return (images.float().clamp(-1, 1) + 1) * 127.5
