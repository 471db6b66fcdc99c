"""The Inverter: an encoder and its generator as one step from images to latents and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.inversion.classes import find_classes
from dseinvert.latent import Latent


@dataclass(frozen=True)
class Inversion:
    """The latents of a batch, and the images [B, 3, R, R] in [-1, 1] that they draw."""

    latent: Latent
    images: Tensor


class Inverter:
    """Runs an encoder and its generator without gradients on the generator's device."""

    def __init__(self, generator: Generator, encoder: Encoder, label: int | None = None) -> None:
        """`label` is the class of all images; None = searched for, where it is needed."""
        self.generator = generator
        self.encoder = encoder
        self.label = label

    @torch.inference_mode()
    def invert(self, images: Tensor) -> Inversion:
        """[B, 3, R, R] in [-1, 1] on any device -> Inversion on the generator's device."""
        images = images.to(self.generator.device)
        latent = self.encoder.encode(images, self._labels(images))
        return Inversion(latent, self.render(latent))

    @torch.inference_mode()
    def render(self, latent: Latent) -> Tensor:
        """Latents on any device -> images [B, 3, R, R] in [-1, 1]."""
        return self.generator.synthesize(latent.to(self.generator.device)).clamp(-1, 1)

    def _labels(self, images: Tensor) -> Tensor | None:
        """One row [classes] an image; None where the generator draws from w+, which holds it."""
        spec = self.generator.spec
        if self.label is not None:
            one = torch.zeros(spec.classes, device=images.device)
            one[self.label] = 1
            return one.expand(len(images), -1)
        if spec.classes == 0 or spec.space in ("w", "w+"):
            return None
        return find_classes(self.generator, self.encoder, images).label
