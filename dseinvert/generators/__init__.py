"""Pretrained GANs behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dseinvert.latent import Latent, LatentSpec


class Generator(Protocol):
    """A frozen GAN: seeds to latents, latents to images."""

    @property
    def spec(self) -> LatentSpec:
        """The latent it takes."""

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def mean_latent(self) -> Latent:
        """The centre of its latents: [1, L, D]."""

    def sample(self, seeds: Sequence[int], psi: float = 1.0) -> Latent:
        """One latent per seed; the batch does not matter."""

    def synthesize(self, latent: Latent) -> Tensor:
        """[B, L, D] -> [B, 3, R, R] in about [-1, 1]."""

    def features(self, latent: Latent, layer: int) -> Tensor:
        """Feature tensor [B, C, H, W] at `layer`."""
