"""HyperStyle (Alaluf et al., 2022): an image to w, and to a change of the generator's weights.

A network that sees the image and what was drawn of it predicts, a few times, by what share each
weight of the convolutions grows (Section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.irse import Trunk
from dseinvert.encoders.psp import PSPConfig, PSPNetwork
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent

SHARED, CHANNELS, COLOURS, SEPARABLE = "shared", "channels", "colours", "separable"
HALVED = {SHARED: 5, CHANNELS: 3, COLOURS: 4, SEPARABLE: 4}
"""Convolutions of a block of each kind; all halve the map, but for the first of a shared one."""


@dataclass(frozen=True)
class Target:
    """A weight of the generator that is changed, and how its change is predicted.

    The kinds: "shared" = by one network for all such weights, "channels" = alike for all taps of a
    kernel, "colours" = of a ToRGB, "separable" = as a product of two kernels.
    """

    weight: str
    """Its name in the generator."""
    kind: str
    outputs: int
    inputs: int
    kernel: int
    inner: int
    """Channels inside the block that predicts it."""

    def __post_init__(self) -> None:
        if self.kind not in HALVED:
            raise ValueError(f"unknown kind of block {self.kind!r}")


@dataclass(frozen=True)
class HyperStyleConfig:
    """The numbers that define its networks."""

    network: PSPConfig
    """Of the encoder to w."""
    targets: tuple[Target, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 6, 3)
    code: int = 512
    """Numbers that each block reads a change from."""
    iterations: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.network, Mapping):  # read from JSON
            object.__setattr__(self, "network", PSPConfig(**self.network))
        made = (Target(**one) if isinstance(one, Mapping) else one for one in self.targets)
        object.__setattr__(self, "targets", tuple(made))
        for name in ("widths", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.iterations <= 100:
            raise ValueError("it corrects itself 1 to 100 times")

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class SharedKernels(nn.Module):
    """A code to the kernel of any convolution of one size (Ha et al., 2017)."""

    def __init__(self, code: int, target: Target) -> None:
        super().__init__()
        self.rows = nn.Linear(code, target.inputs * code)
        self.taps = nn.Linear(code, target.outputs * target.kernel**2)
        self.code = code

    def forward(self, code: Tensor) -> Tensor:
        """[B, Z] -> [B, I, O k k], the numbers of a kernel in the published order."""
        return self.taps(self.rows(code).unflatten(1, (-1, self.code)))


class Separable(nn.Module):
    """A code to two kernels whose product is the one that is wanted."""

    def __init__(self, code: int, target: Target) -> None:
        super().__init__()
        taps = target.kernel**2
        self.inputs = nn.Linear(code, taps * target.inputs)
        self.outputs = nn.Linear(code, taps * target.outputs)
        self.mix_inputs = nn.Linear(target.inputs, target.inputs)
        self.mix_outputs = nn.Linear(target.outputs, target.outputs)
        self.taps = taps

    def forward(self, code: Tensor) -> Tensor:
        """[B, Z] -> [B, O, I k k]."""
        across = self.inputs(code).unflatten(1, (self.taps, 1, -1))
        down = self.outputs(code).unflatten(1, (self.taps, -1, 1))
        mixed = self.mix_inputs(down * across).transpose(2, 3)  # [B, k k, I, O]
        return self.mix_outputs(mixed).permute(0, 3, 2, 1).flatten(2)


class Block(nn.Module):
    """The last map of the trunk to the change of one weight."""

    def __init__(self, target: Target, width: int, code: int) -> None:
        super().__init__()
        depth = HALVED[target.kind]
        sizes = [width, *[target.inner] * (depth - 1), code]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, 1 if target.kind == SHARED and not k else 2, padding=1)
            for k, (before, after) in enumerate(pairwise(sizes))
        )
        self.target = target
        if target.kind == SHARED:
            self.last: nn.Module = nn.Linear(code, code)
        elif target.kind == SEPARABLE:
            self.last = Separable(code, target)
        else:
            self.last = nn.Linear(code, target.inputs * target.outputs)

    def forward(self, x: Tensor, shared: SharedKernels | None) -> Tensor:
        """[B, C, H, W] -> [B, O, I k k]."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        found = self.last(x.mean((2, 3)) if self.target.kind == CHANNELS else x.flatten(1))
        shape = (self.target.outputs, -1)
        if self.target.kind == SHARED:
            assert shared is not None
            return shared(found).flatten(1).unflatten(1, shape)
        if self.target.kind == CHANNELS:  # alike for all taps
            return found.unflatten(1, shape).repeat_interleave(self.target.kernel**2, dim=2)
        return found if self.target.kind == SEPARABLE else found.unflatten(1, shape)


class HyperStyleEncoder(nn.Module):
    """Image -> w, the same for all rows, and differences of the generator's weights."""

    kind = "hyperstyle"
    w_avg: Tensor

    def __init__(self, config: HyperStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PSPNetwork(config.network)
        self.trunk = Trunk("resnet", 6, config.widths, config.units)
        alike = [target for target in config.targets if target.kind == SHARED]
        self.shared = SharedKernels(config.code, alike[0]) if alike else None
        self.blocks = nn.ModuleList(
            Block(target, config.widths[-1], config.code) for target in config.targets
        )
        self.register_buffer("w_avg", torch.zeros(config.network.layers, config.network.w_dim))
        # In a tuple so that its weights are not taken for the encoder's.
        self._generator: tuple[Generator] | None = None

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D], and the share that each target grows by."""
        images = self.network.shrink(images)
        rows = self.w_avg + self.network(images)
        shares: list[Tensor] = []
        for _ in range(self.config.iterations):
            drawn = self.network.shrink(self._draw(self._latent(rows, shares)))
            step = [*self._shares(torch.cat([images, drawn], dim=1))]
            shares = [a + b for a, b in zip(shares, step, strict=True)] if shares else step
        return rows, shares

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], shrunk here by area -> Latent in w+ with a tuning.

        The tuning is rounded to the half precision in which files hold it.
        """
        latent = self._latent(*self(images))
        rounded = {name: tensor.half().to(tensor) for name, tensor in latent.tuning.items()}
        return Latent(latent.code, "w+", label=label, tuning=rounded)

    def attach(self, generator: Generator) -> None:
        """Keep the generator that it changes; ValueError where its weights are others."""
        own = {name: tuple(one.shape) for name, one in generator.plain.named_parameters()}
        for target in self.config.targets:
            wanted = (target.outputs, target.inputs, target.kernel, target.kernel)
            if own.get(target.weight) != wanted:
                found = own.get(target.weight)
                raise ValueError(f"it changes {target.weight} of {wanted}, not of {found}")
        self._generator = (generator,)

    def _shares(self, x: Tensor) -> Iterator[Tensor]:
        last = self.trunk(x)[-1]
        return (block(last, self.shared) for block in self.blocks)

    def _latent(self, rows: Tensor, shares: list[Tensor]) -> Latent:
        """With the difference of each weight: its own numbers times their share."""
        if self._generator is None:
            raise ValueError("attach its generator first: it changes its weights")
        weights = dict(self._generator[0].plain.named_parameters())
        tuning = {}
        for target, share in zip(self.config.targets, shares, strict=bool(shares)):
            down = weights[target.weight].flatten(1) * share
            up = torch.eye(target.outputs, device=down.device, dtype=down.dtype)
            tuning[f"{target.weight}.up"] = up.expand(len(down), -1, -1)
            tuning[f"{target.weight}.down"] = down
        return Latent(rows, "w+", tuning=tuning)

    def _draw(self, latent: Latent) -> Tensor:
        assert self._generator is not None
        return synthesize(self._generator[0], latent)
