"""HFGI (Wang et al., 2022): e4e, and what its picture lost put back into the features at one layer.

The lost details pass two networks: one aligns them with the picture, one reads from them a scale
and a shift of the features (Sections 3.2 and 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import IRSEUnit
from dseinvert.encoders.psp import PSPConfig, PSPNetwork, check_rows
from dseinvert.generators import Generator
from dseinvert.generators.ops import leaky
from dseinvert.latent import Latent


@dataclass(frozen=True)
class HFGIConfig:
    """The numbers of its three networks."""

    network: PSPConfig
    """Of the encoder to w+."""
    channels: int = 512
    """Of the features that are changed."""
    hidden: int = 512
    """Channels between the two convolutions that write them."""
    reads: tuple[int, ...] = (32, 48, 64)
    """Channels of the network that reads the details, at each scale."""
    aligns: tuple[int, ...] = (16, 32, 48, 64)
    """Channels of the network that aligns them, at each scale."""
    units: int = 3
    """Blocks at each scale, of at most 3."""

    def __post_init__(self) -> None:
        if isinstance(self.network, Mapping):  # read from JSON
            object.__setattr__(self, "network", PSPConfig(**self.network))
        for name, count in (("reads", 3), ("aligns", 4)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} are {count} numbers")
        if self.units not in (1, 2, 3):
            raise ValueError(f"units must be 1, 2 or 3, not {self.units}")

    @property
    def layer(self) -> int:
        """The styled convolution, from 1, whose features are changed: at a quarter of the size."""
        return 2 * int(math.log2(self.network.size)) - 8

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Stem(nn.Module):
    """A convolution, its norm folded, and a PReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.slope = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H, W]."""
        return self.slope(self.conv(x))


class Writer(nn.Module):
    """Two convolutions with a leaky ReLU between them."""

    def __init__(self, in_channels: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H, W]."""
        return self.second(leaky(self.first(x)))


class Reader(nn.Module):
    """Details [B, 3, S, S] -> scale and shift [B, C, S/4, S/4] of the features."""

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        self.stem = Stem(3, config.reads[0])
        self.scales = _down(config.reads, config.units)
        sizes = (config.reads[-1], config.hidden, config.channels)
        self.scale, self.shift = Writer(*sizes), Writer(*sizes)

    def forward(self, details: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.stem(details)
        for scale in self.scales:
            x = scale(x)
        return self.scale(x), self.shift(x)


class Aligner(nn.Module):
    """Details and picture [B, 6, S, S] -> details [B, 3, S, S] where the picture has them."""

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        self.stem = Stem(6, config.aligns[0])
        self.down = _down(config.aligns, config.units)
        self.up = nn.ModuleList(
            nn.Sequential(*_units(before, widths, 1)) for before, widths in upward(config)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        maps = [self.stem(x)]
        for scale in self.down:
            maps.append(scale(maps[-1]))
        x = maps.pop()
        for scale in self.up:
            beside = maps.pop()
            size = beside.shape[2:]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = scale(torch.cat([x, beside], dim=1))
        return x


class HFGIEncoder(nn.Module):
    """Image -> w+, and F at one layer."""

    kind = "hfgi"
    w_avg: Tensor

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PSPNetwork(config.network)
        self.reader, self.aligner = Reader(config), Aligner(config)
        self.register_buffer("w_avg", torch.zeros(config.network.layers, config.network.w_dim))
        # In a tuple so that its weights are not taken for the encoder's.
        self._generator: tuple[Generator] | None = None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], F [B, C, S, S])."""
        if self._generator is None:
            raise ValueError("attach its generator first: it looks at its own results")
        generator, size = self._generator[0], self.config.network.size
        seen = F.adaptive_avg_pool2d(images, size)
        rows = self.w_avg + self.network(seen)
        plain = Latent(rows, "w+")
        # The published code does not filter here, so neither does this.
        drawn = F.interpolate(
            generator.synthesize(plain).clamp(-1, 1),
            size=(size, size),
            mode="bilinear",
            align_corners=False,
        )
        details = self.aligner(torch.cat([seen - drawn, drawn], dim=1))
        scale, shift = self.reader(details)
        return rows, generator.features(plain, self.config.layer) * (1 + scale) + shift

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], shrunk here by area -> Latent in w+ with F."""
        rows, feature = self(images)
        return Latent(rows, "w+", feature, self.config.layer, label=label)

    def attach(self, generator: Generator) -> None:
        """Keep the generator that draws its results; ValueError where it takes other latents."""
        check_rows(generator, self.w_avg)
        self._generator = (generator,)


def upward(config: HFGIConfig) -> list[tuple[int, tuple[int, ...]]]:
    """On the aligner's way up: channels that come in, and those of each block."""
    first, second, third, last = config.aligns
    scales = [
        (last + third, (last, second, second)),
        (2 * second, (second, first, first)),
        (2 * first, (first, 3, 3)),
    ]
    return [(before, widths[-config.units :]) for before, widths in scales]


def _down(widths: Sequence[int], units: int) -> nn.ModuleList:
    """Blocks that halve the map, for each width after the first."""
    steps = pairwise(widths)
    return nn.ModuleList(
        nn.Sequential(*_units(before, (width,) * units, 2)) for before, width in steps
    )


def _units(before: int, widths: Sequence[int], stride: int) -> list[IRSEUnit]:
    """The first of them has the stride."""
    units = []
    for number, width in enumerate(widths):
        units.append(IRSEUnit(before, width, 1 if number else stride, squeeze=False))
        before = width
    return units
