"""The one adaptive block that every DSE encoder stacks (DSE, Fig. 5 and Tables I-II)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators.ops import SQRT2, linear

BRANCH, RESIDUAL = 0.111, 0.889  # weights of the block's two paths


def pointwise(in_channels: int, out_channels: int, gain: float = 1) -> nn.Conv2d:
    """A 1x1 convolution of variance gain `gain` squared, and no bias to start with."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.normal_(conv.weight, std=gain / math.sqrt(in_channels))
    nn.init.constant_(conv.bias, 0)  # type: ignore[arg-type]
    return conv


def channel_stats(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 2C]: mean and population standard deviation of each channel."""
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0)
    return torch.cat([mean, (var + 1e-8).sqrt()], dim=1)


class StyleTap(nn.Module):
    """FC of a feature map's channel statistics: one row of w' ("FC" in Table I)."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.fc = linear(2 * channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D]."""
        return self.fc(channel_stats(x))


class HalfBlock(nn.Module):
    """Instance norm, 3x3 convolution, learned noise z_n', bias, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        std = SQRT2 / math.sqrt(9 * in_channels)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) * std)
        self.noise_scale = nn.Parameter(torch.zeros(out_channels))  # z_n'
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Noise is drawn in training only, so that inference is deterministic."""
        x = F.conv2d(F.instance_norm(x, eps=1e-8), self.weight, padding=1)
        if self.training:
            noise = torch.randn_like(x[:, :1])
            x = x + self.noise_scale[:, None, None] * noise
        return F.leaky_relu(x + self.bias[:, None, None], 0.2)


class Block(nn.Module):
    """Two half-blocks with a residual bypass; each half is tapped for style before its norm.

    The last block has no second convolution and does not shrink.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, last: bool) -> None:
        super().__init__()
        self.tap_a = StyleTap(in_channels, w_dim)
        self.first = HalfBlock(in_channels, in_channels)
        self.tap_b = StyleTap(in_channels, w_dim)
        self.second = None if last else HalfBlock(in_channels, out_channels)
        self.bypass = None
        if in_channels != out_channels:
            self.bypass = pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, C, H, W] -> (output [B, C', H/2, W/2], tap A [B, D], tap B [B, D])."""
        style_a = self.tap_a(x)
        branch = self.first(x)
        style_b = self.tap_b(branch)
        if self.second is not None:
            branch = F.avg_pool2d(self.second(branch), 2)
            x = F.avg_pool2d(x, 2)
        if self.bypass is not None:
            x = self.bypass(x)
        return BRANCH * branch + RESIDUAL * x, style_a, style_b
