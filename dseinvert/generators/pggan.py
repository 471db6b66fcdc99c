"""PGGAN (Karras et al., 2018), fully grown: a class and a point on a sphere to an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators import MirrorShape
from dseinvert.generators.ops import normalize_2nd_moment
from dseinvert.generators.sampling import alike, checked_label, draw
from dseinvert.latent import Latent, LatentSpec


@dataclass(frozen=True)
class PGGANConfig:
    """The numbers that define a PGGAN; `channels` maps a resolution to its feature width."""

    resolution: int
    channels: dict[int, int]
    z_dim: int = 512
    classes: int = 0
    """Width of the label that is joined to z; 0 = none."""
    pixel_bias: bool = False
    """Whether each of the first 4x4 pixels has its own bias, as in the PyTorch GAN zoo."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", checked_channels(self.resolution, self.channels))

    @property
    def layers(self) -> int:
        """Convolutions, the fully connected one at the start among them."""
        return 2 * len(self.channels)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def checked_channels(resolution: int, channels: Mapping[Any, int]) -> dict[int, int]:
    """The width at 4, 8, ... `resolution`; keys may be strings, as in JSON.

    Raises:
        ValueError: a resolution that cannot be, or one without a width.
    """
    steps = int(math.log2(resolution)) if resolution > 0 else 0
    if resolution < 8 or 2**steps != resolution:
        raise ValueError(f"resolution must be a power of two >= 8, not {resolution}")
    widths = {int(r): width for r, width in channels.items()}
    missing = [2**k for k in range(2, steps + 1) if 2**k not in widths]
    if missing:
        raise ValueError(f"channels lacks resolution {missing[0]}")
    return {2**k: widths[2**k] for k in range(2, steps + 1)}


def conv(inputs: int, outputs: int, kernel: int = 3, gain: float = math.sqrt(2)) -> nn.Conv2d:
    """A convolution that keeps H and W, and the variance where a leaky ReLU follows."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * kernel**2))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def doubling_conv(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Nearest-neighbour doubling and a 3x3 convolution in one, for under half the arithmetic.

    Its 4x4 kernel is the 3x3 one, turned by half and summed over a window of 2x2.
    """
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    kernel = torch.randn(inputs, outputs, 3, 3) * math.sqrt(2 / (9 * inputs))
    layer.weight.data.copy_(doubling_kernel(kernel))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def doubling_kernel(kernel: Tensor) -> Tensor:
    """[I, O, 3, 3] of a transposed convolution -> [I, O, 4, 4], its sum over windows of 2x2."""
    spread = F.pad(kernel, (1, 1, 1, 1))
    return spread[..., 1:, 1:] + spread[..., :-1, 1:] + spread[..., 1:, :-1] + spread[..., :-1, :-1]


class PGGAN(nn.Module):
    """A PGGAN generator behind the Generator protocol."""

    family = "pggan"
    truncates = False
    truncation = None
    z_limit = None
    margin = 0
    class_vectors = None
    style_layers = ()
    mirror: MirrorShape = "z"
    by = "torch"

    def __init__(self, config: PGGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = list(config.channels.values())
        inputs = config.z_dim + config.classes
        # On one pixel a transposed convolution is a fully connected layer.
        first = nn.ConvTranspose2d(inputs, widths[0], 4)
        nn.init.normal_(first.weight, std=math.sqrt(2 / inputs) / 4)
        layers: list[nn.Module] = [first, conv(widths[0], widths[0])]
        for before, width in pairwise(widths):
            layers += [doubling_conv(before, width), conv(width, width)]
        self.convs = nn.ModuleList(layers)
        self.pixels: nn.Parameter | None = None
        if config.pixel_bias:
            self.pixels = nn.Parameter(torch.zeros(widths[0], 4, 4))
        self.to_rgb = conv(widths[-1], 3, 1, gain=1)

    @property
    def spec(self) -> LatentSpec:
        """One row of z, and a label where it has classes."""
        return LatentSpec("z", 1, self.config.z_dim, self.config.classes)

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return self.config.resolution

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.to_rgb.weight.device

    @property
    def z_dim(self) -> int:
        """Numbers in z."""
        return self.config.z_dim

    @property
    def plain(self) -> nn.Module:
        """Itself."""
        return self

    def rows(self, latent: Latent) -> Tensor:
        """z itself [B, 1, D]: there is no w."""
        return latent.code

    def first_weights(self, rows: tuple[int, int] | None = None) -> Tensor:
        """From z to the 4x4 pixels of the first layer: [C 4 4, D]."""
        weight = self.convs[0].get_parameter("weight")  # [D + classes, C, 4, 4]
        return weight.flatten(1).T[:, : self.config.z_dim]

    def mean_latent(self) -> Latent:
        """The centre of the sphere, [1, 1, D], and every class alike."""
        code = torch.zeros(1, 1, self.config.z_dim)
        return Latent(code, "z", label=alike(self.config.classes)).to(self.device)

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        """Points on the sphere of radius sqrt(D), each drawn on its own.

        Args:
            seeds: one per sample.
            psi: 1, since it has no mean to truncate towards.
            cutoff: no meaning here.
            labels: the class of each sample; None = drawn from its seed, where there are classes.
        """
        if psi != 1:
            raise ValueError("a PGGAN has no truncation: psi must be 1")
        latent = draw(seeds, self.config.z_dim, self.config.classes, labels)
        code = normalize_2nd_moment(latent.code[:, 0])[:, None]
        return replace(latent, code=code).to(self.device)

    def synthesize(self, latent: Latent) -> Tensor:
        """[B, 1, D] -> [B, 3, R, R]; not clamped."""
        x = latent.feature
        if x is None:
            return self.to_rgb(self._layer(latent, len(self.convs)))
        entry = self._known(latent.layer or 0)
        return self.to_rgb(self._between(x, entry, len(self.convs)))

    def features(self, latent: Latent, layer: int) -> Tensor:
        """The output [B, C, H, W] of convolution `layer`, counted from 1.

        A feature of the latent enters where it does in its image.
        """
        entry = self._known(latent.layer or 1)
        if latent.feature is not None and entry < self._known(layer):
            return self._between(latent.feature, entry, layer)
        return self._layer(latent, self._known(layer))

    def _layer(self, latent: Latent, last: int) -> Tensor:
        x = normalize_2nd_moment(self._inputs(latent))[:, :, None, None]
        return self._between(x, 0, last)

    def _between(self, x: Tensor, first: int, last: int) -> Tensor:
        for index in range(first, last):
            x = self.convs[index](x)
            if index == 0 and self.pixels is not None:
                x = x + self.pixels
            x = _activated(x)
        return x

    def _known(self, layer: int) -> int:
        if not 1 <= layer <= len(self.convs):
            raise ValueError(f"layer must be 1..{len(self.convs)}, not {layer}")
        return layer

    def _inputs(self, latent: Latent) -> Tensor:
        if latent.space != "z" or latent.code.shape[1:] != (1, self.config.z_dim):
            raise ValueError(
                f"this generator takes z [B, 1, {self.config.z_dim}], "
                f"got {latent.space} {list(latent.code.shape)}"
            )
        label = checked_label(latent.label, self.config.classes)
        return latent.code[:, 0] if label is None else torch.cat((latent.code[:, 0], label), dim=1)


def _activated(x: Tensor) -> Tensor:
    return normalize_2nd_moment(F.leaky_relu(x, 0.2))
