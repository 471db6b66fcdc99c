"""The Feature-Style Encoder (Yao et al., 2022): an image to w+ and to F at one layer, side by side.

Sections 3.2 and 4 of the paper: a ResNet backbone, whose pooled stages give every row of w+ by one
fully connected layer each, and whose penultimate stages give F by two convolutions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import Trunk
from dseinvert.generators import Generator
from dseinvert.latent import Latent

POOLED = 3  # side that each stage is averaged to before its numbers are read


@dataclass(frozen=True)
class FeatureStyleConfig:
    """The numbers that define a Feature-Style Encoder.

    `layer` is the generator layer K whose output F replaces; `side` and `channels` are the size of
    that output. `size` is the side to which images are shrunk.
    """

    layers: int
    w_dim: int
    layer: int
    side: int
    channels: int
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    size: int = 256

    def __post_init__(self) -> None:
        for name in ("widths", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.widths) != 4 or len(self.units) != 4:
            raise ValueError("widths and units are four numbers each")
        if not {self.side, 2 * self.side} & {*self.stage_sides}:
            raise ValueError(f"no stage of an image of {self.size} px has F's {self.side} px")

    @property
    def stage_sides(self) -> list[int]:
        """The side of each stage's output."""
        return [self.size >> (k + 1) for k in range(4)]

    @property
    def stage(self) -> int:
        """The stage that F is read from: twice its size, as published, or its own."""
        double = 2 * self.side
        return self.stage_sides.index(double if double in self.stage_sides else self.side)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class FeatureStyleEncoder(nn.Module):
    """Image -> w+ as offsets from the mean latent, and F at layer K."""

    kind = "feature-style"
    space = "w+"
    w_avg: Tensor

    def __init__(self, config: FeatureStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk("irse", 3, config.widths, config.units, batch_norm=True)
        self.rows = nn.Linear(POOLED**2 * sum(config.widths), config.layers * config.w_dim)
        width, channels = config.widths[config.stage], config.channels
        stride = config.stage_sides[config.stage] // config.side
        self.feature = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.register_buffer("w_avg", torch.zeros(config.layers, config.w_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], F [B, C, S, S])."""
        stages = self.trunk(F.adaptive_avg_pool2d(images, self.config.size))
        pooled = [F.adaptive_avg_pool2d(stage, POOLED).flatten(1) for stage in stages]
        offsets = self.rows(torch.cat(pooled, dim=1)).unflatten(1, self.w_avg.shape)
        return self.w_avg + offsets, self.feature(stages[self.config.stage])

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+ with F; `label` is passed on."""
        rows, feature = self(images)
        return Latent(rows, "w+", feature=feature, layer=self.config.layer, label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""
