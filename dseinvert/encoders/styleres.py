"""StyleRes (Pehlivan et al., 2023): e4e, and a gated residual of the features at one layer.

The residual comes from the encoder's own map beside the generator's features, aligned with them
(Section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.psp import PSPConfig, PSPNetwork, check_rows, summed
from dseinvert.generators import Generator
from dseinvert.latent import Latent

STAGE = 1
"""The encoder's stage whose map is used; it has a quarter of the image's side."""


@dataclass(frozen=True)
class StyleResConfig:
    """The numbers of its networks."""

    network: PSPConfig
    """Of the encoder to w+."""
    channels: int = 512
    """Of the features that are changed."""
    hidden: int = 512
    """Channels of the network that aligns."""
    narrow: int = 256
    """Channels of each of the two that the gate is made from."""

    def __post_init__(self) -> None:
        if isinstance(self.network, Mapping):  # read from JSON
            object.__setattr__(self, "network", PSPConfig(**self.network))

    @property
    def layer(self) -> int:
        """The styled convolution, from 1, whose features are changed: at a quarter of the size."""
        return 2 * int(math.log2(self.network.size)) - 8

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Residual(nn.Module):
    """Two convolutions beside a bypass."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride, padding=1)
        self.bypass = None
        if in_channels != channels or stride != 1:
            self.bypass = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        away = x if self.bypass is None else self.bypass(x)
        return self.second(F.leaky_relu(self.first(x), 0.2)) + away


class Aligning(nn.Module):
    """The encoder's map and the generator's features, looked at from three scales."""

    def __init__(self, inputs: int, config: StyleResConfig) -> None:
        super().__init__()
        width, channels = config.hidden, config.channels
        self.enter = nn.Conv2d(inputs, width, 1)
        self.down = nn.ModuleList(
            [
                nn.Sequential(Residual(width, width)),
                nn.Sequential(Residual(width, width, 2), Residual(width, width)),
                nn.Sequential(Residual(width, width, 2), Residual(width, width)),
            ]
        )
        self.up = nn.ModuleList(
            nn.Sequential(Residual(width, width), Residual(width, width)) for _ in range(2)
        )
        self.leave = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, S, S] -> [B, C, S, S]."""
        x, maps = self.enter(x), []
        for scale in self.down:
            x = scale(x)
            maps.append(x)
        maps.pop()
        for scale in self.up:
            beside = maps.pop()
            size = beside.shape[2:]
            x = scale(F.interpolate(x, size=size, mode="bilinear", align_corners=True) + beside)
        return self.leave(x)


class StyleResEncoder(nn.Module):
    """Image -> w+, and F at one layer."""

    kind = "styleres"
    w_avg: Tensor

    def __init__(self, config: StyleResConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PSPNetwork(config.network)
        channels, hidden, both = config.channels, config.hidden, 2 * config.narrow
        self.aligning = Aligning(config.network.widths[STAGE] + channels, config)
        self.reading = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            Residual(hidden, hidden),
            Residual(hidden, channels),
            Residual(channels, channels),
        )
        self.seen = nn.Conv2d(channels, config.narrow, 3, padding=1)
        self.read = nn.Conv2d(channels, config.narrow, 3, padding=1)
        self.change = nn.Sequential(
            Residual(both, both), Residual(both, channels), Residual(channels, channels)
        )
        self.gate = nn.Sequential(
            Residual(both, both), Residual(both, channels), Residual(channels, 1)
        )
        self.register_buffer("w_avg", torch.zeros(config.network.layers, config.network.w_dim))
        # In a tuple so that its weights are not taken for the encoder's.
        self._generator: tuple[Generator] | None = None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], F [B, C, S, S])."""
        if self._generator is None:
            raise ValueError("attach its generator first: it looks at its features")
        stages = self.network.trunk(self.network.shrink(images))
        rows = self.w_avg + summed(self.network.head(stages))
        own = self._generator[0].features(Latent(rows, "w+"), self.config.layer)
        aligned = self.reading(self.aligning(torch.cat([stages[STAGE], own], dim=1)))
        x = torch.cat([self.seen(own), self.read(aligned)], dim=1)
        return rows, own + torch.sigmoid(self.gate(x)) * self.change(x)

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], shrunk here by area -> Latent in w+ with F."""
        rows, feature = self(images)
        return Latent(rows, "w+", feature, self.config.layer, label=label)

    def attach(self, generator: Generator) -> None:
        """Keep the generator whose features it changes; ValueError where its latents are others."""
        check_rows(generator, self.w_avg)
        self._generator = (generator,)
