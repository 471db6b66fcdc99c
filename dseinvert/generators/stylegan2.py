"""StyleGAN2 (Karras et al., 2020), also with adaptive augmentation and classes; any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dseinvert.generators import MirrorShape
from dseinvert.generators.ops import (
    AT_ONCE,
    SQRT2,
    Bypass,
    StyledConv,
    ToRGB,
    Upsample,
    leaky,
    linear,
    normalize_2nd_moment,
    plain_inference,
)
from dseinvert.generators.sampling import checked_label, draw
from dseinvert.generators.style_based import StyleBased
from dseinvert.generators.styles import StyleLayer, by_layer, in_order
from dseinvert.latent import Latent, Skip

Architecture = Literal["skip", "orig", "resnet"]
Noise = Sequence[Tensor] | Literal["const", "none"]


@dataclass(frozen=True)
class StyleGAN2Config:
    """The numbers that define a StyleGAN2; `channels` maps a resolution to its feature width."""

    resolution: int
    channels: dict[int, int]
    w_dim: int = 512
    z_dim: int = 512
    mapping_layers: int = 8
    mapping_width: int | None = None
    """Width between the mapping layers; None = w_dim."""
    classes: int = 0
    """Width of the label that the mapping network takes beside z."""
    embed_dim: int | None = None
    """Width of the label's embedding; None = w_dim."""
    normed_together: bool = False
    """Whether z and the embedding are normalised as one, as before adaptive augmentation."""
    architecture: Architecture = "skip"
    """RGB images summed over all resolutions, one at the end, or one after residual blocks."""
    image_channels: int = 3
    """3, or 1 = grey, which comes out as three equal channels."""
    clamp: float | None = None
    """Bound of the convolutions' outputs, for networks trained in half precision; None = none."""

    def __post_init__(self) -> None:
        log2 = int(math.log2(self.resolution)) if self.resolution > 0 else 0
        if self.resolution < 8 or 2**log2 != self.resolution:
            raise ValueError(f"resolution must be a power of two >= 8, not {self.resolution}")
        # JSON keys are strings.
        object.__setattr__(self, "channels", {int(k): v for k, v in self.channels.items()})
        missing = [r for r in self.resolutions if r not in self.channels]
        if missing:
            raise ValueError(f"channels lacks resolution {missing[0]}")
        if self.architecture not in get_args(Architecture):
            raise ValueError(f"architecture must be skip, orig or resnet, not {self.architecture}")
        if self.image_channels not in (1, 3):
            raise ValueError(f"image_channels must be 1 or 3, not {self.image_channels}")

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
    """z -> w: normalisation and a stack of fully connected layers; remembers the mean of w.

    With classes, the label's embedding stands beside z; each is normalised, or both as one.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        layers: int,
        width: int | None = None,
        classes: int = 0,
        embed_dim: int | None = None,
        normed_together: bool = False,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.together = normed_together
        self.classes = classes
        embedded = (embed_dim or w_dim) if classes else 0
        self.embed = linear(classes, embedded) if classes else None
        widths = [z_dim + embedded, *[width or w_dim] * (layers - 1), w_dim][: layers + 1]
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [B, z_dim], label [B, classes] where there are any -> [B, w_dim]."""
        x = self._inputs(z, checked_label(label, self.classes))
        for layer in self.layers:
            x = leaky(layer(x))
        return x

    def _inputs(self, z: Tensor, label: Tensor | None) -> Tensor:
        if self.embed is None or label is None:
            return normalize_2nd_moment(z)
        if self.together:
            return normalize_2nd_moment(torch.cat([z, self.embed(label)], dim=1))
        parts = (z, self.embed(label))
        return torch.cat([normalize_2nd_moment(part) for part in parts], dim=1)


class Synthesis(nn.Module):
    """w+ -> image: a learned constant and styled convolutions, with RGB images on the way up."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        resolutions, channels, w_dim = config.resolutions, config.channels, config.w_dim
        clamp, residual = config.clamp, config.architecture == "resnet"
        last_gain = 1 if residual else SQRT2  # a block's two branches share the variance
        last_clamp = clamp if clamp is None or not residual else clamp / SQRT2
        self.const = nn.Parameter(torch.randn(1, channels[4], 4, 4))
        convs = [StyledConv(channels[4], channels[4], w_dim, 4, up=False, clamp=clamp)]
        for res in resolutions[1:]:
            before, width = channels[res // 2], channels[res]
            convs.append(StyledConv(before, width, w_dim, res, up=True, clamp=clamp))
            convs.append(
                StyledConv(width, width, w_dim, res, up=False, gain=last_gain, clamp=last_clamp)
            )
        self.convs = nn.ModuleList(convs)
        drawn = resolutions if config.architecture == "skip" else resolutions[-1:]
        self.to_rgbs = nn.ModuleList(
            ToRGB(channels[res], w_dim, config.image_channels, clamp=clamp) for res in drawn
        )
        steps = list(pairwise(channels[res] for res in resolutions)) if residual else []
        self.bypasses = nn.ModuleList(Bypass(before, width) for before, width in steps)
        self.upsample = Upsample()
        self.most = max(channels[res] * res**2 for res in resolutions)

    def forward(
        self,
        ws: Tensor,
        feature: Tensor | None = None,
        layer: int = 0,
        skip: Skip = "keep",
        noise: Sequence[Tensor] | None = None,
        style: Tensor | None = None,
    ) -> Tensor:
        """[B, L, D] -> [B, 1 or 3, R, R], usually within [-1, 1].

        `feature` replaces the output of styled convolution `layer` (from 1) on its way up. With
        `skip` "keep" the RGB images up to that layer still come from `ws` (Feature-Style Encoder);
        with "drop" the image starts at the feature (BDInvert). `noise` holds one map per styled
        convolution; None = the stored noise. `style` [B, S] is added to the styles; None = nothing.
        """
        if not plain_inference(ws):
            return self._images(ws, feature, layer, skip, noise, style)
        images, size = [], max(1, AT_ONCE // self.most)
        for start in range(0, len(ws), size):
            part = slice(start, start + size)
            own = None if noise is None else [n if len(n) == 1 else n[part] for n in noise]
            some = None if feature is None else feature[part]
            moved = None if style is None else style[part]
            images.append(self._images(ws[part], some, layer, skip, own, moved))
        return torch.cat(images).contiguous()

    def features(
        self,
        ws: Tensor,
        layer: int,
        noise: Sequence[Tensor] | None = None,
        style: Tensor | None = None,
        feature: Tensor | None = None,
        entry: int = 0,
    ) -> Tensor:
        """The output [B, C, H, W] of styled convolution `layer`, counted from 1.

        Of residual blocks it is their sum, which is there after layers 1, 3, 5, ... A `feature`
        replaces the output of layer `entry` for all layers after it; None = nothing does.
        """
        self._check(layer, len(self.convs), "layer must be")
        offsets = by_layer(self.style_layers, style)
        for index, x in self._walk(ws, feature, entry, "keep", noise, offsets):
            if index == layer - 1:
                return x
        raise AssertionError("the walk meets every layer")

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """Convolution 1, ToRGB 1, convolutions 2 and 3, ToRGB 2, ..., each with its style."""
        return in_order(self._affines())

    def _affines(self) -> Iterator[tuple[str, int, nn.Module]]:
        for index, conv in enumerate(self.convs):
            yield f"conv{index + 1}", index, conv.get_submodule("conv.affine")
            rgb = index // 2 - self._silent
            if index % 2 == 0 and rgb >= 0:  # convolutions 0, 2, 4, ... end a block
                affine = self.to_rgbs[rgb].get_submodule("conv.affine")
                yield f"rgb{rgb + 1}", index + 1, affine

    @property
    def _silent(self) -> int:
        """Blocks without an image."""
        return len(self.convs) // 2 + 1 - len(self.to_rgbs)

    def _images(
        self,
        ws: Tensor,
        feature: Tensor | None,
        layer: int,
        skip: Skip,
        noise: Sequence[Tensor] | None,
        style: Tensor | None,
    ) -> Tensor:
        rgb: Tensor | None = None
        silent, offsets = self._silent, by_layer(self.style_layers, style)
        for index, x in self._walk(ws, feature, layer, skip, noise, offsets):
            if index % 2 == 0 and index // 2 >= silent:  # convolutions 0, 2, 4, ... end a block
                place = index // 2 - silent
                image = self.to_rgbs[place](x, ws[:, index + 1], offsets.get(f"rgb{place + 1}"))
                rgb = image if rgb is None else self.upsample(rgb) + image
        assert rgb is not None
        return rgb

    def _walk(
        self,
        ws: Tensor,
        feature: Tensor | None,
        layer: int,
        skip: Skip,
        noise: Sequence[Tensor] | None,
        offsets: dict[str, Tensor],
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, output) of each styled convolution, index counted from 0."""
        x = block = self.const.expand(ws.shape[0], -1, -1, -1)  # len() would fix it in exports
        if feature is not None:
            # After the last convolution there is nothing that a kept skip would leave to a feature.
            last = len(self.convs) - (skip == "keep")
            self._check(layer, last, f"a feature with skip {skip!r} enters at layer")
        entry = layer - 1 if feature is not None else -1
        for index, conv in enumerate(self.convs):
            if skip == "drop" and index < entry:
                continue
            if skip == "keep" or index != entry:
                block = x if index % 2 else block
                own = None if noise is None else noise[index]
                x = conv(x, ws[:, index], own, offsets.get(f"conv{index + 1}"))
                if len(self.bypasses) and index and index % 2 == 0:
                    x = x + self.bypasses[index // 2 - 1](block)
            if skip == "keep":
                yield index, x
            if feature is not None and index == entry:
                x = feature
            if skip == "drop":
                yield index, x

    def _check(self, layer: int, last: int, what: str) -> None:
        if not 1 <= layer <= last:
            raise ValueError(f"{what} 1..{last}, not {layer}")
        if len(self.bypasses) and layer % 2 == 0:
            raise ValueError(f"{what} 1, 3, 5, ... of residual blocks, not {layer}")


class StyleGAN2(StyleBased):
    """A StyleGAN2 generator behind the Generator protocol."""

    family = "stylegan2"
    margin = 0
    mirror: MirrorShape = "rows"
    config: StyleGAN2Config
    mapping: Mapping
    synthesis: Synthesis

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(
            config.z_dim,
            config.w_dim,
            config.mapping_layers,
            config.mapping_width,
            config.classes,
            config.embed_dim,
            config.normed_together,
        )
        self.synthesis = Synthesis(config)

    @torch.no_grad()
    def measure_mean(self, samples: int = 4096) -> None:
        """Set the mean of w to that of some samples, where none was saved with the weights."""
        drawn = draw(range(samples), self.config.z_dim, self.config.classes).to(self.device)
        w = self.mapping(drawn.code[:, 0], drawn.label)
        self.mapping.w_avg.copy_(w.mean(0))

    def synthesize(self, latent: Latent, noise: Noise = "const") -> Tensor:
        """Latents in z, w or w+ -> [B, 3, R, R]; not clamped.

        `noise`: "const" = the stored maps, "none" = no noise, or a map per styled convolution.
        """
        ws = self.rows(latent)
        maps: Sequence[Tensor] | None = None
        if noise == "none":
            maps = [ws.new_zeros(1, 1, 1, 1)] * len(self.synthesis.convs)
        elif noise != "const":
            maps = noise
        feature, style = latent.feature, latent.style
        image = self.synthesis(ws, feature, latent.layer or 0, latent.skip, maps, style)
        return image if image.shape[1] == 3 else image.repeat(1, 3, 1, 1)

    def features(self, latent: Latent, layer: int) -> Tensor:
        """The output [B, C, H, W] of styled convolution `layer` (from 1).

        A feature of the latent enters where it does in its image.
        """
        entry = (latent.feature, latent.layer or 0)
        return self.synthesis.features(self.rows(latent), layer, None, latent.style, *entry)
