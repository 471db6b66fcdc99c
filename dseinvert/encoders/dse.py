"""The Diverse Similarity Encoder for StyleGAN-type generators (DSE, Table I)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.blocks import StyleTap, pointwise, published_widths, stack
from dseinvert.generators import Generator
from dseinvert.generators.ops import SQRT2, linear
from dseinvert.latent import Latent


@dataclass(frozen=True)
class DSEConfig:
    """The numbers that define a DSE; `widths` are channels from the image's resolution down to 4x4.

    `layers` is twice their number where the generator has two rows a size, as in Table I; any
    other number of rows is spread over the taps. `head` adds to every row one FC of the flattened
    z_c' ("base"), or nothing, as published ("taps").
    """

    resolution: int
    layers: int
    w_dim: int
    widths: tuple[int, ...]
    head: str = "taps"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.head not in ("taps", "base"):
            raise ValueError(f"head must be taps or base, not {self.head!r}")
        if self.layers < 1 or self.resolution != 2 ** (len(self.widths) + 1):
            raise ValueError(
                f"{self.resolution} px need {int(math.log2(self.resolution)) - 1} widths, "
                "and a side that is a power of two"
            )

    @property
    def places(self) -> list[int]:
        """The tap that each row reads, counted from the 4x4 end.

        Row 0 reads the deepest, the last row the one next to the image, and the others are spread
        evenly between them: with two rows a size, row k reads tap k.
        """
        last = 2 * len(self.widths) - 1
        gaps = max(1, self.layers - 1)
        return [(2 * row * last + gaps) // (2 * gaps) for row in range(self.layers)]

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def published_config(resolution: int, w_dim: int = 512) -> DSEConfig:
    """The encoder of Table I."""
    widths = published_widths(resolution)
    return DSEConfig(resolution, 2 * len(widths), w_dim, widths)


class DSEEncoder(nn.Module):
    """Image -> w+, predicted as offsets from the generator's mean latent.

    Each block has two style taps, the deepest first, so that row 0 is the 4x4 style. Rows that
    read the same tap each have an FC of their own there; a tap that no row reads is left unused.
    """

    kind = "dse"
    space = "w+"
    w_avg: Tensor

    def __init__(self, config: DSEConfig, w_avg: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        widths, w_dim = config.widths, config.w_dim
        self.from_rgb = pointwise(3, widths[0], gain=SQRT2)
        self.blocks = stack(widths, w_dim)
        self.readers = [config.places.count(place) for place in range(2 * len(widths))]
        for place, count in enumerate(self.readers):
            if count > 1:
                at = len(widths) - 1 - place // 2
                tap = StyleTap(widths[at], count * w_dim)
                setattr(self.blocks[at], "tap_a" if place % 2 else "tap_b", tap)
        self.base = linear(widths[-1] * 16, w_dim) if config.head == "base" else None
        self.register_buffer("w_avg", torch.zeros(w_dim) if w_avg is None else w_avg.clone())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], z_c' [B, C, 4, 4])."""
        rows, maps = self.rows_and_maps(images)
        return rows, maps[-1]

    def rows_and_maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """w' [B, L, D], and the output of each block, the last of which is z_c'."""
        taps, maps = self._walk(images)
        rows = self.w_avg + taps
        if self.base is not None:
            rows = rows + self.base(maps[-1].flatten(1))[:, None]
        return rows, maps

    def taps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The style taps alone [B, L, D], and z_c'."""
        taps, maps = self._walk(images)
        return taps, maps[-1]

    def _walk(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = F.leaky_relu(self.from_rgb(images), 0.2)
        taps: list[Tensor] = []
        maps: list[Tensor] = []
        for block in self.blocks:
            x, styles = block(x)
            taps = [*reversed(styles), *taps]
            maps.append(x)
        read = [tap for tap, count in zip(taps, self.readers, strict=True) if count]
        return torch.cat(read, dim=1).unflatten(1, (self.config.layers, -1)), maps

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+ [B, L, D]; `label` is passed on."""
        return Latent(self(images)[0], "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""
