"""From crops to latents, reconstructions, edits and metrics: all that needs the networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dseinvert.editing.apply import apply_edits
from dseinvert.editing.auto import settle
from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import AutoEdit, Edit, Keeper, Step, label, parse_edits
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.inverter import Inversion, Inverter
from dseinvert.latent import Latent
from dseinvert.run.prepare import Crop, Pixels
from dseinvert.similarity.metrics import image_metrics

Edits = Mapping[str, Sequence[Step]]
"""Edits applied together, by label."""


@dataclass(frozen=True)
class Face:
    """What the networks made of one crop."""

    crop: Crop
    latent: Latent
    """[1, L, D] on the CPU."""
    recon: Pixels
    edited: Mapping[str, Pixels]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Watching:
    """What a run shows and writes of its refinement."""

    text: str
    watched: Callable[[], AbstractContextManager[Callable[[int], None]]]
    """Opens for each batch what is told the number of its steps."""


def parse_all(
    texts: Sequence[str],
    directions: Mapping[str, Direction],
    classes: int = 0,
    keeper: Keeper | None = None,
) -> Edits:
    """The edits of each --edit, in the order given; see `parse_edits`."""
    parsed = [parse_edits(text, directions, classes, keeper) for text in texts]
    return {label(edits): edits for edits in parsed}


def invert_faces(
    inverter: Inverter,
    sha256: str,
    edits: Edits,
    crops: Sequence[Crop],
    refining: Watching | None = None,
) -> list[Face]:
    """One batch. `sha256` is the generator's, which the latents will name.

    `refining` is shown and named where the inverter refines; None = it does not.
    """
    images = to_tensor([crop.pixels for crop in crops])
    if refining is None:
        inversion = inverter.invert(images)
    else:
        with refining.watched() as told:
            inversion = inverter.invert(images, lambda step, _: told(step))
    latent = inversion.latent.with_origin(generator_sha256=sha256)
    if refining is not None:
        latent = latent.with_origin(refined=refining.text)
    recons = to_pixels(inversion.images)
    settled = settle_all(inverter.generator, latent, edits)
    edited = render_edits(inverter.generator, latent, settled)
    table = image_metrics(images, inversion.images.cpu()) | _effort(inversion)
    return [
        Face(
            crop,
            latent[i : i + 1].to("cpu"),
            recons[i],
            {name: pictures[i] for name, pictures in edited.items()},
            {name: _finite(values[i]) for name, values in table.items()}
            | strengths(edits, settled, i),
        )
        for i, crop in enumerate(crops)
    ]


def _effort(inversion: Inversion) -> dict[str, Tensor]:
    """What refinement took, [B] each; nothing where there was none."""
    if inversion.steps is None:
        return {}
    seconds = torch.full((len(inversion.images),), inversion.seconds)
    return {"steps": inversion.steps.float(), "seconds": seconds}


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


@torch.inference_mode()
def render_edits(generator: Generator, latent: Latent, edits: Edits) -> dict[str, list[Pixels]]:
    """The pictures of each edit for a batch of latents on any device."""
    latent = latent.to(generator.device)
    return {
        name: to_pixels(synthesize(generator, apply_edits(latent, steps, generator)))
        for name, steps in settle_all(generator, latent, edits).items()
    }


def to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """uint8 [H, W, 3] each -> [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> list[Pixels]:
    """[B, 3, H, W] in [-1, 1] -> uint8 [H, W, 3] each."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _finite(value: Tensor) -> float:
    """JSON has no infinity: a perfect PSNR is reported as 100 dB."""
    number = float(value)
    return number if math.isfinite(number) else 100.0
