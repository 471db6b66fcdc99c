"""StyleGAN2's residual discriminator (Karras et al., 2020); it can be differentiated twice.

Weights are stored ready for use, as in `generators.ops`; their learning rates are the optimiser's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators.ops import SQRT2, leaky, linear


def low_pass(x: Tensor, pad: int) -> Tensor:
    """The filter (1, 3, 3, 1)/8 along both sides: [B, C, H, W] -> [B, C, H+2 pad-3, W+2 pad-3].

    Three box averages in a row, which every device runs fast in any precision and memory format;
    depthwise convolutions are slow on GPUs.
    """
    x = F.pad(x, (pad,) * 4)
    for _ in range(3):
        x = F.avg_pool2d(x, 2, stride=1)
    return x


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, bias: bool = True
) -> nn.Conv2d:
    """A convolution that keeps the variance of its input, and no bias to start with.

    Those of stride 2 expect their padding in the input.
    """
    pad = kernel // 2 if stride == 1 else 0
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, pad, bias=bias)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(in_channels * kernel**2))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """Two convolutions, the second halving H and W, beside a filtered bypass."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = conv(in_channels, in_channels, 3)
        self.second = conv(in_channels, out_channels, 3, stride=2)
        self.bypass = conv(in_channels, out_channels, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/2, W/2]."""
        branch = leaky(self.second(low_pass(leaky(self.first(x)), 2)))
        return (branch + self.bypass(low_pass(x, 1))) / SQRT2


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """How much the samples of a group differ (Karras et al., 2018, Section 3): [B, 1, H, W].

    Samples i, i + B/group, ... are a group; each gets its group's mean, over channels and pixels,
    of the deviation among the samples. A batch that `group` does not divide has smaller groups.
    """
    size = math.gcd(len(x), group)
    groups = x.unflatten(0, (size, -1))
    spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])


class Discriminator(nn.Module):
    """Images [B, 3, R, R] -> scores [B], high for real ones; `channels` as in StyleGAN2Config."""

    def __init__(self, resolution: int, channels: Mapping[int, int]) -> None:
        super().__init__()
        sides = [resolution >> k for k in range(int(math.log2(resolution)) - 1)]
        self.from_rgb = conv(3, channels[resolution], 1)
        self.blocks = nn.ModuleList(Residual(channels[a], channels[b]) for a, b in pairwise(sides))
        self.last = conv(channels[4] + 1, channels[4], 3)
        self.fc = linear(channels[4] * 16, channels[4])
        self.score = linear(channels[4], 1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> [B]."""
        x = leaky(self.from_rgb(images))
        for block in self.blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # scores need all their digits
            x = x.float()
            x = leaky(self.last(torch.cat([x, minibatch_deviation(x)], dim=1)))
            return self.score(leaky(self.fc(x.flatten(1))))[:, 0]
