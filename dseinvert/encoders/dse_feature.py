"""A DSE with a feature branch: w+ from the trunk, and F, what w+ cannot say, from its maps.

F is the generator's own feature at w plus a correction, F = feat_K(w) + d(image), so that the
branch starts as nothing and an edit carries over by the difference rule (Feature-Style Encoder,
Section 3.3, Equation 1). Unlike the Feature-Style Encoder it shares the trunk of the DSE and sees
feat_K(w).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.generators import Generator
from dseinvert.latent import Latent


@dataclass(frozen=True)
class DSEFeatureConfig:
    """The trunk's numbers, and those of the branch.

    `layer` is the generator layer K whose output F replaces, `side` and `channels` are the size of
    that output; `width` and `depth` are those of the branch.
    """

    trunk: DSEConfig
    layer: int
    side: int
    channels: int
    width: int = 128
    depth: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.trunk, Mapping):  # from JSON
            object.__setattr__(self, "trunk", DSEConfig(**self.trunk))
        if self.side not in self.map_sides[:-1] or self.side * 2 > self.trunk.resolution:
            raise ValueError(f"no map of the trunk is {self.side} px wide")

    @property
    def map_sides(self) -> list[int]:
        """The side of each block's output."""
        blocks = len(self.trunk.widths)
        return [self.trunk.resolution >> min(k + 1, blocks - 1) for k in range(blocks)]

    @property
    def map_index(self) -> int:
        """The first block whose output has F's size."""
        return self.map_sides.index(self.side)

    @property
    def map_channels(self) -> int:
        """Its width."""
        return self.trunk.widths[self.map_index + 1]

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class FeatureBranch(nn.Module):
    """d: the correction of feat_K(w), from the image's fine detail, the trunk's map and feat_K(w).

    The image loses no pixel on its way to F's size: its detail moves into channels.
    """

    def __init__(self, config: DSEFeatureConfig) -> None:
        super().__init__()
        halvings = int(math.log2(config.trunk.resolution // config.side))
        widths = [3, *(48 * 2**k for k in range(halvings))]
        self.detail = nn.ModuleList(_conv(4 * widths[k], widths[k + 1], 3) for k in range(halvings))
        self.enter = _conv(widths[-1] + config.map_channels + config.channels, config.width, 1)
        self.body = nn.ModuleList(Bypassed(config.width) for _ in range(config.depth))
        self.leave = _conv(config.width, config.channels, 3, 0)

    def forward(self, images: Tensor, trunk: Tensor, feature: Tensor) -> Tensor:
        """Images [B, 3, R, R], the trunk's map and feat_K(w), both S x S -> d [B, C, S, S]."""
        return self.leave(self.before_last(self.detail_of(images), trunk, feature))

    def detail_of(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] -> their fine detail, S x S, which depends on nothing else."""
        x = images
        for conv in self.detail:
            x = F.leaky_relu(conv(F.pixel_unshuffle(x, 2)), 0.2)
        return x

    def before_last(self, detail: Tensor, trunk: Tensor, feature: Tensor) -> Tensor:
        """Detail, the trunk's map and feat_K(w), all S x S -> what `leave` takes, S x S."""
        x = F.leaky_relu(self.enter(torch.cat([detail, trunk, feature], dim=1)), 0.2)
        for block in self.body:
            x = block(x)
        return F.leaky_relu(x, 0.2)


class Bypassed(nn.Module):
    """Two convolutions beside an identity, almost silent to start with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width, 3)
        self.second = _conv(width, width, 3, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S, S] -> the same shape."""
        return x + self.second(F.leaky_relu(self.first(x), 0.2))


class DSEFeatureEncoder(nn.Module):
    """Image -> w+ and F at one layer of the generator it is attached to."""

    kind = "dse-feature"
    space = "w+"

    def __init__(self, config: DSEFeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = DSEEncoder(config.trunk)
        self.branch = FeatureBranch(config)
        self._generator: list[Generator] = []  # in a list it is no submodule, and is not saved

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> (w' [B, L, D], feat_K(w') and d, both [B, C, S, S])."""
        rows, maps = self.trunk.rows_and_maps(images)
        feature = self._generator[0].features(Latent(rows, "w+"), self.config.layer)
        return rows, feature, self.branch(images, maps[self.config.map_index], feature)

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent in w+ with F = feat_K(w') + d; `label` is passed on."""
        # Called as a module, whose name its constants then have in exported files.
        rows, plain, correction = self(images)
        return Latent(rows, "w+", feature=plain + correction, layer=self.config.layer, label=label)

    def rows_and_feature(
        self, images: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D], F [B, C, S, S], and the trunk's last map.

        `generator` is the one that it is attached to.
        """
        rows, maps = self.trunk.rows_and_maps(images)

        def correction(plain: Tensor) -> Tensor:
            return self.branch(images, maps[self.config.map_index], plain)

        return rows, feature_at(generator, rows, self.config.layer, correction), maps[-1]

    def attach(self, generator: Generator) -> None:
        """Keep the generator whose feature is corrected."""
        self._generator = [generator]


def feature_at(
    generator: Generator, rows: Tensor, layer: int, correction: Callable[[Tensor], Tensor]
) -> Tensor:
    """F [B, C, S, S] of w+ rows [B, L, D] at a layer; `correction` is d as a function of feat_K(w).

    ValueError where the generator has no such feature.
    """
    plain = generator.features(Latent(rows, "w+"), layer)
    return plain + correction(plain)  # F = feat_K(w) + d (Equation 1)


def _conv(inputs: int, outputs: int, kernel: int, gain: float = 2) -> nn.Conv2d:
    """A convolution of variance gain `gain`, and no bias to start with."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(conv.weight, std=math.sqrt(gain / (inputs * kernel**2)))
    nn.init.constant_(conv.bias, 0)  # type: ignore[arg-type]
    return conv
