"""The Inverter: an encoder and its generator as one step from images to latents and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.latent import Latent


@dataclass(frozen=True)
class Inversion:
    """The latents of a batch, and the images [B, 3, R, R] in [-1, 1] that they draw."""

    latent: Latent
    images: Tensor


class Inverter:
    """Runs an encoder and its generator without gradients on the generator's device."""

    def __init__(self, generator: Generator, encoder: Encoder) -> None:
        self.generator = generator
        self.encoder = encoder

    @torch.inference_mode()
    def invert(self, images: Tensor) -> Inversion:
        """[B, 3, R, R] in [-1, 1] on any device -> Inversion on the generator's device."""
        latent = self.encoder.encode(images.to(self.generator.device))
        return Inversion(latent, self.render(latent))

    @torch.inference_mode()
    def render(self, latent: Latent) -> Tensor:
        """Latents on any device -> images [B, 3, R, R] in [-1, 1]."""
        return self.generator.synthesize(latent.to(self.generator.device)).clamp(-1, 1)
