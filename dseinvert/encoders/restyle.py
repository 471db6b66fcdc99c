"""ReStyle (Alaluf et al., 2021): an encoder that looks at its own result and corrects it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dseinvert.encoders.psp import PSPConfig, PSPNetwork, check_rows
from dseinvert.generators import Generator
from dseinvert.latent import Latent


@dataclass(frozen=True)
class ReStyleConfig:
    """The network, which takes the image and the result so far, and how often it is asked."""

    network: PSPConfig
    iterations: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.network, Mapping):  # read from JSON
            object.__setattr__(self, "network", PSPConfig(**self.network))
        if self.network.in_channels != 6 or not 1 <= self.iterations <= 100:
            raise ValueError("an iterative encoder takes 6 channels, 1 to 100 times")

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class ReStyleEncoder(nn.Module):
    """Image -> w+ by a few corrections, the first to the mean latent and its image."""

    kind = "restyle"
    w_avg: Tensor

    def __init__(self, config: ReStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PSPNetwork(config.network)
        self.register_buffer("w_avg", torch.zeros(config.network.layers, config.network.w_dim))
        # In a tuple so that its weights are not taken for the encoder's.
        self._generator: tuple[Generator] | None = None
        self._average: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> w' [B, L, D]."""
        return self.attempts(images)[-1]

    def attempts(self, images: Tensor) -> list[Tensor]:
        """w' [B, L, D] after each correction; no gradient goes from one to the one before."""
        images = self.network.shrink(images)
        rows = self.w_avg.expand(images.shape[0], -1, -1)  # len() would fix it
        result = self.average().expand(images.shape[0], -1, -1, -1)
        found: list[Tensor] = []
        for left in reversed(range(self.config.iterations)):
            rows = rows.detach() + self.network(torch.cat([images, result], dim=1))
            found.append(rows)
            if left:
                result = self._draw(rows).detach()
        return found

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], shrunk here by area -> Latent in w+; `label` is passed on."""
        return Latent(self(images), "w+", label=label)

    def attach(self, generator: Generator) -> None:
        """Keep the generator that draws its results; ValueError where it takes other latents."""
        check_rows(generator, self.w_avg)
        self._generator, self._average = (generator,), None

    def average(self) -> Tensor:
        """The mean latent's image [1, 3, h, S], drawn once."""
        if self._average is None or self._average.device != self.w_avg.device:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._average = self._draw(self.w_avg[None])
        return self._average

    def _draw(self, rows: Tensor) -> Tensor:
        if self._generator is None:
            raise ValueError("attach its generator first: it looks at its own results")
        return self.network.shrink(self._generator[0].synthesize(Latent(rows, "w+")))
