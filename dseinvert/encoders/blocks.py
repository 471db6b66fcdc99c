"""The one adaptive block that every DSE encoder stacks (DSE, Fig. 5 and Tables I-II)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.parts import batch_norm, noise_like
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


def instance_norm(x: Tensor, training: bool) -> Tensor:
    """[B, C, H, W], each channel of each image with mean 0 and deviation 1."""
    x = F.instance_norm(x, eps=1e-8)
    if training and x.requires_grad and len(x) == 1:
        # PyTorch's gradient is wrong for one image where it comes in the order channels-last.
        x.register_hook(Tensor.contiguous)
    return x


class StyleTap(nn.Module):
    """FC of a feature map's channel statistics: one row of w' ("FC" in Table I)."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.fc = linear(2 * channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D]."""
        return self.fc(channel_stats(x))


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias are linear in a condition ("CBN" in Table II).

    Inference uses the running statistics, so that the batch does not matter.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.scale = nn.Linear(condition, channels, bias=False)
        self.offset = nn.Linear(condition, channels, bias=False)
        for layer in (self.scale, self.offset):
            nn.init.zeros_(layer.weight)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B, C, H, W], condition [B, D] -> [B, C, H, W]."""
        if self.training:
            x = batch_norm(x, self.mean, self.variance, momentum=0.01)
        else:
            x = F.batch_norm(x, self.mean, self.variance)
        gain, bias = 1 + self.scale(condition), self.offset(condition)
        return torch.addcmul(bias[:, :, None, None], x, gain[:, :, None, None])


class HalfBlock(nn.Module):
    """Norm, 3x3 convolution, learned noise z_n', bias, leaky ReLU.

    Args:
        noise: whether there is z_n'; BigGAN and PGGAN have none.
        condition: width of what the norm is conditioned on; None = instance norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        noise: bool = True,
        condition: int | None = None,
    ) -> None:
        super().__init__()
        std = SQRT2 / math.sqrt(9 * in_channels)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) * std)
        self.noise_scale = nn.Parameter(torch.zeros(out_channels)) if noise else None  # z_n'
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.norm = None if condition is None else ConditionalNorm(in_channels, condition)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Noise is drawn in training only, so that inference is deterministic."""
        x = instance_norm(x, self.training) if self.norm is None else self.norm(x, condition)
        x = F.conv2d(x, self.weight, padding=1)
        if self.training and self.noise_scale is not None:
            x = x + self.noise_scale[:, None, None] * noise_like(x)
        return F.leaky_relu(x + self.bias[:, None, None], 0.2)


class Block(nn.Module):
    """Two half-blocks with a residual bypass; each half is tapped for style before its norm.

    The last block has no second convolution and does not shrink.

    Args:
        w_dim: width of a style; None = no taps and no noise, as for PGGAN and BigGAN.
        condition: as in HalfBlock.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int | None = None,
        *,
        last: bool,
        condition: int | None = None,
    ) -> None:
        super().__init__()
        noise = w_dim is not None
        self.tap_a = None if w_dim is None else StyleTap(in_channels, w_dim)
        self.first = HalfBlock(in_channels, in_channels, noise=noise, condition=condition)
        self.tap_b = None if w_dim is None else StyleTap(in_channels, w_dim)
        self.second = None
        if not last:
            self.second = HalfBlock(in_channels, out_channels, noise=noise, condition=condition)
        self.bypass = None
        if in_channels != out_channels:
            self.bypass = pointwise(in_channels, out_channels)

    def forward(
        self, x: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """[B, C, H, W] -> (output [B, C', H/2, W/2], tap A and tap B [B, D] if there are taps)."""
        styles = [] if self.tap_a is None else [self.tap_a(x)]
        branch = self.first(x, condition)
        if self.tap_b is not None:
            styles.append(self.tap_b(branch))
        if self.second is not None:
            branch = F.avg_pool2d(self.second(branch, condition), 2)
            x = F.avg_pool2d(x, 2)
        if self.bypass is not None:
            x = self.bypass(x)
        return BRANCH * branch + RESIDUAL * x, tuple(styles)


def stack(
    widths: Sequence[int], w_dim: int | None = None, condition: int | None = None
) -> nn.ModuleList:
    """The blocks of an encoder with these channels from the image's size down to 4x4."""
    following = (*widths[1:], widths[-1])
    last = len(widths) - 1
    return nn.ModuleList(
        Block(a, b, w_dim, last=index == last, condition=condition)
        for index, (a, b) in enumerate(zip(widths, following, strict=True))
    )


def published_widths(resolution: int) -> tuple[int, ...]:
    """Tables I and II: 16/32/64/128 channels at 1024/512/256/128 px, doubling to 512."""
    blocks = int(math.log2(resolution)) - 1
    first = min(512, 16 * 1024 // resolution)
    return tuple(min(512, first * 2**k) for k in range(blocks))


def checked_widths(resolution: int, widths: Sequence[int]) -> tuple[int, ...]:
    """Channels from `resolution` down to 4x4, one for each size.

    Raises:
        ValueError: too few or too many.
    """
    if resolution != 2 ** (len(widths) + 1):
        raise ValueError(
            f"{len(widths)} widths go with {2 ** (len(widths) + 1)} px, not {resolution} px"
        )
    return tuple(widths)
