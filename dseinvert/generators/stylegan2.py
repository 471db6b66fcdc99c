"""StyleGAN2 (Karras et al., 2020): mapping network and skip synthesis network, any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dseinvert.generators.ops import (
    StyledConv,
    ToRGB,
    Upsample,
    leaky,
    linear,
    normalize_2nd_moment,
)
from dseinvert.latent import Latent, LatentSpec, Skip


@dataclass(frozen=True)
class StyleGAN2Config:
    """The numbers that define a StyleGAN2; `channels` maps a resolution to its feature width."""

    resolution: int
    channels: dict[int, int]
    w_dim: int = 512
    z_dim: int = 512
    mapping_layers: int = 8

    def __post_init__(self) -> None:
        log2 = int(math.log2(self.resolution)) if self.resolution > 0 else 0
        if self.resolution < 8 or 2**log2 != self.resolution:
            raise ValueError(f"resolution must be a power of two >= 8, not {self.resolution}")
        # JSON keys are strings.
        object.__setattr__(self, "channels", {int(k): v for k, v in self.channels.items()})
        missing = [r for r in self.resolutions if r not in self.channels]
        if missing:
            raise ValueError(f"channels lacks resolution {missing[0]}")

    @property
    def resolutions(self) -> list[int]:
        """4, 8, ... resolution."""
        return [2**k for k in range(2, int(math.log2(self.resolution)) + 1)]

    @property
    def layers(self) -> int:
        """Rows of w+: one for each styled convolution and one for the last ToRGB."""
        return 2 * len(self.resolutions)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Mapping(nn.Module):
    """z -> w: normalisation and a stack of fully connected layers; remembers the mean of w."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        widths = [z_dim] + [w_dim] * layers
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        """[B, z_dim] -> [B, w_dim]."""
        x = normalize_2nd_moment(z)
        for layer in self.layers:
            x = leaky(layer(x))
        return x


class Synthesis(nn.Module):
    """w+ -> image: a learned constant, styled convolutions, and RGB images summed on the way up."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        resolutions, channels, w_dim = config.resolutions, config.channels, config.w_dim
        self.const = nn.Parameter(torch.randn(1, channels[4], 4, 4))
        convs = [StyledConv(channels[4], channels[4], w_dim, 4, up=False)]
        for res in resolutions[1:]:
            convs.append(StyledConv(channels[res // 2], channels[res], w_dim, res, up=True))
            convs.append(StyledConv(channels[res], channels[res], w_dim, res, up=False))
        self.convs = nn.ModuleList(convs)
        self.to_rgbs = nn.ModuleList(ToRGB(channels[res], w_dim) for res in resolutions)
        self.upsample = Upsample()

    def forward(
        self,
        ws: Tensor,
        feature: Tensor | None = None,
        layer: int = 0,
        skip: Skip = "keep",
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """[B, L, D] -> [B, 3, R, R], usually within [-1, 1].

        `feature` replaces the output of styled convolution `layer` (from 1) on its way up. With
        `skip` "keep" the RGB images up to that layer still come from `ws` (Feature-Style Encoder);
        with "drop" the image starts at the feature (BDInvert). `noise` holds one map per styled
        convolution; None = the stored noise.
        """
        rgb: Tensor | None = None
        for index, x in self._walk(ws, feature, layer, skip, noise):
            if index % 2 == 0:  # convolutions 0, 2, 4, ... end a block
                image = self.to_rgbs[index // 2](x, ws[:, index + 1])
                rgb = image if rgb is None else self.upsample(rgb) + image
        assert rgb is not None
        return rgb

    def features(self, ws: Tensor, layer: int, noise: Sequence[Tensor] | None = None) -> Tensor:
        """The output [B, C, H, W] of styled convolution `layer`, counted from 1."""
        for index, x in self._walk(ws, None, 0, "keep", noise):
            if index == layer - 1:
                return x
        raise ValueError(f"layer must be 1..{len(self.convs)}, not {layer}")

    def _walk(
        self,
        ws: Tensor,
        feature: Tensor | None,
        layer: int,
        skip: Skip,
        noise: Sequence[Tensor] | None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, output) of each styled convolution, index counted from 0."""
        x = self.const.expand(len(ws), -1, -1, -1)
        # After the last convolution there is nothing that a kept skip would leave to a feature.
        last = len(self.convs) - (skip == "keep")
        if feature is not None and not 1 <= layer <= last:
            raise ValueError(f"a feature with skip {skip!r} enters at layer 1..{last}, not {layer}")
        entry = layer - 1 if feature is not None else -1
        for index, conv in enumerate(self.convs):
            if skip == "drop" and index < entry:
                continue
            if skip == "keep" or index != entry:
                x = conv(x, ws[:, index], None if noise is None else noise[index])
            if skip == "keep":
                yield index, x
            if feature is not None and index == entry:
                x = feature
            if skip == "drop":
                yield index, x


class StyleGAN2(nn.Module):
    """A StyleGAN2 generator behind the Generator protocol."""

    family = "stylegan2"
    truncates = True

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)

    @property
    def spec(self) -> LatentSpec:
        """w+ of `layers` rows."""
        return LatentSpec("w+", self.config.layers, self.config.w_dim)

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return self.config.resolution

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.synthesis.const.device

    def mean_latent(self) -> Latent:
        """The mean of w in every row: [1, L, D]."""
        return self._rows(self.mapping.w_avg[None])

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        """Latents of seeds, each drawn on its own so that the batch does not matter.

        Args:
            seeds: one per sample.
            psi: truncation; 1 = none, 0 = the mean face.
            cutoff: rows truncated; None = all.
            labels: it has no classes yet.
        """
        z = torch.stack([_normal(seed, self.config.z_dim) for seed in seeds]).to(self.device)
        code = self._rows(self.mapping(z)).code
        if psi != 1:
            mean = self.mapping.w_avg
            truncated = mean.lerp(code, psi)
            rows = torch.arange(self.config.layers, device=self.device)[:, None]
            limit = self.config.layers if cutoff is None else cutoff
            code = torch.where(rows < limit, truncated, code)
        return Latent(code, "w+")

    def synthesize(self, latent: Latent, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Latents in z, w or w+ -> [B, 3, R, R]; not clamped."""
        return self.synthesis(
            self.rows(latent), latent.feature, latent.layer or 0, latent.skip, noise
        )

    def features(self, latent: Latent, layer: int) -> Tensor:
        """The output [B, C, H, W] of styled convolution `layer` (from 1)."""
        return self.synthesis.features(self.rows(latent), layer)

    def rows(self, latent: Latent) -> Tensor:
        """The w+ rows [B, L, D] of a latent in any space of this generator."""
        code = latent.code
        if latent.space in ("z", "z+"):
            code = self.mapping(code.flatten(0, 1)).unflatten(0, code.shape[:2])
        if code.shape[1] == 1:
            code = code.expand(-1, self.config.layers, -1)
        if code.shape[1:] != (self.config.layers, self.config.w_dim):
            raise ValueError(
                f"this generator takes [B, {self.config.layers}, {self.config.w_dim}], "
                f"got {list(latent.code.shape)}"
            )
        return code

    def _rows(self, w: Tensor) -> Latent:
        return Latent(w[:, None].expand(-1, self.config.layers, -1), "w+")


def _normal(seed: int, size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))
