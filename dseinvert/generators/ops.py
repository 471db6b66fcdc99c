"""The layers StyleGAN-type generators are made of, in plain PyTorch that exports and runs anywhere.

Weights are stored ready for use (no run-time gain): "equalised learning rate" belongs to the
optimiser, see `training.optimiser`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2)


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU (0.2) with the gain sqrt(2) that keeps the variance."""
    return F.leaky_relu(x, 0.2) * SQRT2


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of [B, D] to a mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def linear(inputs: int, outputs: int, bias: float = 0) -> nn.Linear:
    """A fully connected layer that keeps the variance of its input, with a constant bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    nn.init.constant_(layer.bias, bias)
    return layer


def fir_kernel(taps: tuple[float, ...] = (1, 3, 3, 1)) -> Tensor:
    """The separable low-pass filter [n, n] of unit sum."""
    row = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(row, row)
    return kernel / kernel.sum()


class Blur(nn.Module):
    """Depthwise FIR filter; `gain` 4 makes up for the zeros that up-sampling inserts."""

    kernel: Tensor

    def __init__(self, pad: tuple[int, int], gain: float = 1) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel() * gain, persistent=False)
        self.pad = (*pad, *pad)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H', W']."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(F.pad(x, self.pad), kernel, groups=channels)


class Upsample(nn.Module):
    """Double H and W of an image: zero insertion, then FIR (StyleGAN2's `upsample_2d`)."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel() * 4, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 2H, 2W]."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        # A transposed convolution is zero insertion and filtering in one; the kernel is symmetric.
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, its output demodulated.

    scale the input -> one weight shared by the batch -> demodulate the output: equal to modulating
    the weight per sample (StyleGAN2, Equations 1-3), without a grouped convolution, so that it
    exports with a dynamic batch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, w_dim: int, *, demodulate: bool
    ) -> None:
        super().__init__()
        fan_in = in_channels * kernel**2
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, kernel, kernel) / math.sqrt(fan_in)
        )
        self.affine = linear(w_dim, in_channels, bias=1)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor, *, up: bool = False) -> Tensor:
        """x [B, I, H, W], w [B, D] -> [B, O, H, W]; with `up` [B, O, 2H+1, 2W+1], to be blurred."""
        style = self.affine(w)
        x = x * style[:, :, None, None]
        if up:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
        else:
            x = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulate:
            energy = F.linear(style.square(), self.weight.square().sum(dim=(2, 3)))
            x = x * (energy + 1e-8).rsqrt()[:, :, None, None]
        return x


class StyledConv(nn.Module):
    """Modulated 3x3 convolution (optionally doubling H and W), noise, bias, leaky ReLU."""

    noise: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, *, up: bool
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, w_dim, demodulate=True)
        self.blur = Blur((1, 1), gain=4) if up else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """`noise` [B or 1, 1, H, W]; None = the fixed noise stored with the weights."""
        x = self.conv(x, w, up=self.blur is not None)
        if self.blur is not None:
            x = self.blur(x)
        x = x + self.noise_strength * (self.noise if noise is None else noise)
        return leaky(x + self.bias[:, None, None])


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to an image, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, image_channels: int = 3) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, image_channels, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, C, H, W], [B, D] -> [B, 3, H, W]."""
        return self.conv(x, w) + self.bias[:, None, None]
