"""The Diverse Similarity Encoder for StyleGAN-type generators (DSE, Table I)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.blocks import Block, pointwise
from dseinvert.generators import Generator
from dseinvert.generators.ops import SQRT2, linear
from dseinvert.latent import Latent


@dataclass(frozen=True)
class DSEConfig:
    """The numbers that define a DSE; `widths` are channels from the image's resolution down to 4x4.

    `head` adds to every row one FC of the flattened z_c' ("base"), or nothing, as published
    ("taps").
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
        if self.layers != 2 * len(self.widths) or self.resolution != 2 ** (len(self.widths) + 1):
            raise ValueError(
                f"{self.layers} layers at {self.resolution} px need "
                f"{int(math.log2(self.resolution)) - 1} widths and twice as many layers"
            )

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def published_config(resolution: int, w_dim: int = 512) -> DSEConfig:
    """Table I: 16/32/64/128 channels at 1024/512/256/128 px, doubling to 512."""
    blocks = int(math.log2(resolution)) - 1
    first = min(512, 16 * 1024 // resolution)
    widths = tuple(min(512, first * 2**k) for k in range(blocks))
    return DSEConfig(resolution, 2 * blocks, w_dim, widths)


class DSEEncoder(nn.Module):
    """Image -> w+, predicted as offsets from the generator's mean latent.

    Each block gives two style rows, the deepest first, so that row 0 is the 4x4 style.
    """

    kind = "dse"
    space = "w+"
    w_avg: Tensor

    def __init__(self, config: DSEConfig, w_avg: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        widths, w_dim = config.widths, config.w_dim
        self.from_rgb = pointwise(3, widths[0], gain=SQRT2)
        following = (*widths[1:], widths[-1])
        last = len(widths) - 1
        self.blocks = nn.ModuleList(
            Block(width, following[i], w_dim, last=i == last) for i, width in enumerate(widths)
        )
        self.base = linear(widths[-1] * 16, w_dim) if config.head == "base" else None
        self.register_buffer("w_avg", torch.zeros(w_dim) if w_avg is None else w_avg.clone())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], z_c' [B, C, 4, 4])."""
        taps, z_c = self.taps(images)
        rows = self.w_avg + taps
        if self.base is not None:
            rows = rows + self.base(z_c.flatten(1))[:, None]
        return rows, z_c

    def taps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The style taps alone [B, L, D], and z_c'."""
        x = F.leaky_relu(self.from_rgb(images), 0.2)
        rows: list[Tensor] = []
        for block in self.blocks:
            x, style_a, style_b = block(x)
            rows = [style_b, style_a, *rows]
        return torch.stack(rows, dim=1), x

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+ [B, L, D]; `label` is passed on."""
        return Latent(self(images)[0], "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""
