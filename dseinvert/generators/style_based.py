"""What StyleGAN 1, 2 and 3 share: z through a mapping network to w, a row of it for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dseinvert.generators.sampling import alike, draw, truncated
from dseinvert.generators.styles import StyleLayer
from dseinvert.latent import Latent, LatentSpec


class StyleConfig(Protocol):
    """The numbers that every one of them has."""

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""

    @property
    def layers(self) -> int:
        """Rows of w+."""

    @property
    def z_dim(self) -> int:
        """Numbers in z."""

    @property
    def w_dim(self) -> int:
        """Numbers in a row of w+."""

    @property
    def classes(self) -> int:
        """Width of the label; 0 = none."""

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""


class MappingNetwork(Protocol):
    """z to w."""

    w_avg: Tensor
    """The mean of w: [D], or [L, D] where each row has its own."""

    def __call__(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """[B, Z] -> [B, D]."""


class SynthesisNetwork(Protocol):
    """Rows of w+ to images."""

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers of StyleSpace."""


class StyleBased(nn.Module):
    """The latent side of the Generator protocol; families add synthesis, features and mirror."""

    truncates = True
    truncation = None
    z_limit = None
    class_vectors = None
    by = "torch"
    config: StyleConfig
    mapping: MappingNetwork
    synthesis: SynthesisNetwork

    @property
    def spec(self) -> LatentSpec:
        """w+ of `layers` rows, and a label where it has classes."""
        return LatentSpec("w+", self.config.layers, self.config.w_dim, self.config.classes)

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return self.config.resolution

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mapping.w_avg.device

    @property
    def z_dim(self) -> int:
        """Numbers in z."""
        return self.config.z_dim

    @property
    def plain(self) -> nn.Module:
        """Itself."""
        return self

    def mean_latent(self) -> Latent:
        """The mean of w in every row: [1, L, D]; of all classes alike."""
        mean = self.mapping.w_avg.reshape(1, -1, self.config.w_dim)
        code = mean.expand(-1, self.config.layers, -1)
        return Latent(code, "w+", label=alike(self.config.classes)).to(self.device)

    def sample(
        self,
        seeds: Sequence[int],
        psi: float = 1.0,
        cutoff: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> Latent:
        """Latents of seeds, each drawn on its own so that the batch does not matter.

        Args:
            seeds: one per sample.
            psi: truncation; 1 = none, 0 = the mean.
            cutoff: rows truncated; None = all.
            labels: the class of each sample; None = drawn from its seed, where there are classes.
        """
        latent = draw(seeds, self.config.z_dim, self.config.classes, labels).to(self.device)
        code = truncated(self.rows(latent), self.mapping.w_avg, psi, cutoff)
        return Latent(code, "w+", label=latent.label)

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers of StyleSpace, in the order of their columns in [B, S]."""
        return self.synthesis.style_layers

    def first_weights(self, rows: tuple[int, int] | None = None) -> Tensor:
        """From a row of w+ to the styles that SeFa's published code stacks: [styles, D].

        They are those of the convolutions of the rows meant, the last among them, and of the last
        ToRGB; the RGB images on the way up have no part in it.

        Raises:
            ValueError: rows that there are not, or that have no styles.
        """
        most = self.config.layers
        first, last = rows or (0, most)
        if not 0 <= first <= last <= most:
            raise ValueError(f"rows must be 0..{most - 1}, got {first}-{last}")
        layers = self.style_layers
        # The four numbers that place StyleGAN3's waves, "input", are no style.
        stacked = [one for one in layers if one.name.startswith("conv") or one is layers[-1]]
        chosen = [one.affine.weight for one in stacked if first <= one.row <= last]
        if not chosen:
            raise ValueError(f"rows {first}-{last} have no styles")
        return torch.cat(chosen)

    def rows(self, latent: Latent) -> Tensor:
        """The w+ rows [B, L, D] of a latent in any space of this generator."""
        code = self.mapped(latent) if latent.space in ("z", "z+") else latent.code
        if code.shape[1] == 1:
            code = code.expand(-1, self.config.layers, -1)
        if code.shape[1:] != (self.config.layers, self.config.w_dim):
            raise self.refused(latent)
        return code

    def mapped(self, latent: Latent) -> Tensor:
        """Every row of z [B, N, Z] through the mapping network: [B, N, D]."""
        code, label = latent.code, latent.label
        if label is not None:
            label = label.repeat_interleave(code.shape[1], dim=0)
        return self.mapping(code.flatten(0, 1), label).unflatten(0, code.shape[:2])

    def refused(self, latent: Latent) -> ValueError:
        """What to raise for a latent of another shape."""
        wanted = f"[B, {self.config.layers}, {self.config.w_dim}]"
        return ValueError(f"this generator takes {wanted}, got {list(latent.code.shape)}")
