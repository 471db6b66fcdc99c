"""StyleGAN (Karras et al., 2019): mapping network and style-based synthesis, any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators import MirrorShape
from dseinvert.generators.ops import fir_kernel, linear, normalize_2nd_moment
from dseinvert.generators.pggan import checked_channels, conv, doubling_conv
from dseinvert.generators.sampling import checked_label
from dseinvert.generators.style_based import StyleBased
from dseinvert.generators.styles import StyleLayer, by_layer, in_order
from dseinvert.latent import Latent

Noise = Sequence[Tensor] | Literal["const", "none"]


@dataclass(frozen=True)
class StyleGAN1Config:
    """The numbers that define a StyleGAN; `channels` maps a resolution to its feature width."""

    resolution: int
    channels: dict[int, int]
    w_dim: int = 512
    z_dim: int = 512
    mapping_layers: int = 8
    mapping_width: int = 512
    classes: int = 0
    """Width of the label whose embedding is joined to z; 0 = none."""
    own_rows: bool = False
    """Whether the mapping network has an output for each row of w+, as in In-Domain Inversion."""
    tanh: bool = False
    """Whether the image passes through tanh, as there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", checked_channels(self.resolution, self.channels))
        if self.mapping_layers < 1:
            raise ValueError(f"mapping_layers must be at least 1, not {self.mapping_layers}")

    @property
    def layers(self) -> int:
        """Rows of w+: one for each styled layer."""
        return 2 * len(self.channels)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class Mapping(nn.Module):
    """z -> w: normalisation and a stack of fully connected layers; remembers the mean of w."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        self.w_dim = config.w_dim
        rows = config.layers if config.own_rows else 1
        inputs = config.z_dim * (2 if config.classes else 1)
        hidden = [config.mapping_width] * (config.mapping_layers - 1)
        widths = [inputs, *hidden, config.w_dim * rows]
        self.layers = nn.ModuleList(_dense(a, b) for a, b in pairwise(widths))
        self.classes = config.classes
        if config.classes:
            self.embedding = nn.Parameter(torch.randn(config.classes, config.z_dim))
        self.register_buffer("w_avg", torch.zeros(rows, config.w_dim))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [B, z_dim], label [B, classes] where there are any -> [B, 1 or L, w_dim]."""
        label = checked_label(label, self.classes)
        x = z if label is None else torch.cat((z, label @ self.embedding), dim=1)
        x = normalize_2nd_moment(x)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return x.unflatten(1, (-1, self.w_dim))


class Blur(nn.Module):
    """The depthwise filter (1, 2, 1) after each doubling."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel((1, 2, 1)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape; black beyond the border."""
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


class StyledLayer(nn.Module):
    """A source of features, then noise, bias, leaky ReLU, and AdaIN (Equation 1)."""

    noise: Tensor

    def __init__(self, source: nn.Module, channels: int, w_dim: int, resolution: int) -> None:
        super().__init__()
        self.source = source
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.style = linear(w_dim, 2 * channels)
        self.style.bias.data[:channels] = 1
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))

    def forward(
        self, x: Tensor, w: Tensor, noise: Tensor | None = None, offset: Tensor | None = None
    ) -> Tensor:
        """x [B, I, H, W], w [B, D] -> [B, C, H', W']; `noise` None = the stored one.

        `offset` [B, 2C] is added to the scales and shifts of the style; None = nothing.
        """
        noise = self.noise if noise is None else noise
        x = self.source(x) + self.noise_strength[:, None, None] * noise
        x = F.leaky_relu(x + self.bias[:, None, None], 0.2)
        style = self.style(w) if offset is None else self.style(w) + offset
        scale, shift = style[:, :, None, None].chunk(2, dim=1)
        var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        # Equation 1: instance normalisation, then the style's scale and shift.
        return torch.addcmul(shift, x - mean, scale * (var + 1e-8).rsqrt())


class Constant(nn.Module):
    """The learned constant that the network starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(1, channels, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """A batch of anything, [B, ...] -> [B, C, 4, 4]."""
        return self.value.expand(x.shape[0], -1, -1, -1)  # len() would fix it


class Synthesis(nn.Module):
    """w+ -> image: a learned constant, styled layers, and one convolution to RGB."""

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        (low, width), *rest = config.channels.items()
        sources: list[tuple[nn.Module, int, int]] = [
            (Constant(width), width, low),
            (_unbiased(conv(width, width)), width, low),
        ]
        for res, out in rest:
            up = nn.Sequential(_unbiased(doubling_conv(width, out)), Blur())
            sources += [(up, out, res), (_unbiased(conv(out, out)), out, res)]
            width = out
        layers = [StyledLayer(source, out, config.w_dim, res) for source, out, res in sources]
        self.layers = nn.ModuleList(layers)
        self.to_rgb = conv(width, 3, 1, gain=1)
        self.tanh = config.tanh

    def forward(
        self,
        ws: Tensor,
        feature: Tensor | None = None,
        layer: int = 0,
        noise: Sequence[Tensor] | None = None,
        style: Tensor | None = None,
    ) -> Tensor:
        """[B, L, D] -> [B, 3, R, R], usually within [-1, 1].

        `feature` replaces the output of styled layer `layer` (from 1); the rows of w below it then
        mean nothing. `noise` holds one map per styled layer; None = the stored noise. `style`
        [B, S] is added to the styles; None = nothing.
        """
        if feature is not None:
            self._known(layer)
        x = ws if feature is None else feature
        first = 0 if feature is None else layer
        image = self.to_rgb(self._between(x, ws, first, len(self.layers), noise, style))
        return image.tanh() if self.tanh else image

    def features(
        self,
        ws: Tensor,
        layer: int,
        noise: Sequence[Tensor] | None = None,
        style: Tensor | None = None,
        feature: Tensor | None = None,
        entry: int = 0,
    ) -> Tensor:
        """The output [B, C, H, W] of styled layer `layer`, counted from 1.

        A `feature` replaces the output of layer `entry` for all layers after it; None = nothing.
        """
        self._known(layer)
        if feature is None or layer <= entry:
            return self._between(ws, ws, 0, layer, noise, style)
        self._known(entry)
        return self._between(feature, ws, entry, layer, noise, style)

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The styled layers; of each the scales stand before the shifts."""
        affines = [layer.get_submodule("style") for layer in self.layers]
        return in_order((f"conv{i + 1}", i, affine) for i, affine in enumerate(affines))

    def _known(self, layer: int) -> None:
        if not 1 <= layer <= len(self.layers):
            raise ValueError(f"layer must be 1..{len(self.layers)}, not {layer}")

    def _between(
        self,
        x: Tensor,
        ws: Tensor,
        first: int,
        last: int,
        noise: Sequence[Tensor] | None,
        style: Tensor | None,
    ) -> Tensor:
        offsets = by_layer(self.style_layers, style)
        for index in range(first, last):
            own = None if noise is None else noise[index]
            x = self.layers[index](x, ws[:, index], own, offsets.get(f"conv{index + 1}"))
        return x


class StyleGAN1(StyleBased):
    """A StyleGAN generator behind the Generator protocol."""

    family = "stylegan1"
    margin = 0
    mirror: MirrorShape = "rows"
    config: StyleGAN1Config
    mapping: Mapping
    synthesis: Synthesis

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    def synthesize(self, latent: Latent, noise: Noise = "const") -> Tensor:
        """Latents in z, w or w+ -> [B, 3, R, R]; not clamped.

        `noise`: "const" = the stored maps, "none" = no noise, or a map per styled layer.
        """
        ws, maps = self.rows(latent), None if isinstance(noise, str) else noise
        if noise == "none":
            maps = [ws.new_zeros(1, 1, 1, 1)] * self.config.layers
        return self.synthesis(ws, latent.feature, latent.layer or 0, maps, latent.style)

    def features(self, latent: Latent, layer: int) -> Tensor:
        """The output [B, C, H, W] of styled layer `layer` (from 1).

        A feature of the latent enters where it does in its image.
        """
        entry = (latent.feature, latent.layer or 0)
        return self.synthesis.features(self.rows(latent), layer, None, latent.style, *entry)

    def mapped(self, latent: Latent) -> Tensor:
        """Row i of w+ from row i of z+; one z makes one row, or all where each is mapped apart."""
        w, rows = super().mapped(latent), self.config.layers  # [B, z, w, D]
        if w.shape[1] == 1:
            return w[:, 0]
        if w.shape[1] != rows:
            raise self.refused(latent)
        w = w.expand(-1, -1, rows, -1)
        return w.diagonal(dim1=1, dim2=2).movedim(-1, 1)


def _dense(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer that keeps the variance where a leaky ReLU follows."""
    layer = linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
    return layer


def _unbiased(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    layer.register_parameter("bias", None)  # the bias comes after the noise
    return layer
