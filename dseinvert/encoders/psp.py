"""Encoders of the pSp family (Richardson et al., 2021; e4e, Tov et al., 2021): image to w+."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import Trunk
from dseinvert.generators import Generator
from dseinvert.latent import Latent

MIDDLE, FINE = 3, 7  # the first rows read from the middle and from the fine map (pSp, Fig. 2)
POOLED = 7  # side of the map that the "w+" head flattens


@dataclass(frozen=True)
class PSPConfig:
    """The numbers that define an encoder of the pSp family.

    `trunk` is "irse" or "resnet", with `units` of `widths` channels in each stage. `head` says
    where rows come from: small convolutions on a "pyramid" of three maps or on the "last" map, or
    one fully connected layer ("w": the same row for all; "w+": all rows).
    """

    layers: int
    w_dim: int = 512
    trunk: str = "irse"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    head: str = "pyramid"
    relative: bool = False
    """Whether rows after the first are offsets from it (e4e)."""
    size: int = 256
    """Side to which images are shrunk."""
    crop: tuple[float, float] = (0.0, 1.0)
    """What of the height is looked at, from and to."""
    in_channels: int = 3
    batch_norm: bool = False
    """Whether the trunk has batch norms of its own; folded ones are in its convolutions."""

    def __post_init__(self) -> None:
        for name in ("widths", "units", "crop"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.trunk not in ("irse", "resnet"):
            raise ValueError(f"trunk must be irse or resnet, not {self.trunk!r}")
        if self.head not in ("pyramid", "last", "w", "w+"):
            raise ValueError(f"head must be pyramid, last, w or w+, not {self.head!r}")
        if len(self.widths) != 4 or len(self.units) != 4:
            raise ValueError("widths and units are four numbers each")
        if self.head in ("pyramid", "last") and self.w_dim != self.widths[-1]:
            raise ValueError(f"head {self.head!r} needs a last width equal to w_dim")
        if len(self.crop) != 2 or not 0 <= self.crop[0] < self.crop[1] <= 1:
            raise ValueError(f"crop must be two shares of the height, not {self.crop}")

    def side(self, row: int) -> int:
        """Of the map that a row's style block reads."""
        return (self.size // 16) << (self.level(row) if self.head == "pyramid" else 0)

    @staticmethod
    def level(row: int) -> int:
        """Which map of the pyramid a row is read from, the smallest first."""
        return (row >= MIDDLE) + (row >= FINE)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class StyleBlock(nn.Module):
    """A square map halved until one vector is left, then one fully connected layer: a row."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(int(math.log2(side)))
        )
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, S, S] -> [B, D]."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        return self.fc(x.flatten(1))


class StyleHead(nn.Module):
    """One style block per row, all on the last map."""

    def __init__(self, config: PSPConfig) -> None:
        super().__init__()
        self.rows = _style_blocks(config)

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Stage outputs -> [B, L, D]."""
        return torch.stack([row(stages[-1]) for row in self.rows], dim=1)


class PyramidHead(nn.Module):
    """One style block per row: coarse rows on the last map, finer ones on maps added on top."""

    def __init__(self, config: PSPConfig) -> None:
        super().__init__()
        self.rows = _style_blocks(config)
        self.lateral = nn.ModuleList(
            nn.Conv2d(width, config.w_dim, 1) for width in (config.widths[2], config.widths[1])
        )

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Stage outputs -> [B, L, D]."""
        maps = [stages[3]]
        for lateral, stage in zip(self.lateral, (stages[2], stages[1]), strict=True):
            maps.append(_add_upsampled(maps[-1], lateral(stage)))
        rows = [row(maps[PSPConfig.level(i)]) for i, row in enumerate(self.rows)]
        return torch.stack(rows, dim=1)


class MeanHead(nn.Module):
    """The mean of the last map, and one fully connected layer: the same row for all."""

    def __init__(self, config: PSPConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.widths[-1], config.w_dim)
        self.layers = config.layers

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Stage outputs -> [B, L, D]."""
        row = self.fc(stages[-1].mean(dim=(2, 3)))
        return row[:, None].expand(-1, self.layers, -1)


class FlatHead(nn.Module):
    """The last map, pooled and flattened, and two fully connected layers: all rows."""

    def __init__(self, config: PSPConfig) -> None:
        super().__init__()
        self.squeeze = nn.Linear(config.widths[-1] * POOLED**2, config.w_dim)
        self.fc = nn.Linear(config.w_dim, config.layers * config.w_dim)
        self.layers = config.layers

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Stage outputs -> [B, L, D]."""
        pooled = F.adaptive_avg_pool2d(stages[-1], POOLED)
        return self.fc(self.squeeze(pooled.flatten(1))).unflatten(1, (self.layers, -1))


HEADS = {"pyramid": PyramidHead, "last": StyleHead, "w": MeanHead, "w+": FlatHead}


class PSPNetwork(nn.Module):
    """Trunk and head: offsets from a starting latent."""

    def __init__(self, config: PSPConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(
            config.trunk, config.in_channels, config.widths, config.units, config.batch_norm
        )
        self.head = HEADS[config.head](config)

    def forward(self, x: Tensor) -> Tensor:
        """Shrunk images [B, C, S, S] -> [B, L, D]."""
        rows = self.head(self.trunk(x))
        return summed(rows) if self.config.relative else rows

    def shrink(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] -> the rows looked at, [B, 3, h, S], by area."""
        size = self.config.size
        first, end = (round(share * size) for share in self.config.crop)
        return F.adaptive_avg_pool2d(images, size)[:, :, first:end]


class PSPEncoder(nn.Module):
    """Image -> w+ in one pass, as offsets from the mean latent."""

    kind = "psp"
    w_avg: Tensor

    def __init__(self, config: PSPConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PSPNetwork(config)
        self.register_buffer("w_avg", torch.zeros(config.layers, config.w_dim))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D]."""
        return self.w_avg + self.network(self.network.shrink(images))

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], shrunk here by area -> Latent in w+; `label` is passed on."""
        return Latent(self(images), "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""


def check_rows(generator: Generator, average: Tensor) -> None:
    """ValueError where a generator takes other w+ than codes that start from `average` [L, D]."""
    rows = [generator.spec.layers, generator.spec.dim]
    if rows != [*average.shape]:
        raise ValueError(f"its encoder writes w+ of {[*average.shape]}, not {rows}")


def summed(rows: Tensor) -> Tensor:
    """The first row, and what the others [B, L, D] are as offsets from it (e4e)."""
    return torch.cat([rows[:, :1], rows[:, :1] + rows[:, 1:]], dim=1)


def _style_blocks(config: PSPConfig) -> nn.ModuleList:
    sides = (config.side(row) for row in range(config.layers))
    return nn.ModuleList(StyleBlock(config.w_dim, side) for side in sides)


def _add_upsampled(x: Tensor, lateral: Tensor) -> Tensor:
    size = lateral.shape[2:]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True) + lateral
