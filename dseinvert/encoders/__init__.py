"""Encoders: from an image to the latent of one generator."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dseinvert.latent import Latent


class Encoder(Protocol):
    """Inverts images of one generator's size."""

    def encode(self, images: Tensor) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent; deterministic, and free of the batch size."""
