"""Pretrained GANs behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from dseinvert.generators.styles import StyleLayer
from dseinvert.latent import Latent, LatentSpec

MirrorShape = Literal["rows", "spread rows", "z", "z and class"]
"""What the encoder that mirrors a generator finds: rows of w+, two for each size of feature; rows
spread evenly over the sizes; one z; or one z, the vector of its class being known."""


class Config(Protocol):
    """The numbers that define a network of one family."""

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""


class Generator(Protocol):
    """A frozen GAN: seeds to latents, latents to images.

    What others need to know of a family, it says here itself. Nothing has a default, so that a new
    family cannot pass for another; `families.build` refuses one that leaves something out.
    """

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

    @property
    def truncation(self) -> float | None:
        """The psi of latents whose `origin` names none, in 0..1; None = no image depends on it."""

    @property
    def z_dim(self) -> int:
        """Numbers in a z."""

    @property
    def z_limit(self) -> float | None:
        """The largest number of a z at psi 1, inf = any.

        None = z is on the sphere of radius sqrt(z_dim), so that only its direction counts.
        """

    @property
    def margin(self) -> int:
        """Samples that its features hold around the image, on each side."""

    @property
    def class_vectors(self) -> Tensor | None:
        """What stands beside z for each class: [classes, V]; None = its label, or no classes."""

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers of StyleSpace, in the order of their columns in [B, S]; () = it has none."""

    @property
    def mirror(self) -> MirrorShape | None:
        """What the DSE encoder that mirrors it finds; None = there is no such encoder."""

    @property
    def plain(self) -> nn.Module:
        """Its own network, with its weights, whoever runs it."""

    @property
    def by(self) -> str:
        """Who runs it: "torch", or another runtime and its version."""

    def rows(self, latent: Latent) -> Tensor:
        """[B, L, D] in `spec.space`, of a latent in any space: mapped to w+ where there is w."""

    def first_weights(self, rows: tuple[int, int] | None = None) -> Tensor:
        """What first meets a latent: [outputs, D], which takes a row of it to the outputs.

        Args:
            rows: the first and last row of w+ whose styles count; None = all. Of no meaning for z.
        """

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
        """Feature tensor [B, C, H, W] at `layer`; ValueError where the family has none.

        A feature of the latent enters where it does in its image, if that is before `layer`.
        """
