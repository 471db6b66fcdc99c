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

AT_ONCE = 4 * 2**20
"""Numbers of features that are best computed at once on a CPU: 16 MiB.

Memory of 32 MiB and more is asked from the system each time, which costs more than the arithmetic.
"""


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU (0.2) with the gain sqrt(2) that keeps the variance."""
    return F.leaky_relu(x, 0.2) * SQRT2


def plain_inference(x: Tensor) -> bool:
    """Whether nothing but numbers is wanted, on a CPU: no gradients, no graph for later.

    Then layers may write over their own results, and look at the size of a batch.
    """
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]
    recorded = tracing or torch.compiler.is_compiling()
    return x.device.type == "cpu" and not (torch.is_grad_enabled() or recorded)


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
        channels, (before, after) = x.shape[1], self.pad[:2]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        if before == after:  # padding in the convolution saves a copy
            return F.conv2d(x, kernel, padding=before, groups=channels)
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

    def forward(
        self, x: Tensor, w: Tensor, *, up: bool = False, offset: Tensor | None = None
    ) -> Tensor:
        """x [B, I, H, W], w [B, D] -> [B, O, H, W]; with `up` [B, O, 2H+1, 2W+1], to be blurred.

        `offset` [B, I] is added to the style; None = nothing.
        """
        style = self.style(w, offset)
        weight: Tensor = self.weight
        x = x * style[:, :, None, None]
        if x.is_cuda and x.is_contiguous():
            weight = weight.contiguous()  # features stay in the layout in which they came
        x = convolved(x, weight, up=up)
        if self.demodulate:
            energy = F.linear(style.square(), self.weight.square().sum(dim=(2, 3)))
            x = x * (energy + 1e-8).rsqrt()[:, :, None, None]
        return x

    def style(self, w: Tensor, offset: Tensor | None = None) -> Tensor:
        """w [B, D] -> the scale [B, I] of each input channel."""
        style = self.affine(w)
        return style if offset is None else style + offset

    def of_one(self, w: Tensor, gain: float = 1, offset: Tensor | None = None) -> Tensor:
        """The weight [O, I, k, k] of one sample, w [1, D], times `gain`.

        It spares two passes over the features, which for large images are larger than the weight.
        """
        weight = self.weight * self.style(w, offset)[0, :, None, None]  # Equation 1
        if not self.demodulate:
            return weight * gain
        energy = weight.square().sum((1, 2, 3), keepdim=True)
        return weight.mul_((energy + 1e-8).rsqrt() * gain)  # Equation 3


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, up: bool) -> Tensor:
    """[B, I, H, W] -> [B, O, H, W]; with `up` [B, O, 2H+1, 2W+1]."""
    if up:
        return F.conv_transpose2d(x, weight.transpose(0, 1), bias, stride=2)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def ordered(weight: Tensor, *, up: bool) -> Tensor:
    """The same weight [O, I, k, k], its numbers in the order that CPUs read without a copy."""
    if up:
        return ordered(weight.transpose(0, 1), up=False).transpose(0, 1)
    return weight.contiguous(memory_format=torch.channels_last)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution (optionally doubling H and W), noise, bias, leaky ReLU.

    `gain` follows the leaky ReLU; `clamp` bounds the output; None = no bound.
    """

    noise: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool,
        gain: float = SQRT2,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, w_dim, demodulate=True)
        self.conv.weight = nn.Parameter(ordered(self.conv.weight.detach(), up=up))
        self.blur = Blur((1, 1), gain=4) if up else None
        self.gain = gain
        self.clamp = clamp
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))

    def forward(
        self, x: Tensor, w: Tensor, noise: Tensor | None = None, offset: Tensor | None = None
    ) -> Tensor:
        """`noise` [B or 1, 1, H, W]; None = the fixed noise stored with the weights.

        `offset` [B, I] is added to the style; None = nothing.
        """
        noise = self.noise_strength * (self.noise if noise is None else noise)
        if plain_inference(x) and len(x) == 1:
            return self._one(x, w, noise, offset)
        x = self.conv(x, w, up=self.blur is not None, offset=offset)
        if self.blur is not None:
            x = self.blur(x)
        x = F.leaky_relu(x + noise + self.bias[:, None, None], 0.2) * self.gain
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)

    def _one(self, x: Tensor, w: Tensor, noise: Tensor, offset: Tensor | None) -> Tensor:
        """The same for one sample, by as few passes over memory as there can be.

        The gain goes to what the leaky ReLU is applied to, for positive factors pass through it.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        weight, bias = self.conv.of_one(w, self.gain, offset), self.bias * self.gain
        if self.blur is None:
            x = convolved(x, weight, bias, up=False)
        else:
            channels = len(weight)
            count = min(channels * 4 * x[0, 0].numel() // AT_ONCE, channels // 32)
            parts = weight.chunk(max(1, count))
            done = [self.blur(convolved(x, part, up=True)) for part in parts]
            x = torch.cat(done, dim=1) if len(done) > 1 else done[0]
            x += bias[:, None, None]
        x += noise * self.gain
        x = F.leaky_relu_(x, 0.2)
        return x if self.clamp is None else x.clamp_(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to an image, without demodulation."""

    def __init__(
        self, in_channels: int, w_dim: int, image_channels: int = 3, *, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, image_channels, 1, w_dim, demodulate=False)
        self.clamp = clamp
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(self, x: Tensor, w: Tensor, offset: Tensor | None = None) -> Tensor:
        """[B, C, H, W], [B, D] -> [B, 3, H, W]; `offset` [B, C] is added to the style."""
        if plain_inference(x) and len(x) == 1:
            weight = self.conv.of_one(w, offset=offset)[:, :, 0, 0]
            image = F.linear(x.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)
        else:
            image = self.conv(x, w, offset=offset) + self.bias[:, None, None]
        return image if self.clamp is None else image.clamp(-self.clamp, self.clamp)


class Bypass(nn.Module):
    """1x1 convolution to twice the size, past the styled ones ("resnet" generators)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        scale = math.sqrt(0.5 / in_channels)  # half of the variance of the sum
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1) * scale)
        self.upsample = Upsample()

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, 2H, 2W]."""
        return self.upsample(F.conv2d(x, self.weight))
