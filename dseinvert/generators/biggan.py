"""BigGAN-deep (Brock et al., 2019): class-conditional images from one z and a class embedding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators import MirrorShape
from dseinvert.generators.ops import linear
from dseinvert.generators.sampling import seeded
from dseinvert.latent import Latent, LatentSpec

RESOLUTIONS = {
    128: (16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1),
    256: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1),
    512: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1, 1),
}
"""The published sizes: widths before, between and after the blocks, in units of 128 channels."""
REDUCTION = 4  # a block's inner convolutions have a quarter of its channels


@dataclass(frozen=True)
class BigGANConfig:
    """The numbers that define a BigGAN-deep; blocks 2, 4, 6, ... double the size, from 4x4.

    `channels` are the widths before, between and after the blocks; `attention` is the number of
    blocks before the self-attention.
    """

    channels: tuple[int, ...]
    attention: int = 8
    z_dim: int = 128
    class_dim: int = 128
    classes: int = 1000
    statistics: int = 51
    """Rows of batch-norm statistics, for truncations evenly spaced from 0 to 1."""
    eps: float = 1e-4
    truncation: float = 0.4
    """Of latents that do not name theirs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if len(self.channels) < 3 or len(self.channels) % 2 == 0:
            raise ValueError(f"channels must be 3, 5, 7, ... widths, not {len(self.channels)}")
        if any(width % REDUCTION for width in self.channels[:-1]):
            raise ValueError(f"channels must be multiples of {REDUCTION}, not {self.channels}")
        if any(b not in (a, a // 2) for a, b in pairwise(self.channels)):
            raise ValueError(f"each width must be the one before or half of it: {self.channels}")
        if not 0 <= self.attention < self.blocks or self.channels[self.attention] % 8:
            raise ValueError(
                f"attention after {self.attention} blocks does not fit {self.channels}"
            )
        if min(self.z_dim, self.class_dim, self.classes) < 1 or self.statistics < 2:
            raise ValueError("z_dim, class_dim and classes must be 1 or more, statistics 2 or more")
        if not (0 <= self.truncation <= 1 and 0 < self.eps < 1):
            raise ValueError("truncation must be within 0..1, eps between 0 and 1")

    @property
    def blocks(self) -> int:
        """How many residual blocks there are."""
        return len(self.channels) - 1

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return 4 * 2 ** (self.blocks // 2)

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self) | {"channels": list(self.channels)}


def published_config(resolution: int, width: int = 128) -> BigGANConfig:
    """BigGAN-deep 128, 256 or 512; `width` is 128 in all that were published.

    Raises:
        ValueError: another resolution.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"BigGAN-deep comes at {', '.join(map(str, RESOLUTIONS))} px")
    return BigGANConfig(tuple(width * unit for unit in RESOLUTIONS[resolution]))


class Statistics(nn.Module):
    """Mean and variance of each channel, measured at evenly spaced truncations."""

    means: Tensor
    variances: Tensor

    def __init__(self, channels: int, rows: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(rows, channels))
        self.register_buffer("variances", torch.ones(rows, channels))

    def forward(self, truncation: float) -> tuple[Tensor, Tensor]:
        """Truncation in 0..1 -> mean [C], variance [C]."""
        share, row = math.modf(truncation / (1 / (len(self.means) - 1)))
        here = int(row)
        if not share:
            return self.means[here], self.variances[here]
        # The shares look exchanged, but so they are in the published code, whose images count.
        mean = self.means[here + 1].lerp(self.means[here], share)
        return mean, self.variances[here + 1].lerp(self.variances[here], share)


class ConditionalNorm(nn.Module):
    """Batch norm with stored statistics, its gain and bias linear in the condition."""

    def __init__(self, channels: int, condition: int, rows: int, eps: float) -> None:
        super().__init__()
        self.statistics = Statistics(channels, rows)
        self.scale = nn.Linear(condition, channels, bias=False)
        self.offset = nn.Linear(condition, channels, bias=False)
        for layer in (self.scale, self.offset):
            nn.init.normal_(layer.weight, std=0.5 / math.sqrt(condition))
        self.eps = eps

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        """x [B, C, H, W], condition [B, D] -> [B, C, H, W]."""
        mean, variance = self.statistics(truncation)
        gain = (1 + self.scale(condition)) * (variance + self.eps).rsqrt()
        bias = self.offset(condition) - mean * gain
        return torch.addcmul(bias[:, :, None, None], x, gain[:, :, None, None])


class Block(nn.Module):
    """Bottleneck residual block of four convolutions; its shortcut drops surplus channels."""

    def __init__(
        self, inputs: int, outputs: int, condition: int, rows: int, eps: float, *, up: bool
    ) -> None:
        super().__init__()
        inner = inputs // REDUCTION
        widths = (inputs, inner, inner, inner)
        self.norms = nn.ModuleList(ConditionalNorm(w, condition, rows, eps) for w in widths)
        self.convs = nn.ModuleList(
            convolution(a, b, kernel)
            for (a, b), kernel in zip(pairwise((*widths, outputs)), (1, 3, 3, 1), strict=True)
        )
        self.outputs = outputs
        self.up = up

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W'], H' = 2H where it doubles the size."""
        shortcut = x[:, : self.outputs]
        for index, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = F.relu(norm(x, condition, truncation))
            if self.up and index == 1:
                x = F.interpolate(x, scale_factor=2.0)
                shortcut = F.interpolate(shortcut, scale_factor=2.0)
            x = conv(x)
        return x + shortcut


class SelfAttention(nn.Module):
    """Every pixel looks at a half-size map of all (Zhang et al., 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = convolution(channels, channels // 8, 1, bias=False)
        self.key = convolution(channels, channels // 8, 1, bias=False)
        self.value = convolution(channels, channels // 2, 1, bias=False)
        self.out = convolution(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        query = self.query(x).flatten(2).transpose(1, 2)  # [B, HW, C/8]
        key = F.max_pool2d(self.key(x), 2).flatten(2).transpose(1, 2)  # [B, HW/4, C/8]
        value = F.max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)  # [B, HW/4, C/2]
        # One head, named as such: ONNX has no attention without that axis.
        query, key, value = query[:, None], key[:, None], value[:, None]
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        seen = seen.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(seen)


class BigGAN(nn.Module):
    """A BigGAN-deep generator behind the Generator protocol.

    Its batch-norm statistics depend on the truncation its z was drawn with. That number is a
    property of the latent, so `origin["truncation"]` of a latent names it: `sample` writes it, a
    latent file keeps it, and `synthesize` reads it. Latents that name none, as those of other
    programs, have `config.truncation`. All latents of one batch have the same.
    """

    family = "biggan"
    truncates = True
    z_limit = 2.0
    margin = 0
    style_layers = ()
    mirror: MirrorShape = "z and class"
    by = "torch"

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.config = config
        channels, rows, eps = config.channels, config.statistics, config.eps
        condition = config.z_dim + config.class_dim
        self.embedding = nn.Linear(config.classes, config.class_dim, bias=False)
        nn.init.normal_(self.embedding.weight)
        self.project = linear(condition, channels[0] * 16)
        self.blocks = nn.ModuleList(
            Block(a, b, condition, rows, eps, up=index % 2 == 1)
            for index, (a, b) in enumerate(pairwise(channels))
        )
        self.attention = SelfAttention(channels[config.attention])
        self.statistics = Statistics(channels[-1], rows)
        self.gain = nn.Parameter(torch.ones(channels[-1]))
        self.bias = nn.Parameter(torch.zeros(channels[-1]))
        self.to_rgb = convolution(channels[-1], 3, 3)

    @property
    def spec(self) -> LatentSpec:
        """One z, and a class."""
        return LatentSpec("z", 1, self.config.z_dim, self.config.classes)

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return self.config.resolution

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    @property
    def truncation(self) -> float:
        """Of latents that name none, for the statistics."""
        return self.config.truncation

    @property
    def z_dim(self) -> int:
        """Numbers in z."""
        return self.config.z_dim

    @property
    def class_vectors(self) -> Tensor:
        """The embedding of each class: [classes, class_dim]."""
        return self.embedding.weight.t()

    @property
    def plain(self) -> nn.Module:
        """Itself."""
        return self

    def rows(self, latent: Latent) -> Tensor:
        """z itself [B, 1, D]: there is no w."""
        return latent.code

    def first_weights(self, rows: tuple[int, int] | None = None) -> Tensor:
        """From z, without the class, to the 4x4 pixels before the blocks: [C 4 4, D]."""
        return self.project.weight[:, : self.config.z_dim]

    def mean_latent(self) -> Latent:
        """z = 0 of the mean of all classes: [1, 1, D]."""
        label = torch.full((1, self.config.classes), 1 / self.config.classes, device=self.device)
        code = torch.zeros(1, 1, self.config.z_dim, device=self.device)
        return self._named(code, label, self.config.truncation)

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        """Latents of seeds, each drawn on its own so that the batch does not matter.

        Args:
            seeds: one per sample; z is normal, drawn again where it is beyond two deviations.
            psi: the truncation, 0..1: z is multiplied by it and the statistics follow it.
            cutoff: None or 1 = truncate; 0 = do not.
            labels: the class of each sample; None = drawn from its seed.

        Raises:
            ValueError: psi outside 0..1, or a seed, class or cutoff that does not exist.
        """
        if cutoff is not None and cutoff < 0:
            raise ValueError(f"cutoff must be 0 or more, not {cutoff}")
        if cutoff == 0:
            psi = 1.0
        drawn = [_draw(seed, self.config.z_dim, self.config.classes) for seed in seeds]
        chosen = torch.tensor([label for _, label in drawn] if labels is None else list(labels))
        if len(chosen) != len(drawn) or not ((chosen >= 0) & (chosen < self.config.classes)).all():
            raise ValueError(f"labels must be one of 0..{self.config.classes - 1} for each seed")
        code = psi * torch.stack([z for z, _ in drawn])[:, None]
        label = F.one_hot(chosen, self.config.classes).float()
        return self._named(code.to(self.device), label.to(self.device), psi)

    def synthesize(self, latent: Latent) -> Tensor:
        """z [B, 1, D] with a label -> [B, 3, R, R] within [-1, 1].

        Raises:
            ValueError: another shape, no label, or a truncation outside 0..1.
        """
        truncation = self._truncation(latent)
        for _, x in self._walk(latent, truncation):
            last = x
        mean, variance = self.statistics(truncation)
        gain = self.gain * (variance + self.config.eps).rsqrt()
        bias = self.bias - mean * gain
        last = torch.addcmul(bias[:, None, None], last, gain[:, None, None])
        return self.to_rgb(F.relu(last)).tanh()

    def features(self, latent: Latent, layer: int) -> Tensor:
        """The output [B, C, H, W] of block `layer`, counted from 1."""
        for index, x in self._walk(latent, self._truncation(latent)):
            if index == layer:
                return x
        raise ValueError(f"layer must be 1..{self.config.blocks}, not {layer}")

    def embed(self, label: Tensor) -> Tensor:
        """One-hot or soft label [B, classes] -> class embedding [B, class_dim]."""
        return self.embedding(label)

    def _walk(self, latent: Latent, truncation: float) -> Iterator[tuple[int, Tensor]]:
        """Yield (number from 1, output) of each block; a feature starts after its block."""
        condition = self._condition(latent)
        first = latent.layer or 0
        if latent.feature is not None:
            if not 1 <= first <= self.config.blocks:
                raise ValueError(f"a feature enters at 1..{self.config.blocks}, not {first}")
            x = latent.feature
            yield first, x
        else:
            x = self.project(condition).unflatten(1, (-1, 4, 4))
        for index in range(first, self.config.blocks):
            if index == self.config.attention:
                x = self.attention(x)
            x = self.blocks[index](x, condition, truncation)
            yield index + 1, x

    def _condition(self, latent: Latent) -> Tensor:
        """z and the class embedding side by side [B, z_dim + class_dim]."""
        shape, wanted = list(latent.code.shape[1:]), [1, self.config.z_dim]
        if latent.space != "z" or shape != wanted:
            raise ValueError(f"this generator takes z [B, 1, {wanted[1]}], got {latent!r}")
        if latent.label is None or latent.label.shape[1:] != (self.config.classes,):
            raise ValueError(f"this generator needs a label [B, {self.config.classes}]")
        z = latent.code[:, 0]
        return torch.cat([z, self.embed(latent.label.to(z)).expand(z.shape[0], -1)], dim=1)

    def _truncation(self, latent: Latent) -> float:
        truncation = float(latent.origin.get("truncation", self.config.truncation))
        if not 0 <= truncation <= 1:
            raise ValueError(f"truncation must be within 0..1, not {truncation}")
        return truncation

    def _named(self, code: Tensor, label: Tensor, truncation: float) -> Latent:
        origin = {"truncation": repr(float(truncation))}
        latent = Latent(code, "z", label=label, origin=origin)
        self._truncation(latent)
        return latent


def convolution(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size of the map and the variance of its input."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    nn.init.normal_(conv.weight, std=1 / math.sqrt(inputs * kernel**2))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _draw(seed: int, size: int, classes: int) -> tuple[Tensor, int]:
    """Normal numbers [size] within +-2, and a class."""
    source = seeded(seed)
    z = torch.randn(size, generator=source)
    while (beyond := z.abs() > BigGAN.z_limit).any():
        z = torch.where(beyond, torch.randn(size, generator=source), z)
    return z, int(torch.randint(classes, (), generator=source))
