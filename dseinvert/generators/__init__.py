"""Pretrained GANs behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dseinvert.latent import Latent, LatentSpec


class Config(Protocol):
    """The numbers that define a network of one family."""

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""


class Generator(Protocol):
    """A frozen GAN: seeds to latents, latents to images."""

    @property
    def family(self) -> str:
        """Its name in `families.FAMILIES`."""

    @property
    def config(self) -> Config:
        """What it is built from, and what is saved beside its weights."""

    @property
    def spec(self) -> LatentSpec:
        """The latent it takes."""

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def truncates(self) -> bool:
        """Whether psi means anything to it; where not, any psi but 1 is a ValueError."""

    def mean_latent(self) -> Latent:
        """The centre of its latents: [1, L, D]."""

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        """One latent per seed; the batch does not matter.

        Args:
            seeds: one per sample.
            psi: truncation; 1 = none, 0 = the mean.
            cutoff: rows truncated; None = all.
            labels: the class of each sample; None = drawn from its seed, where there are classes.
        """

    def synthesize(self, latent: Latent) -> Tensor:
        """[B, L, D] -> [B, 3, R, R] in about [-1, 1]."""

    def features(self, latent: Latent, layer: int) -> Tensor:
        """Feature tensor [B, C, H, W] at `layer`; ValueError where the family has none."""
