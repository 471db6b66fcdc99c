"""From crops to latents, reconstructions, edits and metrics: all that needs the networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits, label, parse_edits
from dseinvert.editing.directions import Direction
from dseinvert.generators import Generator
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import Latent
from dseinvert.run.prepare import Crop, Pixels
from dseinvert.similarity.metrics import image_metrics

Edits = Mapping[str, Sequence[Edit]]
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


def parse_all(texts: Sequence[str], directions: Mapping[str, Direction]) -> Edits:
    """The edits of each --edit, in the order given."""
    parsed = [parse_edits(text, directions) for text in texts]
    return {label(edits): edits for edits in parsed}


def invert_faces(
    inverter: Inverter, sha256: str, edits: Edits, crops: Sequence[Crop]
) -> list[Face]:
    """One batch. `sha256` is the generator's, which the latents will name."""
    images = to_tensor([crop.pixels for crop in crops])
    inversion = inverter.invert(images)
    latent = inversion.latent.with_origin(generator_sha256=sha256)
    recons = to_pixels(inversion.images)
    edited = render_edits(inverter.generator, latent, edits)
    table = image_metrics(images, inversion.images.cpu())
    return [
        Face(
            crop,
            latent[i : i + 1].to("cpu"),
            recons[i],
            {name: pictures[i] for name, pictures in edited.items()},
            {name: _finite(values[i]) for name, values in table.items()},
        )
        for i, crop in enumerate(crops)
    ]


@torch.inference_mode()
def render_edits(generator: Generator, latent: Latent, edits: Edits) -> dict[str, list[Pixels]]:
    """The pictures of each edit for a batch of latents on any device."""
    latent = latent.to(generator.device)
    return {
        name: to_pixels(generator.synthesize(apply_edits(latent, steps, generator)))
        for name, steps in edits.items()
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
