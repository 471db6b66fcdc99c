"""StyleFeatureEditor's inverter (Bobkov et al., 2024): w+, and F fused from two pictures of it.

A backbone writes w+ and predicts F; a second network fuses that with the features which w+ has
(Section 3.2). A checkpoint of the whole method has its editor behind, which runs here without an
edit, as it does when the method inverts.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import ScaleShift
from dseinvert.encoders.psp import check_rows
from dseinvert.generators import Generator
from dseinvert.latent import Latent

POOLED = 3
"""Side that each stage is averaged to before its numbers are read."""
STAGE = 2
"""The stage that F is predicted from; it has a quarter of the image's side."""
_STRIDES = (2, 2, 1, 2)


@dataclass(frozen=True)
class StyleFeatureConfig:
    """The numbers that define one."""

    layers: int
    w_dim: int = 512
    channels: int = 512
    """Of F."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    depth: int = 5
    """Blocks of the network that fuses."""
    edits: bool = False
    """Whether the editor runs behind it."""
    size: int = 256
    """Side to which images are shrunk."""

    def __post_init__(self) -> None:
        for name in ("widths", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != len(_STRIDES):
                raise ValueError(f"{name} are {len(_STRIDES)} numbers")

    @property
    def layer(self) -> int:
        """The styled convolution, from 1, whose output F replaces: the last of a quarter's size."""
        return 2 * int(math.log2(self.size)) - 7

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Branch(nn.Module):
    """Norm, convolution, PReLU, strided convolution; other norms are folded."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.norm = ScaleShift(in_channels)
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.slope = nn.PReLU(channels)
        self.second = nn.Conv2d(channels, channels, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        return self.second(self.slope(self.first(self.norm(x))))


class Unit(nn.Module):
    """A branch beside a bypass."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.branch = Branch(in_channels, channels, stride)
        self.bypass = None
        if in_channels != channels or stride != 1:
            self.bypass = nn.Conv2d(in_channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/stride, W/stride]."""
        return self.branch(x) + (x if self.bypass is None else self.bypass(x))


class Fuser(nn.Sequential):
    """Maps that stand beside each other to one, at the same size."""

    def __init__(self, in_channels: int, channels: int, depth: int) -> None:
        units = [Unit(channels, channels) for _ in range(depth)]
        super().__init__(nn.Conv2d(in_channels, channels, 1), *units)


class StyleFeatureEncoder(nn.Module):
    """Image -> w+, and F at one layer."""

    kind = "style-feature"
    w_avg: Tensor

    def __init__(self, config: StyleFeatureConfig) -> None:
        super().__init__()
        self.config = config
        widths, channels = config.widths, config.channels
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.slope = nn.PReLU(widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Unit(*sizes) for sizes in stage)) for stage in stages(config)
        )
        self.content = Branch(widths[STAGE], channels)
        self.rows = nn.Linear(POOLED**2 * sum(widths), config.layers * config.w_dim)
        self.fuser = Fuser(2 * channels, channels, config.depth)
        # Its other inputs are what an edit moves, which here is zero.
        self.editor = Fuser(channels, channels, config.depth) if config.edits else nn.Identity()
        self.register_buffer("w_avg", torch.zeros(config.layers, config.w_dim))
        # In a tuple so that its weights are not taken for the encoder's.
        self._generator: tuple[Generator] | None = None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], F [B, C, S, S])."""
        if self._generator is None:
            raise ValueError("attach its generator first: it looks at its features")
        # The published code does not filter here, so neither does this.
        size = (self.config.size,) * 2
        x = self.slope(self.stem(F.interpolate(images, size, mode="bilinear")))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        pooled = [F.adaptive_avg_pool2d(found, POOLED).flatten(1) for found in maps]
        rows = self.w_avg + self.rows(torch.cat(pooled, dim=1)).unflatten(1, self.w_avg.shape)
        own = self._generator[0].features(Latent(rows, "w+"), self.config.layer)
        fused = self.fuser(torch.cat([self.content(maps[STAGE]), own], dim=1))
        return rows, self.editor(fused)

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+ with F."""
        rows, feature = self(images)
        return Latent(rows, "w+", feature, self.config.layer, label=label)

    def attach(self, generator: Generator) -> None:
        """Keep the generator whose features it fuses; ValueError where its latents are others."""
        check_rows(generator, self.w_avg)
        self._generator = (generator,)


def stages(config: StyleFeatureConfig) -> list[list[tuple[int, int, int]]]:
    """Of each stage its units: channels before and after, and the stride."""
    found, before = [], config.widths[0]
    for width, count, stride in zip(config.widths, config.units, _STRIDES, strict=True):
        found.append([(before, width, stride), *[(width, width, 1)] * (count - 1)])
        before = width
    return found
