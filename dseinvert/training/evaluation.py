"""How well an encoder inverts what it was never trained on: figures and pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_tensor
from dseinvert.similarity.metrics import image_metrics
from dseinvert.training.pictures import Variations
from dseinvert.training.samples import Batch, Source, joined

COLUMNS = 8


@torch.no_grad()
def evaluate(source: Source, encoder: Encoder, count: int, batch: int) -> dict[str, float]:
    """Medians of the metrics over `count` held-out samples; `batch` does not change them."""
    columns: dict[str, list[Tensor]] = {}
    for held in source.held_out(count, batch):
        drawn = invert(source.generator, encoder, held)
        for name, value in image_metrics(held.images.clamp(-1, 1), drawn).items():
            columns.setdefault(name, []).append(value)
    return {name: float(torch.cat(values).median()) for name, values in columns.items()}


@torch.no_grad()
def pictures(source: Source, encoder: Encoder, real: Variations | None) -> list[Tensor]:
    """Rows [N, 3, R, R] for a grid: held-out samples, and real ones, over their inversions."""
    generator, count = source.generator, COLUMNS
    (batch,) = source.held_out(count, count)
    if real is not None:
        few = to_tensor([*real.pictures[:count]])
        few = F.interpolate(few, (generator.resolution,) * 2, mode="area")
        batch = joined(batch, few.to(generator.device))
    drawn = invert(generator, encoder, batch)
    pairs = zip(batch.images.split(count), drawn.split(count), strict=True)
    return [row for pair in pairs for row in pair]


def invert(generator: Generator, encoder: Encoder, batch: Batch) -> Tensor:
    """What the generator draws of the encoder's codes: [B, 3, R, R] in [-1, 1]."""
    return generator.synthesize(encoder.encode(batch.images, batch.labels)).clamp(-1, 1)
