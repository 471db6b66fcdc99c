"""The convolutional trunks of pSp-type encoders, IR-SE (ArcFace) and ResNet, ready for inference.

Batch normalisation of trained networks is folded: into the convolution it follows, or, where a
padded convolution follows it, into a scale and a shift of each channel. A network that is to be
trained from scratch has it (`batch_norm`), and keeps it.
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
        narrow = max(1, channels // REDUCTION)
        self.squeeze = nn.Linear(channels, narrow, bias=False)
        self.excite = nn.Linear(narrow, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * weights[:, :, None, None]


class IRSEUnit(nn.Module):
    """Norm, convolution, PReLU, strided convolution, squeeze-and-excitation, and a bypass.

    Without `squeeze` it is the plain block of ArcFace.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        batch_norm: bool = False,
        squeeze: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels) if batch_norm else ScaleShift(in_channels)
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.slope = nn.PReLU(channels)
        self.second = nn.Conv2d(channels, channels, 3, stride, padding=1)
        self.second_norm = _after(channels, batch_norm)
        self.weigh = SqueezeExcite(channels) if squeeze else nn.Identity()
        self.bypass = None
        if in_channels != channels:
            self.bypass = nn.Conv2d(in_channels, channels, 1, stride)
        self.bypass_norm = _after(channels, batch_norm and self.bypass is not None)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        inner = self.second(self.slope(self.first(self.norm(x))))
        branch = self.weigh(self.second_norm(inner))
        if self.bypass is not None:
            return branch + self.bypass_norm(self.bypass(x))
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
        self,
        kind: str,
        in_channels: int,
        widths: Sequence[int],
        units: Sequence[int],
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        resnet = kind == "resnet"
        if resnet and batch_norm:
            raise ValueError("a ResNet trunk comes trained and folded, without batch norms")
        kernel = 7 if resnet else 3
        self.stem = nn.Conv2d(in_channels, widths[0], kernel, 1 + resnet, padding=kernel // 2)
        self.stem_norm = _after(widths[0], batch_norm)
        self.slope = nn.PReLU(widths[0])
        stages, before = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, units, strict=True)):
            stride = 1 if resnet and stage == 0 else 2
            steps = [(before, stride), *[(width, 1)] * (count - 1)]
            built = (
                ResNetUnit(inputs, width, step)
                if resnet
                else IRSEUnit(inputs, width, step, batch_norm)
                for inputs, step in steps
            )
            stages.append(nn.Sequential(*built))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, C, H, W] -> the output of every stage; the last is [B, C', H/16, W/16]."""
        x = self.slope(self.stem_norm(self.stem(x)))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


def _after(channels: int, batch_norm: bool) -> nn.Module:
    """The norm behind a convolution; where it is folded, nothing."""
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
