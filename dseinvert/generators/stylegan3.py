"""StyleGAN3 (Karras et al., 2021), configurations T and R: alias-free synthesis, any size."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators import MirrorShape
from dseinvert.generators.filtered import FilteredLeaky, Lowpass
from dseinvert.generators.ops import linear
from dseinvert.generators.style_based import StyleBased
from dseinvert.generators.stylegan2 import Mapping
from dseinvert.generators.styles import StyleLayer, by_layer, in_order
from dseinvert.latent import Latent


@dataclass(frozen=True)
class Signal:
    """The features between two layers: a sampled continuous signal (Section 2)."""

    size: int
    """Side in samples, with the margin around the image."""
    channels: int
    rate: int
    """Samples per side of the image."""
    cutoff: float
    half_width: float
    """Of the filter's transition band, as `cutoff` in cycles per side of the image."""


_MOST = {
    **{"num_layers": 64, "mapping_layers": 64, "filter_size": 64, "lrelu_upsampling": 16},
    **{"margin_size": 1024, "conv_kernel": 15},
}
"""Of the numbers that filters are computed from before there is a weight."""


@dataclass(frozen=True)
class StyleGAN3Config:
    """The numbers that define a StyleGAN3; the defaults are those of configuration T."""

    resolution: int
    channel_base: int = 32768
    """Channels times resolution, roughly, of layers below `channel_max`; 65536 in R."""
    channel_max: int = 512
    """1024 in R."""
    w_dim: int = 512
    z_dim: int = 512
    mapping_layers: int = 2
    classes: int = 0
    """Width of the label that the mapping network takes beside z."""
    num_layers: int = 14
    """Without the Fourier features and the last layer, which makes the colours."""
    num_critical: int = 2
    """Layers at the end whose cutoff is half their sampling rate."""
    first_cutoff: float = 2
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    """Stopband of the last layer in units of its cutoff."""
    margin_size: int = 10
    """Samples computed around the image, so that its border is nothing special."""
    output_scale: float = 0.25
    conv_kernel: int = 3
    """1 in R."""
    use_radial_filters: bool = False
    """True in R: down-sampling that is alike in all directions, but for the critical layers."""
    filter_size: int = 6
    lrelu_upsampling: int = 2
    conv_clamp: float | None = 256
    """Bound of the layers' outputs; None = none."""

    def __post_init__(self) -> None:
        if self.resolution < 16 or 2 ** int(math.log2(self.resolution)) != self.resolution:
            raise ValueError(f"resolution must be a power of two >= 16, not {self.resolution}")
        if not 0 <= self.num_critical < self.num_layers or self.num_layers < 2:
            raise ValueError(
                f"{self.num_layers} layers cannot have {self.num_critical} critically sampled ones"
            )
        for name, most in _MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} within 0..{most}, not {getattr(self, name)}")
        if self.conv_kernel % 2 == 0:
            raise ValueError(f"conv_kernel must be odd, not {self.conv_kernel}")

    @property
    def layers(self) -> int:
        """Rows of w+: for the Fourier features, each layer, and the colours."""
        return self.num_layers + 2

    @property
    def signals(self) -> list[Signal]:
        """What the Fourier features give and layer 1 takes, then the output of layers 2, 3, ...

        Layer 1 gives a signal like the one it takes; the last is the image (Section 3.2).
        """
        return [self._signal(index) for index in range(self.num_layers + 1)]

    def _signal(self, index: int) -> Signal:
        last_cutoff = self.resolution / 2
        last_stopband = last_cutoff * self.last_stopband_rel
        part = min(index / (self.num_layers - self.num_critical), 1)
        cutoff = self.first_cutoff * (last_cutoff / self.first_cutoff) ** part
        stopband = self.first_stopband * (last_stopband / self.first_stopband) ** part
        rate = 2 ** math.ceil(math.log2(min(stopband * 2, self.resolution)))
        cropped, image = index >= self.num_layers - 1, index == self.num_layers
        return Signal(
            size=self.resolution if cropped else rate + 2 * self.margin_size,
            channels=3 if image else round(min(self.channel_base / 2 / cutoff, self.channel_max)),
            rate=rate,
            cutoff=cutoff,
            half_width=max(stopband, rate / 2) - cutoff,
        )

    def filters(self, index: int) -> tuple[Lowpass, Lowpass]:
        """Those of a layer, from 0: up to where its leaky ReLU is applied, and down again."""
        signals = self.signals
        before, after = signals[max(index - 1, 0)], signals[index]
        rate = max(before.rate, after.rate) * self.lrelu_upsampling
        radial = self.use_radial_filters and index < self.num_layers - self.num_critical
        return (self._filter(before, rate), self._filter(after, rate, radial=radial))

    def _filter(self, signal: Signal, rate: int, *, radial: bool = False) -> Lowpass:
        factor = rate // signal.rate
        taps = self.filter_size * factor if factor > 1 else 1
        return Lowpass(
            factor, taps, signal.cutoff, 2 * signal.half_width, rate, radial and taps > 1
        )

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class FourierFeatures(nn.Module):
    """Waves [B, C, H, W] that w turns and shifts, mixed by a 1x1 convolution (Section 3.1).

    `transform` [3, 3] moves the image as well: the inverse of what happens to the image, in units
    of its side around its centre. It is stored with the weights; the identity = nothing.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, signal: Signal, w_dim: int) -> None:
        super().__init__()
        self.signal = signal
        directions = torch.randn(signal.channels, 2)
        radii = directions.norm(dim=1, keepdim=True)
        self.weight = nn.Parameter(
            torch.randn(signal.channels, signal.channels, 1, 1) / math.sqrt(signal.channels)
        )
        self.affine = nn.Linear(w_dim, 4)
        nn.init.zeros_(self.affine.weight)
        self.affine.bias.data.copy_(torch.tensor([1.0, 0, 0, 0]))
        self.register_buffer("transform", torch.eye(3))
        # Uniform in the disc of the bandwidth, as the published code draws them.
        disc = directions / (radii * radii.square().exp().pow(0.25)) * signal.cutoff
        self.register_buffer("freqs", disc)
        self.register_buffer("phases", torch.rand(signal.channels) - 0.5)

    def forward(
        self, w: Tensor, transform: Tensor | None = None, offset: Tensor | None = None
    ) -> Tensor:
        """w [B, D], transform [3, 3] or [B, 3, 3] (None = the stored one) -> [B, C, H, W].

        `offset` [B, 4] is added to the cosine, sine and shift that w stands for; None = nothing.
        """
        signal = self.signal
        with torch.autocast(w.device.type, enabled=False):  # phases need all their digits
            chosen = self.transform if transform is None else transform
            moved = self._learned(w.float(), offset) @ chosen.float()
            phases = self.phases + (self.freqs @ moved[:, :2, 2:]).squeeze(2)
            freqs = self.freqs @ moved[:, :2, :2]  # [B, C, 2]
            at = torch.arange(signal.size, device=w.device)
            at = (at + 0.5 - signal.size / 2) / signal.rate  # in sides of the image
            across = freqs[:, :, None, None, 0] * at
            down = freqs[:, :, None, None, 1] * at[:, None]
            waves = torch.sin((across + down + phases[:, :, None, None]) * (2 * math.pi))
            # What a transform moves out of band would alias.
            over = (freqs.norm(dim=2) - signal.cutoff) / (signal.rate / 2 - signal.cutoff)
            waves = waves * (1 - over).clamp(0, 1)[:, :, None, None]
        return F.conv2d(waves, self.weight)

    def _learned(self, w: Tensor, offset: Tensor | None = None) -> Tensor:
        """The rotation and translation [B, 3, 3] that w stands for."""
        t = self.affine(w) if offset is None else self.affine(w) + offset
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1)
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1)
        return turn.unflatten(1, (3, 3)) @ shift.unflatten(1, (3, 3))


class Layer(nn.Module):
    """Modulated convolution, bias and filtered non-linearity (Section 3.2).

    `gain` is what makes up for the magnitude of its input, measured in training.
    """

    gain: Tensor

    def __init__(self, config: StyleGAN3Config, index: int) -> None:
        super().__init__()
        signals, kernel = config.signals, config.conv_kernel
        before, after = signals[max(index - 1, 0)], signals[index]
        shape = (after.channels, before.channels, kernel, kernel)
        self.affine = linear(config.w_dim, before.channels, bias=1)
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(before.channels * kernel**2))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("gain", torch.ones(()))
        self.activation = FilteredLeaky(
            before.size + kernel - 1, after.size, *config.filters(index), config.conv_clamp
        )

    def forward(self, x: Tensor, w: Tensor, offset: Tensor | None = None) -> Tensor:
        """x [B, I, H, W], w [B, D] -> [B, O, H', W']; `offset` [B, I] is added to the style."""
        style = self.affine(w) if offset is None else self.affine(w) + offset
        # Demodulation undoes this; it keeps half precision in range.
        style = style * style.square().mean(dim=1, keepdim=True).rsqrt()
        padding = self.weight.shape[-1] - 1
        x = F.conv2d(x * style[:, :, None, None], self.weight, padding=padding)
        energy = F.linear(style.square(), self.weight.square().sum(dim=(2, 3)))
        scale = (self.gain * (energy + 1e-12).rsqrt())[:, :, None, None]
        bias = self.bias[:, None, None]
        return self.activation(torch.addcmul(bias.to(x.dtype), x, scale.to(x.dtype)))


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to the colours, without demodulation and filters."""

    def __init__(self, before: Signal, config: StyleGAN3Config) -> None:
        super().__init__()
        self.affine = linear(config.w_dim, before.channels, bias=1)
        self.weight = nn.Parameter(
            torch.randn(3, before.channels, 1, 1) / math.sqrt(before.channels)
        )
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp = config.conv_clamp

    def forward(self, x: Tensor, w: Tensor, offset: Tensor | None = None) -> Tensor:
        """[B, C, R, R], [B, D] -> [B, 3, R, R]; `offset` [B, C] is added to the style."""
        style = self.affine(w) if offset is None else self.affine(w) + offset
        x = F.conv2d(x * style[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Synthesis(nn.Module):
    """w+ -> image: Fourier features, layers, colours."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        signals = config.signals
        self.input = FourierFeatures(signals[0], config.w_dim)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_layers))
        self.to_rgb = ToRGB(signals[-2], config)
        self.output_scale = config.output_scale

    def forward(
        self,
        ws: Tensor,
        feature: Tensor | None = None,
        layer: int = 0,
        transform: Tensor | None = None,
        style: Tensor | None = None,
    ) -> Tensor:
        """[B, L, D] -> [B, 3, R, R], usually within [-1, 1].

        `feature` replaces the output of layer `layer` (from 1), margin included. `style` [B, S] is
        added to the styles; None = nothing.
        """
        if feature is not None:
            self._check(layer)
        offsets = by_layer(self.style_layers, style)
        x = self._walk(ws, feature, layer, len(self.layers), transform, offsets)
        return self.to_rgb(x, ws[:, -1], offsets.get("rgb1")) * self.output_scale

    def features(
        self,
        ws: Tensor,
        layer: int,
        transform: Tensor | None = None,
        style: Tensor | None = None,
        feature: Tensor | None = None,
        entry: int = 0,
    ) -> Tensor:
        """The output [B, C, H, W] of layer `layer` (from 1), margin included.

        A `feature` replaces the output of layer `entry` for all layers after it; None = nothing.
        """
        self._check(layer)
        offsets = by_layer(self.style_layers, style)
        if feature is None or layer <= entry:
            return self._walk(ws, None, 0, layer, transform, offsets)
        self._check(entry)
        return self._walk(ws, feature, entry, layer, transform, offsets)

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The Fourier features with their four numbers, the layers, and the colours."""
        names = ["input", *(f"conv{i + 1}" for i in range(len(self.layers))), "rgb1"]
        modules = [self.input, *self.layers, self.to_rgb]
        affines = [module.get_submodule("affine") for module in modules]
        return in_order(zip(names, range(len(names)), affines, strict=True))

    def _walk(
        self,
        ws: Tensor,
        feature: Tensor | None,
        start: int,
        stop: int,
        transform: Tensor | None,
        offsets: dict[str, Tensor],
    ) -> Tensor:
        """The output of layer `stop`, from the feature after layer `start` where there is one."""
        x = feature
        if x is None:
            x, start = self.input(ws[:, 0], transform, offsets.get("input")), 0
        for index in range(start, stop):
            x = self.layers[index](x, ws[:, index + 1], offsets.get(f"conv{index + 1}"))
        return x

    def _check(self, layer: int) -> None:
        if not 1 <= layer <= len(self.layers):
            raise ValueError(f"layer must be 1..{len(self.layers)}, not {layer}")


class StyleGAN3(StyleBased):
    """A StyleGAN3 generator behind the Generator protocol.

    It has no RGB images on the way up, so that a feature replaces all below it: `Latent.skip` makes
    no difference.
    """

    family = "stylegan3"
    mirror: MirrorShape = "spread rows"
    config: StyleGAN3Config
    mapping: Mapping
    synthesis: Synthesis

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(
            config.z_dim, config.w_dim, config.mapping_layers, classes=config.classes
        )
        self.synthesis = Synthesis(config)

    @property
    def margin(self) -> int:
        """Samples of a feature around the image, on each side."""
        return self.config.margin_size

    def synthesize(self, latent: Latent, transform: Tensor | None = None) -> Tensor:
        """Latents in z, w or w+ -> [B, 3, R, R]; not clamped.

        `transform` [3, 3] or [B, 3, 3]: see `FourierFeatures`; None = the stored one.
        """
        ws = self.rows(latent)
        return self.synthesis(ws, latent.feature, latent.layer or 0, transform, latent.style)

    def features(self, latent: Latent, layer: int, transform: Tensor | None = None) -> Tensor:
        """The output [B, C, H, W] of layer `layer` (from 1), with its margin.

        A feature of the latent enters where it does in its image.
        """
        ws, entry = self.rows(latent), (latent.feature, latent.layer or 0)
        return self.synthesis.features(ws, layer, transform, latent.style, *entry)
