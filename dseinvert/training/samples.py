"""Endless training batches of a generator's own samples, with a share of real images if wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.training.pictures import Variations, foreground, read_tar

# torch's CPU generator keeps only the low 32 bits of a seed: the lower half of them trains, the
# upper half is held out from every run.
HALF = 2**31


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, R, R] in [-1, 1]: first those of `codes` [S, L, D], then B - S real ones."""

    images: Tensor
    codes: Tensor


@dataclass(frozen=True)
class Source:
    """Draws samples of a frozen generator from truncated w (psi on the first `cutoff` rows)."""

    generator: StyleGAN2
    psi: float
    cutoff: int | None

    @torch.no_grad()
    def draw(self, seeds: list[int]) -> Batch:
        """The images and codes of these seeds."""
        latent = self.generator.sample(seeds, self.psi, self.cutoff)
        return Batch(self.generator.synthesize(latent), latent.code)

    def held_out(self, count: int, batch: int) -> Iterator[Batch]:
        """The samples that measure progress: the same in every run, trained on in none."""
        for start in range(0, count, batch):
            yield self.draw(held_out_seeds(start, min(count, start + batch)))


def training_seeds(seed: int, start: int, stop: int) -> list[int]:
    """The seeds of samples start..stop-1 of a run; none comes twice in two thousand million."""
    first = seed * 0x9E3779B1  # runs of neighbouring seeds start far apart
    return [(first + index) % HALF for index in range(start, stop)]


def held_out_seeds(start: int, stop: int) -> list[int]:
    """The seeds of held-out samples start..stop-1."""
    return [HALF + index for index in range(start, stop)]


def batches(
    source: Source, seed: int, synthetic: int, real: Variations | None, step: int
) -> Iterator[Batch]:
    """Training batches from `step` on; each depends on the seed and its step alone.

    Args:
        synthetic: samples of the generator in each batch.
        real: further images; None = none.
    """
    pictures = real.from_step(step) if real else None
    while True:
        drawn = source.draw(training_seeds(seed, step * synthetic, (step + 1) * synthetic))
        if pictures is not None:
            images = torch.cat([drawn.images, next(pictures).to(drawn.images)])
            drawn = Batch(images, drawn.codes)
        yield drawn
        step += 1


def real_pictures(path: Path, resolution: int, batch: int, seed: int) -> Variations:
    """Varied real images of a tar, which is held in memory as uint8 at the training size.

    Raises:
        UsageError: no such file. InputError: not a readable tar of images.
    """
    if not path.is_file():
        raise UsageError(f"--real {path}: no such file")
    # A margin keeps small pictures sharp when they are moved and enlarged.
    side = resolution * 3 // 2 if resolution <= 128 else resolution
    pictures = read_tar(path, side)
    masks = np.stack([foreground(picture) for picture in pictures])
    return Variations(pictures, masks, resolution, batch, seed)
