"""The Diverse Similarity Encoder for PGGAN (DSE, Table I and its last note)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.blocks import checked_widths, pointwise, published_widths, stack
from dseinvert.generators import Generator
from dseinvert.generators.ops import SQRT2, linear
from dseinvert.latent import Latent


@dataclass(frozen=True)
class DSEPGGANConfig:
    """The numbers that define it; `widths` are channels from the image's resolution down to 4x4."""

    resolution: int
    z_dim: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", checked_widths(self.resolution, self.widths))

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def published_config(resolution: int, z_dim: int = 512) -> DSEPGGANConfig:
    """The encoder of Table I without its styles and noise."""
    return DSEPGGANConfig(resolution, z_dim, published_widths(resolution))


class DSEPGGANEncoder(nn.Module):
    """Image -> z: the DSE without styles or noise, and one FC of its 4x4 end.

    The paper prints that FC as 1024*4*4 -> 512; the end has 512 channels, and so has the FC. The
    length of z' is left free, because the generator divides by it.
    """

    kind = "dse-pggan"
    space = "z"

    def __init__(self, config: DSEPGGANConfig) -> None:
        super().__init__()
        self.config = config
        self.from_rgb = pointwise(3, config.widths[0], gain=SQRT2)
        self.blocks = stack(config.widths)
        self.fc = linear(config.widths[-1] * 16, config.z_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (z' [B, 1, D], the 4x4 end [B, C, 4, 4])."""
        x = F.leaky_relu(self.from_rgb(images), 0.2)
        for block in self.blocks:
            x, _ = block(x)
        return self.fc(x.flatten(1))[:, None], x

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in z [B, 1, D]; `label` is passed on."""
        return Latent(self(images)[0], "z", label=label)

    def attach(self, generator: Generator) -> None:
        """It needs no generator."""
