"""Latents of several kinds as one batch: what some images kept beside what was found for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dseinvert.generators import Generator
from dseinvert.generators.tuned import features
from dseinvert.inversion.inverter import Inversion, Part
from dseinvert.latent import Latent, concat


def best_of(generator: Generator, inversions: Sequence[Inversion]) -> tuple[Latent, Tensor, Tensor]:
    """The best of each image of all batches, as one batch [B].

    Where they differ in kind, all are written in w+, and those without F with what the generator
    makes at its layer: they draw what they drew. Features of different layers do not go together;
    then all are what refinement found.

    Returns:
        Latents, the images [B, 3, R, R] that they draw, and [B] bool on the CPU: which are as they
        were before the last refinement.
    """
    parts = _in_row([one.parts() for one in inversions])
    if len({part.latent.layer for part in parts} - {None}) > 1:
        parts = _in_row([[replace(one, losses=None).parts()[0]] for one in inversions])
    order = torch.cat([part.at for part in parts]).argsort()
    latent = concat(alike(generator, [part.latent for part in parts]))
    kept = torch.cat([torch.full((len(part.at),), part.kept) for part in parts])
    images = torch.cat([part.images for part in parts])
    return latent[order.to(images.device)], images[order.to(images.device)], kept[order]


def _in_row(batches: Sequence[Sequence[Part]]) -> list[Part]:
    """Parts of each batch, numbered over all batches."""
    found: list[Part] = []
    before = 0
    for parts in batches:
        found += [replace(part, at=part.at + before) for part in parts]
        before += sum(len(part.at) for part in parts)
    return found


@torch.no_grad()
def alike(generator: Generator, latents: Sequence[Latent]) -> list[Latent]:
    """The same latents in one kind, with F at one layer at most; each draws what it drew."""
    if len({one.space for one in latents}) > 1:
        latents = [replace(one, code=generator.rows(one), space="w+") for one in latents]
    featured = next((one for one in latents if one.feature is not None), None)
    factors = {n: t for one in latents for n, t in one.tuning.items()}
    return [_filled(_featured(generator, one, featured), factors) for one in latents]


def _featured(generator: Generator, one: Latent, like: Latent | None) -> Latent:
    if like is None or like.layer is None or one.feature is not None:
        return one
    feature = features(generator, one, like.layer)
    return replace(one, feature=feature, layer=like.layer, skip=like.skip)


def _filled(one: Latent, factors: dict[str, Tensor]) -> Latent:
    """With a tuning that changes nothing, where others have one that does."""
    missing = {name: factor for name, factor in factors.items() if name not in one.tuning}
    zeros = {n: f.new_zeros(len(one), *f.shape[1:]) for n, f in missing.items()}
    return replace(one, tuning={**one.tuning, **zeros})
