"""From crops to latents, reconstructions, edits and metrics: all that needs the networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from dseinvert.editing.edits import Edits
from dseinvert.editing.render import draw_edits, settle_all, strengths
from dseinvert.faces.crops import Crop
from dseinvert.generators.pixels import to_levels, to_pixels, to_tensor
from dseinvert.inversion.inverter import KEPT, Inversion, Inverter, Part
from dseinvert.inversion.segments import painted
from dseinvert.latent import Latent
from dseinvert.media.pixels import Levels, Pixels
from dseinvert.similarity.metrics import image_metrics

_KEPT = "--refine {} found nothing better than it began with, which stays"


@dataclass(frozen=True)
class InvertedFace:
    """What the networks made of one crop."""

    crop: Crop
    latent: Latent
    """[1, L, D] on the CPU."""
    recon: Levels
    edited: Mapping[str, Levels]
    """Not rounded where a photo will be pasted into, nor is `recon`."""
    metrics: Mapping[str, float]
    note: str = ""
    """What is to be said of it; "" = nothing."""
    map: Pixels | None = None
    """Where F corrects it, and of which layer; None = there is no map."""


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
    *,
    exact: bool = False,
) -> list[InvertedFace]:
    """One batch. `sha256` is the generator's, which the latents will name.

    `refining` is shown and named where the inverter refines; None = it does not. With `exact`,
    pictures are not rounded: what is measured on them would be another in another batch.
    """
    images, finished = to_tensor([crop.pixels for crop in crops]), to_levels if exact else to_pixels
    inversion = _inverted(inverter, images, refining)
    drawn = inversion.images.clone()
    for part in inversion.parts():
        drawn[part.at] = part.images
    table = image_metrics(images, drawn.cpu()) | _effort(inversion)
    maps = (
        None if inversion.maps is None else painted(inversion.maps, [crop.pixels for crop in crops])
    )
    found: dict[int, InvertedFace] = {}
    for part in inversion.parts():
        latent = part.latent.with_origin(generator_sha256=sha256, **_told(refining, part))
        settled = settle_all(inverter.generator, latent, edits)
        drawn_edits = draw_edits(inverter.generator, latent, settled)
        edited = {name: finished(pictures) for name, pictures in drawn_edits}
        recons = finished(part.images)
        for k, place in enumerate(part.at.tolist()):
            found[place] = InvertedFace(
                crops[place],
                latent[k : k + 1].to("cpu"),
                recons[k],
                {name: pictures[k] for name, pictures in edited.items()},
                {name: _finite(values[place]) for name, values in table.items()}
                | strengths(edits, settled, k),
                _KEPT.format(refining.text) if part.kept and refining else "",
                None if maps is None or part.kept else maps[place],
            )
    return [found[place] for place in range(len(crops))]


def _inverted(inverter: Inverter, images: Tensor, refining: Watching | None) -> Inversion:
    if refining is None:
        return inverter.invert(images)
    with refining.watched() as told:
        return inverter.invert(images, lambda step, _: told(step))


def _told(refining: Watching | None, part: Part) -> dict[str, str]:
    """What the latents say of their refinement."""
    if refining is None:
        return {}
    return {"refined": refining.text} | ({"kept": KEPT} if part.kept else {})


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
