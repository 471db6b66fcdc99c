"""The convolutional trunks of pSp-type encoders, IR-SE (ArcFace) and ResNet, ready for inference.

Batch normalisation is folded: into the convolution it follows, or, where a padded convolution
follows it, into a scale and a shift of each channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REDUCTION = 16  # of squeeze-and-excitation


class ScaleShift(nn.Module):
    """A scale and a shift of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return torch.addcmul(self.shift[:, None, None], x, self.scale[:, None, None])


class SqueezeExcite(nn.Module):
    """Channels weighed by what the whole picture holds of each (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // REDUCTION, bias=False)
        self.excite = nn.Linear(channels // REDUCTION, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * weights[:, :, None, None]


class IRSEUnit(nn.Module):
    """Norm, convolution, PReLU, strided convolution, squeeze-and-excitation, and a bypass."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm = ScaleShift(in_channels)
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.slope = nn.PReLU(channels)
        self.second = nn.Conv2d(channels, channels, 3, stride, padding=1)
        self.weigh = SqueezeExcite(channels)
        self.bypass = None
        if in_channels != channels:
            self.bypass = nn.Conv2d(in_channels, channels, 1, stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        branch = self.weigh(self.second(self.slope(self.first(self.norm(x)))))
        if self.bypass is not None:
            return branch + self.bypass(x)
        return branch + x[:, :, :: self.stride, :: self.stride]


class ResNetUnit(nn.Module):
    """The basic block of ResNet-34 (He et al., 2016)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.bypass = None
        if in_channels != channels or stride != 1:
            self.bypass = nn.Conv2d(in_channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        branch = self.second(F.relu(self.first(x)))
        return F.relu(branch + (x if self.bypass is None else self.bypass(x)))


class Trunk(nn.Module):
    """A stem and stages of units; every stage but ResNet's first halves H and W.

    ResNet's stem halves instead, so that both kinds end at a sixteenth of the image.
    """

    def __init__(
        self, kind: str, in_channels: int, widths: Sequence[int], units: Sequence[int]
    ) -> None:
        super().__init__()
        resnet = kind == "resnet"
        kernel = 7 if resnet else 3
        self.stem = nn.Conv2d(in_channels, widths[0], kernel, 1 + resnet, padding=kernel // 2)
        self.slope = nn.PReLU(widths[0])
        unit = ResNetUnit if resnet else IRSEUnit
        stages, before = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, units, strict=True)):
            stride = 1 if resnet and stage == 0 else 2
            first = unit(before, width, stride)
            stages.append(nn.Sequential(first, *(unit(width, width, 1) for _ in range(count - 1))))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, C, H, W] -> the output of every stage; the last is [B, C', H/16, W/16]."""
        x = self.slope(self.stem(x))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs
