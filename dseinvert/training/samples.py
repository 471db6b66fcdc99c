"""Endless training batches of a generator's own samples, with a share of real images if wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dseinvert.encoders.parts import Part
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.latent import Latent
from dseinvert.training.pictures import Variations, foreground, read_set

# torch's CPU generator keeps only the low 32 bits of a seed: the lower half of them trains, the
# upper half is held out from every run.
HALF = 2**31


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, R, R] in [-1, 1]: first those of `codes` [S, L, D], then B - S real ones."""

    images: Tensor
    codes: Tensor
    labels: Tensor | None = None
    """[B, classes]; None = the generator has no classes."""
    part: Part | None = None
    """Which images of a step's batch these are; None = all."""
    sizes: tuple[int, int] | None = None
    """Samples and real images of that batch; None = those that are here."""

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of the batch's samples, of its real images (1 = there are none), and of both."""
        own = len(self.codes), len(self.images) - len(self.codes)
        samples, real = self.sizes or own
        return own[0] / samples, own[1] / real if real else 1.0, sum(own) / (samples + real)


@dataclass(frozen=True)
class Cut:
    """Which part of every batch is meant: one of `parts`, which differ by an image at most."""

    index: int = 0
    parts: int = 1

    @property
    def slice(self) -> slice:
        """Of what there is in order."""
        return slice(self.index, None, self.parts)

    def of(self, samples: int, real: int, total: Callable[[Tensor], Tensor] | None) -> Part | None:
        """The rows of the part in a batch of so many; None = it is the whole."""
        if self.parts == 1:
            return None
        rows = (*range(samples)[self.slice], *range(samples, samples + real)[self.slice])
        return Part(rows, samples + real, total)


@dataclass(frozen=True)
class Source:
    """Draws samples of a frozen generator (psi on the first `cutoff` rows), with their labels."""

    generator: Generator
    psi: float
    cutoff: int | None

    @torch.no_grad()
    def draw(self, seeds: list[int], mixing: float = 0) -> Batch:
        """The images and codes of these seeds; `mixing` is the chance of each to be mixed."""
        latent = self.generator.sample(seeds, self.psi, self.cutoff)
        if mixing:
            latent = self._mixed(latent, seeds, mixing)
        return Batch(self.generator.synthesize(latent), latent.code, latent.label)

    def _mixed(self, latent: Latent, seeds: list[int], mixing: float) -> Latent:
        """Rows from a random cut on come from another seed of the same class (StyleGAN, 3.1)."""
        labels = None if latent.label is None else latent.label.argmax(1).tolist()
        rows = latent.code.shape[1]
        partners, cuts = zip(*(_mixture(seed, mixing, rows) for seed in seeds), strict=True)
        other = self.generator.sample(partners, self.psi, self.cutoff, labels).code
        row = torch.arange(rows, device=other.device)[:, None]
        early = row < torch.tensor(cuts, device=other.device)[:, None, None]
        return replace(latent, code=torch.where(early, latent.code, other))

    def held_out(self, count: int, batch: int) -> Iterator[Batch]:
        """The samples that measure progress: the same in every run, none mixed or trained on."""
        for start in range(0, count, batch):
            yield self.draw(held_out_seeds(start, min(count, start + batch)))


WHOLE = Cut()
"""All of a batch."""


def training_seeds(seed: int, start: int, stop: int) -> list[int]:
    """The seeds of samples start..stop-1 of a run; none comes twice in two thousand million."""
    first = seed * 0x9E3779B1  # runs of neighbouring seeds start far apart
    return [(first + index) % HALF for index in range(start, stop)]


def _mixture(seed: int, mixing: float, rows: int) -> tuple[int, int]:
    """What a sample is mixed with, and from which row on; `rows` where it stays as it is."""
    rng = np.random.default_rng((seed, 1))
    partner, cut, chance = rng.integers(HALF), rng.integers(1, rows), rng.random()
    return int(partner), int(cut) if chance < mixing else rows


def held_out_seeds(start: int, stop: int) -> list[int]:
    """The seeds of held-out samples start..stop-1."""
    return [HALF + index for index in range(start, stop)]


def batches(
    source: Source,
    seed: int,
    synthetic: int,
    real: Variations | None,
    step: int,
    mixing: float = 0,
    cut: Cut = WHOLE,
    total: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Batch]:
    """Training batches from `step` on; each depends on the seed and its step alone.

    Args:
        synthetic: samples of the generator in each batch.
        real: further images; None = none.
        mixing: the share of mixed samples.
        cut: the part of each batch that is drawn.
        total: see `Part`.
    """
    pictures = real.from_step(step, cut.slice) if real else None
    sizes = synthetic, real.batch if real else 0
    part = cut.of(*sizes, total)
    while True:
        seeds = training_seeds(seed, step * synthetic, (step + 1) * synthetic)[cut.slice]
        drawn = replace(source.draw(seeds, mixing), part=part, sizes=sizes)
        if pictures is not None:
            drawn = joined(drawn, next(pictures).to(drawn.images))
        yield drawn
        step += 1


def joined(drawn: Batch, real: Tensor) -> Batch:
    """Samples and real images [N, 3, R, R] behind them, which have no class: their label is 0."""
    labels = drawn.labels
    if labels is not None:
        labels = torch.cat([labels, labels.new_zeros(len(real), labels.shape[1])])
    return replace(drawn, images=torch.cat([drawn.images, real]), labels=labels)


def real_pictures(path: Path, resolution: int, batch: int, seed: int) -> Variations:
    """Varied real images of a set, which is held in memory as uint8 at the training size.

    Raises:
        UsageError: there is no such set. And what `read_set` raises.
    """
    if not path.exists():
        raise UsageError(f"--real {path}: no such file or folder")
    # A margin keeps small pictures sharp when they are moved and enlarged.
    side = resolution * 3 // 2 if resolution <= 128 else resolution
    pictures = read_set(path, side)
    masks = np.stack([foreground(picture) for picture in pictures])
    return Variations(pictures, masks, resolution, batch, seed)
