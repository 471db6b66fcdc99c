"""The filtered non-linearity of alias-free networks (Karras et al., 2021, Section 3).

Filters are applied as small matrices: a separable filter that resamples maps each run of outputs to
a few inputs more than it is long, by the same matrix along the whole axis. On a CPU this is several
times as fast as depthwise convolutions on a signal with zeros inserted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dseinvert.generators.ops import plain_inference

Taps = NDArray[np.float64]

AT_ONCE = 400_000
"""Numbers of the up-sampled signal that a CPU holds at a time: they stay in its cache."""


@dataclass(frozen=True)
class Lowpass:
    """A Kaiser low-pass filter, and the factor by which the signal is resampled with it."""

    factor: int
    taps: int
    """Its length; 1 = no filter."""
    cutoff: float
    """Where it halves the amplitude, in cycles per side of the image."""
    width: float
    """Of the transition band."""
    rate: int
    """Samples per side of the image."""
    radial: bool = False
    """Alike in all directions, and not along the axes (Appendix B)."""

    def design(self) -> Taps:
        """Coefficients of unit sum: [taps], or [taps, taps] where radial."""
        if self.taps == 1:
            return np.ones(1)
        at = (np.arange(self.taps) - (self.taps - 1) / 2) / self.rate
        attenuation = 2.285 * (self.taps - 1) * math.pi * 2 * self.width / self.rate + 7.95
        window = np.kaiser(self.taps, _kaiser_beta(attenuation))
        if self.radial:
            kernel = self._jinc(np.hypot(at[:, None], at)) * np.outer(window, window)
        else:
            kernel = np.sinc(2 * self.cutoff * at) * window
        return np.asarray(kernel / kernel.sum())

    def _jinc(self, distance: Taps) -> Taps:
        wave = _bessel_j1(2 * math.pi * self.cutoff * distance) / np.maximum(distance, 1e-9)
        return np.where(distance == 0, math.pi * self.cutoff, wave)


def _kaiser_beta(attenuation: float) -> float:
    """The window's shape for an attenuation in dB (Kaiser's formula)."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    over = max(attenuation - 21, 0.0)
    return 0.5842 * over**0.4 + 0.07886 * over


def _bessel_j1(x: Taps) -> Taps:
    """Bessel's integral; the integrand is periodic, so that equal steps are exact soon (x < 60)."""
    angle = (np.arange(128) + 0.5) * (2 * math.pi / 128)
    return np.asarray(np.cos(angle - x[..., None] * np.sin(angle)).mean(-1))


class Resample(nn.Module):
    """A filter along one axis: out[t] = sum over s of taps[s up + offset - t down] x[s].

    What lies outside the signal counts as zero.
    """

    matrix: Tensor

    def __init__(
        self, taps: Taps, inputs: int, outputs: int, *, up: int = 1, down: int = 1, offset: int = 0
    ) -> None:
        super().__init__()
        run = up * max(1, 32 // (up * down))  # outputs computed by one matrix
        first = -(offset // up)  # the first input that output 0 sees
        last = (len(taps) - 1 - offset + (run - 1) * down) // up
        at = np.arange(first, last + 1) * up + offset - np.arange(run)[:, None] * down
        inside = (at >= 0) & (at < len(taps))
        matrix = np.where(inside, taps[np.clip(at, 0, len(taps) - 1)], 0)
        self.register_buffer("matrix", torch.from_numpy(matrix).float(), persistent=False)
        self.runs = [
            (start * down // up + first, min(run, outputs - start))
            for start in range(0, outputs, run)
        ]
        self.inputs = inputs

    def rows(self, x: Tensor) -> Tensor:
        """Along the first axis: [inputs, N, W] -> [outputs, N, W]."""
        flat = x.flatten(1)
        parts = [matrix @ flat[low:high] for low, high, matrix in self._steps(x)]
        return torch.cat(parts).unflatten(1, x.shape[1:])

    def columns(self, x: Tensor) -> Tensor:
        """Along the last axis: [..., inputs] -> [..., outputs]."""
        flat = x.flatten(0, -2)
        parts = [flat[:, low:high] @ matrix.T for low, high, matrix in self._steps(x)]
        return torch.cat(parts, dim=1).unflatten(0, x.shape[:-1])

    def _steps(self, x: Tensor) -> list[tuple[int, int, Tensor]]:
        matrix, length = self.matrix.to(x.dtype), self.matrix.shape[1]
        steps = []
        for first, count in self.runs:
            low = min(max(first, 0), self.inputs)
            high = max(min(first + length, self.inputs), low)
            steps.append((low, high, matrix[:count, low - first : high - first]))
        return steps


class FilteredLeaky(nn.Module):
    """Up-sample, leaky ReLU (0.2, gain sqrt 2), clamp, down-sample, both through filters.

    Args:
        inputs: side of its input in samples.
        outputs: side of its output; what is too much is cropped evenly.
        up, down: the filters.
        clamp: bound of the activations; None = no bound.
    """

    kernel: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, up: Lowpass, down: Lowpass, clamp: float | None
    ) -> None:
        super().__init__()
        between = (outputs - 1) * down.factor + down.taps  # side at the high rate
        padding = between + up.taps - 1 - inputs * up.factor
        before = (padding + up.factor) // 2  # samples are centres of pixels (Appendix C.3)
        # The gains of zero insertion and of the leaky ReLU go through to the filter.
        gain = up.factor * 2**0.25
        self.up = Resample(up.design() * gain, inputs, between, up=up.factor, offset=before)
        taps = down.design()
        self.down = None if down.radial else Resample(taps, between, outputs, down=down.factor)
        kernel = torch.from_numpy(taps).float() if down.radial else None
        self.register_buffer("kernel", kernel, persistent=False)
        self.stride = down.factor
        self.clamp = clamp
        self.planes = max(AT_ONCE // between**2, 16 if down.radial else 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H', W']."""
        if not plain_inference(x):
            return self._filtered(x)
        planes = x.flatten(0, 1)[None].split(self.planes, dim=1)
        filtered = torch.cat([self._filtered(some) for some in planes], dim=1)
        return filtered[0].unflatten(0, x.shape[:2])

    def _filtered(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        high = self.up.rows(self.up.columns(x.flatten(0, 1).transpose(0, 1)))  # [H, B C, W]
        high = self._activated(high)
        if self.down is not None:
            low = self.down.columns(self.down.rows(high))
            return low.transpose(0, 1).unflatten(0, (-1, channels))
        assert self.kernel is not None
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        high = high.transpose(0, 1).unflatten(0, (-1, channels))
        return F.conv2d(high, kernel, stride=self.stride, groups=channels)

    def _activated(self, x: Tensor) -> Tensor:
        own = plain_inference(x)
        x = F.leaky_relu(x, 0.2, inplace=own)
        if self.clamp is None:
            return x
        return x.clamp_(-self.clamp, self.clamp) if own else x.clamp(-self.clamp, self.clamp)
