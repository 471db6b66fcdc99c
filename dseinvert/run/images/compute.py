"""From crops to latents, reconstructions, edits and metrics: all that needs the networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from dseinvert.editing.edits import Edits
from dseinvert.editing.render import render_edits, settle_all, strengths
from dseinvert.faces.crops import Crop
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.inversion.inverter import Inversion, Inverter
from dseinvert.latent import Latent
from dseinvert.media.pixels import Pixels
from dseinvert.similarity.metrics import image_metrics


@dataclass(frozen=True)
class InvertedFace:
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


def invert_faces(
    inverter: Inverter,
    sha256: str,
    edits: Edits,
    crops: Sequence[Crop],
    refining: Watching | None = None,
) -> list[InvertedFace]:
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
        InvertedFace(
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


def _finite(value: Tensor) -> float:
    """JSON has no infinity: a perfect PSNR is reported as 100 dB."""
    number = float(value)
    return number if math.isfinite(number) else 100.0
