"""In-Domain Inversion (Zhu et al., 2020): residual blocks from the image to 4x4, then all of w+.

Their two codes order a block differently: that of PyTorch normalises before the activation, which
folds into its convolutions, and that of TensorFlow after it, which does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import ScaleShift
from dseinvert.generators import Generator
from dseinvert.latent import Latent


@dataclass(frozen=True)
class IDInvertConfig:
    """The numbers that define one; `widths` are channels from the image's resolution to 4x4."""

    layers: int
    w_dim: int = 512
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024, 1024)
    kernel: int = 3
    """Of the first convolution."""
    norm_last: bool = False
    """Whether norms come after the activations, as in TensorFlow."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if not self.widths or self.kernel % 2 == 0:
            raise ValueError("widths are at least one number, and the kernel is odd")

    @property
    def size(self) -> int:
        """Side of the images it looks at."""
        return 4 << (len(self.widths) - 1)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Step(nn.Module):
    """A convolution, its activation, and the norm after it, where there is one."""

    def __init__(self, in_channels: int, channels: int, kernel: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
        self.norm = ScaleShift(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H, W]."""
        return self.norm(F.leaky_relu(self.conv(x), 0.2))


class Block(nn.Module):
    """Halving, then two convolutions beside a bypass."""

    def __init__(self, in_channels: int, channels: int, norm: bool) -> None:
        super().__init__()
        hidden = min(in_channels, channels)
        self.first = Step(in_channels, hidden, 3, norm)
        self.second = Step(hidden, channels, 3, norm)
        self.bypass = None
        if in_channels != channels:
            self.bypass = nn.Conv2d(in_channels, channels, 1)
        self.active = not norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/2, W/2]."""
        x = away = F.avg_pool2d(x, 2)
        if self.bypass is not None:
            away = self.bypass(x)
            away = F.leaky_relu(away, 0.2) if self.active else away
        return self.second(self.first(x)) + away


class IDInvertEncoder(nn.Module):
    """Image -> w+, the rows themselves and not offsets."""

    kind = "idinvert"

    def __init__(self, config: IDInvertConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Step(3, config.widths[0], config.kernel, config.norm_last)
        self.blocks = nn.Sequential(*_blocks(config.widths, config.norm_last))
        self.rows = nn.Linear(16 * config.widths[-1], config.layers * config.w_dim)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D]."""
        x = self.blocks(self.stem(F.adaptive_avg_pool2d(images, self.config.size)))
        return self.rows(x.flatten(1)).unflatten(1, (self.config.layers, self.config.w_dim))

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+; `label` is passed on."""
        return Latent(self(images), "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""


def _blocks(widths: Sequence[int], norm: bool) -> list[Block]:
    return [Block(before, width, norm) for before, width in pairwise(widths)]
