"""Pictures moved, turned and lit a little, so that a score is not of one place and light only.

Descent finds what a scorer takes for an attribute in just this picture. What it still takes for one
after a shake that nobody knew of is more likely to be one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ANGLE, SCALE, SHIFT = math.radians(4), 0.05, 0.04
"""Most on either side; a shift is of half the side."""
LIGHT, HUE = 0.12, 0.04
"""Most by which all channels, or each by itself, are brighter or darker."""


@dataclass(frozen=True)
class Shake:
    """One for each picture of a batch; the same for whatever batch is given."""

    theta: Tensor
    """[B, 2, 3], where the pictures' places come from."""
    gain: Tensor
    """[B, 3, 1, 1]."""
    offset: Tensor
    """[B, 3, 1, 1], of [-1, 1]."""

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> the same, with a gradient; what comes in is mirrored."""
        grid = F.affine_grid(self.theta, list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        return moved * self.gain + self.offset


def shake(count: int, chance: torch.Generator) -> Shake:
    """One for each of `count` pictures."""

    def drawn(most: float, *shape: int) -> Tensor:
        return most * (2 * torch.rand(count, *shape, generator=chance) - 1)

    angle, scale, shift = drawn(ANGLE), 1 + drawn(SCALE), drawn(SHIFT, 2, 1)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    gain = 1 + drawn(LIGHT, 1, 1, 1) + drawn(HUE, 3, 1, 1)
    return Shake(torch.cat([turn, shift], 2), gain, drawn(LIGHT, 1, 1, 1))
