"""Edited latents to pictures, and what `auto` strengths came to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dseinvert.editing.apply import apply_edits, own_feature
from dseinvert.editing.auto import settle
from dseinvert.editing.edits import AutoEdit, Edit, Edits
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent
from dseinvert.media.pixels import Pixels


@torch.inference_mode()
def render_edits(generator: Generator, latent: Latent, edits: Edits) -> dict[str, list[Pixels]]:
    """The pictures of each edit for a batch of latents on any device."""
    return {name: to_pixels(drawn) for name, drawn in draw_edits(generator, latent, edits)}


@torch.inference_mode()
def draw_edits(generator: Generator, latent: Latent, edits: Edits) -> Iterator[tuple[str, Tensor]]:
    """The same as tensors [B, 3, R, R], where the generator is, one after another."""
    latent = latent.to(generator.device)
    own = own_feature(latent, generator) if any(edits.values()) else None
    for name, steps in settle_all(generator, latent, edits).items():
        yield name, synthesize(generator, apply_edits(latent, steps, generator, own))


@torch.inference_mode()
def settle_all(generator: Generator, latent: Latent, edits: Edits) -> Edits:
    """The edits with a strength for each latent of the batch in place of `auto`."""
    return {name: settle(latent, steps, generator) for name, steps in edits.items()}


def strengths(asked: Edits, settled: Edits, index: int) -> dict[str, float]:
    """What became of `auto` for one latent of the batch, by label; empty where none was asked."""
    found = {}
    for name, steps in asked.items():
        for step, done in zip(steps, settled[name], strict=True):
            if isinstance(step, AutoEdit) and isinstance(done, Edit):
                found[name] = float(torch.as_tensor(done.strength)[index])
    return found
