"""StyleSpace (Wu et al., 2021): single channels of the styles that move one thing in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.styles import StyleLayer, styles
from dseinvert.latent import Latent


@dataclass(frozen=True)
class Channel:
    """One column of the styles [B, S]."""

    column: int
    layer: str
    """"conv5": which layer's style it is of."""
    number: int
    """Within the layer, from 0."""
    sign: int
    """1 or -1: which way the attribute grows."""
    relevance: float
    """How consistently those with the attribute differ from all, in deviations."""
    deviation: float
    """Of the style over the generator's samples."""
    area: float
    """Share of the picture it moves: 1 = all alike."""

    @property
    def name(self) -> str:
        """`conv5-12`."""
        return f"{self.layer}-{self.number}"

    def vector(self, width: int) -> Tensor:
        """The step [1, S] of one deviation."""
        step = torch.zeros(1, width)
        step[0, self.column] = self.sign * self.deviation
        return step


def channels_of(
    generator: Generator,
    codes: Latent,
    sides: NDArray[np.int64],
    population: Tensor,
    count: int,
    area: float = 1.0,
) -> list[Channel]:
    """The channels that tell best those with an attribute from all samples (Section 5.1).

    Of those with it, each style is taken as its distance to the mean of all, in deviations of all;
    what counts is the mean of that, over its own deviation. Those without it, where there are any,
    count with the other sign. The styles of ToRGB, which only tint, are left out.

    Args:
        generator: of a family that has styles.
        codes: latents with and without the attribute.
        sides: 1 = with, -1 = without, 0 = left out.
        population: styles [N, S] of the generator's samples.
        count: how many, best first.
        area: the largest share of the picture that a channel may move, on the first latents.

    Raises:
        UsageError: a family without styles.
    """
    layers = generator.style_layers
    if not layers:
        raise UsageError(f"a {generator.family} has no styles", "--method interfacegan")
    own = styles(generator, codes).cpu()
    mean, deviation = population.mean(0), population.std(0)
    distance = (own - mean) / deviation.clamp_min(1e-12)
    side = torch.from_numpy(sides)
    facing = torch.cat([distance[side == 1], -distance[side == -1]])
    relevance = facing.mean(0) / facing.std(0).clamp_min(1e-12)
    relevance[deviation < 1e-6 * deviation.max()] = 0
    for layer in layers:
        if not layer.name.startswith("conv"):
            relevance[layer.columns] = 0
    found: list[Channel] = []
    shown = codes[:4]
    for column in relevance.abs().argsort(descending=True).tolist():
        if len(found) == count or relevance[column] == 0:
            break
        share = moved_area(generator, shown, column, float(deviation[column]))
        if share <= area:
            found.append(_channel(layers, column, relevance, deviation, share))
    return found


def _channel(
    layers: Sequence[StyleLayer], column: int, relevance: Tensor, deviation: Tensor, area: float
) -> Channel:
    layer = next(one for one in layers if column < one.columns.stop)
    value = float(relevance[column])
    return Channel(
        column,
        layer.name,
        column - layer.columns.start,
        1 if value > 0 else -1,
        abs(value),
        float(deviation[column]),
        area,
    )


@torch.inference_mode()
def gradient_map(generator: Generator, latent: Latent, column: int, step: float) -> Tensor:
    """How strongly each pixel follows one style: [B, R, R], by central differences (Section 4)."""
    width = generator.style_layers[-1].columns.stop
    plain = latent.code.new_zeros(len(latent), width) if latent.style is None else latent.style
    pushed = torch.zeros_like(plain)
    pushed[:, column] = step / 2
    up, down = (
        generator.synthesize(replace(latent, style=plain + sign * pushed)) for sign in (1, -1)
    )
    return (up - down).norm(dim=1) / step


def moved_area(generator: Generator, latent: Latent, column: int, step: float) -> float:
    """The share of the picture that a style moves: (sum g)^2 / (N sum g^2) of the gradient map g.

    1 = every pixel alike, 1/N = a single one.
    """
    g = gradient_map(generator, latent, column, step).flatten(1).double()
    return float((g.sum(1).square() / (g.shape[1] * g.square().sum(1)).clamp_min(1e-30)).mean())
