"""How well an encoder inverts what it was never trained on: figures and pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.similarity.metrics import image_metrics
from dseinvert.training.pictures import Variations
from dseinvert.training.samples import Source

COLUMNS = 8


@torch.no_grad()
def evaluate(source: Source, encoder: DSEEncoder, count: int, batch: int) -> dict[str, float]:
    """Medians of the metrics over `count` held-out samples; `batch` does not change them."""
    columns: dict[str, list[Tensor]] = {}
    for held in source.held_out(count, batch):
        drawn = invert(source.generator, encoder, held.images)
        for name, value in image_metrics(held.images.clamp(-1, 1), drawn).items():
            columns.setdefault(name, []).append(value)
    return {name: float(torch.cat(values).median()) for name, values in columns.items()}


@torch.no_grad()
def pictures(source: Source, encoder: DSEEncoder, real: Variations | None) -> list[Tensor]:
    """Rows [N, 3, R, R] for a grid: held-out samples, and real ones, over their inversions."""
    generator = source.generator
    rows = [held.images for held in source.held_out(COLUMNS, COLUMNS)]
    if real is not None:
        few = torch.from_numpy(real.pictures[:COLUMNS]).permute(0, 3, 1, 2).float() / 127.5 - 1
        few = F.interpolate(few, (generator.resolution,) * 2, mode="area")
        rows.append(few.to(generator.device))
    return [row for images in rows for row in (images, invert(generator, encoder, images))]


def invert(generator: StyleGAN2, encoder: DSEEncoder, images: Tensor) -> Tensor:
    """What the generator draws of the encoder's codes: [B, 3, R, R] in [-1, 1]."""
    return generator.synthesize(encoder.eval().encode(images)).clamp(-1, 1)
