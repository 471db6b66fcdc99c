"""Between pictures of bytes and the tensors that networks take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dseinvert.media.pixels import Pixels


def to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """uint8 [H, W, 3] each -> [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> list[Pixels]:
    """[B, 3, H, W] in [-1, 1] on any device -> uint8 [H, W, 3] each."""
    return list(to_bytes(images).cpu().numpy())


def to_bytes(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> uint8 [B, H, W, 3], where the images are."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous()
