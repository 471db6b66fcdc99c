"""E2Style (Wei et al., 2022): a shallow trunk with heads at three scales, refined in stages.

Each stage after the first looks at the image and at what the one before it drew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import Trunk
from dseinvert.encoders.psp import POOLED, check_rows
from dseinvert.generators import Generator
from dseinvert.latent import Latent


@dataclass(frozen=True)
class E2StyleConfig:
    """The numbers that define its networks, which are alike."""

    w_dim: int
    rows: tuple[int, ...] = (9, 5, 4)
    """Rows of w+ from each scale, the coarsest first."""
    widths: tuple[int, ...] = (64, 128, 256)
    units: tuple[int, ...] = (3, 4, 14)
    stages: int = 3
    """Networks, one after the other."""
    size: int = 256
    """Side to which images are shrunk."""

    def __post_init__(self) -> None:
        for name in ("rows", "widths", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.rows) == len(self.widths) == len(self.units) or not self.rows:
            raise ValueError("rows, widths and units are as many numbers each")
        if not 1 <= self.stages <= 16:
            raise ValueError(f"1 to 16 stages, not {self.stages}")

    @property
    def layers(self) -> int:
        """Rows of w+."""
        return sum(self.rows)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class E2StyleNetwork(nn.Module):
    """One stage: images of `in_channels` channels to rows of w+."""

    def __init__(self, config: E2StyleConfig, in_channels: int) -> None:
        super().__init__()
        self.trunk = Trunk("irse", in_channels, config.widths, config.units)
        sizes = zip(reversed(config.widths), config.rows, strict=True)
        self.heads = nn.ModuleList(
            nn.Linear(width * POOLED**2, count * config.w_dim) for width, count in sizes
        )
        self.w_dim = config.w_dim

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S, S] -> [B, L, D]."""
        rows = [
            head(F.adaptive_avg_pool2d(stage, POOLED).flatten(1)).unflatten(1, (-1, self.w_dim))
            for head, stage in zip(self.heads, reversed(self.trunk(x)), strict=True)
        ]
        return torch.cat(rows, dim=1)


class E2StyleEncoder(nn.Module):
    """Image -> w+: offsets from the mean latent, and corrections of what they draw."""

    kind = "e2style"
    w_avg: Tensor

    def __init__(self, config: E2StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(
            E2StyleNetwork(config, 6 if stage else 3) for stage in range(config.stages)
        )
        self.register_buffer("w_avg", torch.zeros(config.layers, config.w_dim))
        # In a tuple so that its weights are not taken for the encoder's.
        self._generator: tuple[Generator] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D]."""
        images = self._shrink(images)
        rows = self.w_avg + self.stages[0](images)
        for stage in list(self.stages)[1:]:
            rows = rows + stage(torch.cat([images, self._draw(rows)], dim=1))
        return rows

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], shrunk here by area -> Latent in w+; `label` is passed on."""
        return Latent(self(images), "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """Keep the generator that draws its results; ValueError where it takes other latents."""
        check_rows(generator, self.w_avg)
        self._generator = (generator,)

    def _draw(self, rows: Tensor) -> Tensor:
        if self._generator is None:
            raise ValueError("attach its generator first: it looks at its own results")
        return self._shrink(self._generator[0].synthesize(Latent(rows, "w+")))

    def _shrink(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, self.config.size)
