"""Encoders: from an image to the latent of one generator."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dseinvert.generators import Config, Generator
from dseinvert.latent import Latent


class Encoder(Protocol):
    """Inverts images for one generator."""

    @property
    def kind(self) -> str:
        """Its name in `kinds.KINDS`."""

    @property
    def config(self) -> Config:
        """What it is built from, and what is saved beside its weights."""

    def encode(self, images: Tensor, label: Tensor | None = None) -> Latent:
        """[B, 3, R, R] in [-1, 1] -> Latent; deterministic, and free of the batch size.

        Args:
            images: at the generator's resolution; an encoder of smaller inputs shrinks them.
            label: [B, classes] for a generator with classes; None = it has none.
        """

    def attach(self, generator: Generator) -> None:
        """Meet the generator it belongs to; encoders that look at their own result keep it."""
