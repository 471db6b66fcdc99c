"""The Diverse Similarity Encoder for BigGAN (DSE, Table II)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.blocks import checked_widths, pointwise, published_widths, stack
from dseinvert.generators import Generator
from dseinvert.generators.ops import SQRT2, linear
from dseinvert.latent import Latent


@dataclass(frozen=True)
class DSEBigGANConfig:
    """The numbers that define it; `widths` are channels from the image's resolution down to 4x4."""

    resolution: int
    z_dim: int
    class_dim: int
    widths: tuple[int, ...]
    truncation: float = 0.4
    """Of the samples it is trained on, and so of the latents it gives."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", checked_widths(self.resolution, self.widths))
        if not 0 <= self.truncation <= 1:
            raise ValueError(f"truncation must be within 0..1, not {self.truncation}")

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def published_config(resolution: int, z_dim: int = 128, class_dim: int = 128) -> DSEBigGANConfig:
    """The encoder of Table II."""
    return DSEBigGANConfig(resolution, z_dim, class_dim, published_widths(resolution))


class DSEBigGANEncoder(nn.Module):
    """Image and class -> z: the DSE with conditional batch norms, then c' and z' by one FC each.

    In the published code, the norms are conditioned on the generator's own input, the true z beside
    the class embedding: an encoder that is told the answer in training. This one is given
    the class embedding alone, which it takes from the generator that it is attached to.
    """

    kind = "dse-biggan"
    space = "z"
    embeddings: Tensor

    def __init__(self, config: DSEBigGANConfig) -> None:
        super().__init__()
        self.config = config
        condition = config.z_dim + config.class_dim
        self.from_rgb = pointwise(3, config.widths[0], gain=SQRT2)
        self.blocks = stack(config.widths, condition=config.class_dim)
        self.fc_c = linear(config.widths[-1] * 16, condition)
        self.fc_z = linear(condition, config.z_dim)
        # The generator's, and saved with it: [classes, class_dim].
        self.register_buffer("embeddings", torch.empty(0, config.class_dim), persistent=False)

    def forward(self, images: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, R, R] in [-1, 1], label [B, classes] -> (z' [B, 1, D], c' [B, z_dim + class_dim]).

        Raises:
            ValueError: no generator attached, or a label of another number of classes.
        """
        condition = self._embed(label)
        x = F.leaky_relu(self.from_rgb(images), 0.2)
        for block in self.blocks:
            x, _ = block(x, condition)
        c = self.fc_c(x.flatten(1))
        return self.fc_z(c)[:, None], c

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1], label [B, classes] -> Latent in z [B, 1, D].

        Raises:
            ValueError: no label, or no generator attached.
        """
        if label is None:
            raise ValueError("this encoder needs the class of each image")
        origin = {"truncation": repr(float(self.config.truncation))}
        return Latent(self(images, label)[0], "z", label=label, origin=origin)

    def attach(self, generator: Generator) -> None:
        """Take a copy of the generator's class embeddings.

        Raises:
            ValueError: the generator is no BigGAN, or its embeddings have another width.
        """
        vectors = generator.class_vectors
        if vectors is None or vectors.shape[1] != self.config.class_dim:
            raise ValueError(f"a {self.kind} needs a BigGAN of {self.config.class_dim}-D classes")
        self.embeddings = vectors.detach().to(self.from_rgb.weight.device).clone()

    def _embed(self, label: Tensor) -> Tensor:
        if label.shape[1:] != self.embeddings.shape[:1]:
            known = len(self.embeddings) or "none: attach its generator first"
            raise ValueError(f"a label of {list(label.shape)[1:]} classes; known are {known}")
        return label.to(self.embeddings) @ self.embeddings
