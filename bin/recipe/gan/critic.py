"""A critic for networks trained in bfloat16 on a CPU, which sees fine detail apart and enlarged.

Eight binary digits hold a grey level of 255, and no less: what tells a sharp picture from a soft
one would be rounded away with everything else in one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recipe.detail import fine
from recipe.gan.discriminator import Discriminator, conv

ENLARGED = 5.0
"""Fine detail is about so much smaller than the pictures."""


def exact(module: nn.Module) -> None:
    """Let a module compute in full precision, whatever is around it; copies of it would not."""
    plain = module.forward

    def forward(*given: Any) -> Any:
        wide = (one.float() if isinstance(one, Tensor) else one for one in given)
        with torch.autocast("cpu", enabled=False):
            return plain(*wide)

    module.forward = forward


class Critic(nn.Module):
    """Images [B, 3, R, R], and `more` channels beside them -> scores [B], high for real ones."""

    def __init__(self, resolution: int, channels: Mapping[int, int], more: int = 0) -> None:
        super().__init__()
        self.net = Discriminator(resolution, channels)
        self.net.from_rgb = conv(6 + more, channels[resolution], 1)
        exact(self.net.from_rgb)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3 + more, R, R], the first three in [-1, 1] -> [B]."""
        both = torch.cat([images, ENLARGED * fine(images[:, :3])], dim=1)
        scores: Tensor = self.net(both.contiguous(memory_format=torch.channels_last))
        return scores
