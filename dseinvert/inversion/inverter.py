"""The Inverter: encoder, perhaps refinement, and generator as one step to latents and back."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.classes import find_classes
from dseinvert.inversion.refinement import Before, Budget, Refine, Watch
from dseinvert.latent import Latent

KEPT = "what it was before the last refinement"
"""`origin["kept"]` of a latent that refinement did not better."""


@dataclass(frozen=True)
class Part:
    """Some images of a batch with the best that there is of each, all of one kind."""

    at: Tensor
    """[k] int64: which of the batch."""
    latent: Latent
    """[k]."""
    images: Tensor
    """[k, 3, R, R] in [-1, 1]."""
    kept: bool = False
    """Whether it is as it was before the last refinement, which found nothing better."""


@dataclass(frozen=True)
class Inversion:
    """The latents of a batch, and the images [B, 3, R, R] in [-1, 1] that they draw."""

    latent: Latent
    images: Tensor
    steps: Tensor | None = None
    """[B] int64: steps of refinement; None = there was none."""
    seconds: float = 0.0
    """An image's share of the wall time that refinement took."""
    losses: Tensor | None = None
    """[B] image losses of the refinement; None = there was none."""
    before: tuple[Before, ...] = ()
    """What the batch was each time that refinement changed its space."""
    maps: Tensor | None = None
    """[B, R, R] uint8, see `Refined`."""

    def parts(self) -> list[Part]:
        """The best of each image: what refinement found, or what it began with if that is better.

        A space need not hold what an encoder writes: w+ has no F, and z+ does not reach all of w+.
        """
        if self.losses is None:
            return [Part(torch.arange(len(self.images)), self.latent, self.images)]
        best, choice = self.losses.clone(), torch.zeros(len(self.losses), dtype=torch.int64)
        for number, one in enumerate(self.before, start=1):
            lower = one.losses < best
            choice[lower.cpu()], best = number, torch.where(lower, one.losses, best)
        kinds = [(self.latent, self.images), *((one.latent, one.images) for one in self.before)]
        return [
            Part(at, latent[at], images[at], kept=number > 0)
            for number, (latent, images) in enumerate(kinds)
            if len(at := (choice == number).nonzero()[:, 0])
        ]


class Inverter:
    """Runs an encoder and its generator without gradients on the generator's device."""

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder,
        label: int | None = None,
        refine: tuple[Refine, Budget] | None = None,
    ) -> None:
        """`label` is the class of all images; None = searched for, where it is needed.

        `refine` follows the encoder; None = nothing does.

        Raises:
            ValueError: `label` is no class of the generator.
        """
        classes = generator.spec.classes
        if label is not None and not 0 <= label < classes:
            raise ValueError(f"label must be one of {classes} classes, from 0, got {label}")
        self.generator = generator
        self.encoder = encoder
        self.label = label
        self.refine = refine

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Latent:
        """[B, 3, R, R] in [-1, 1] on any device -> what the encoder alone makes of them."""
        images = images.to(self.generator.device)
        return self.encoder.encode(images, self._labels(images))

    @torch.inference_mode()
    def invert(self, images: Tensor, watch: Watch | None = None) -> Inversion:
        """[B, 3, R, R] in [-1, 1] on any device -> Inversion on the generator's device.

        `watch` is called after each step of refinement; None = nobody.
        """
        images = images.to(self.generator.device)
        latent = self.encode(images)
        if self.refine is None:
            return Inversion(latent, self.render(latent))
        refine, budget = self.refine
        began = time.monotonic()
        found = refine(images, latent, budget, watch)
        seconds = (time.monotonic() - began) / len(images)
        drawn, took = self.render(found.latent), (found.steps, seconds)
        return Inversion(found.latent, drawn, *took, found.losses, found.before, found.maps)

    @torch.inference_mode()
    def render(self, latent: Latent) -> Tensor:
        """Latents on any device -> images [B, 3, R, R] in [-1, 1]."""
        return synthesize(self.generator, latent.to(self.generator.device)).clamp(-1, 1)

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
