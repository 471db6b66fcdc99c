"""What faces show, by scorers that took no part in making directions.

Ridge regressions on MobileFaceNet's maps, fitted to the half of the labelled photos that
directions are not learned from; and face-api.js's age and 68 points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.similarity.identity import Box, MobileFaceNet, crop, template_box
from measure.scorers import mouth_opening, side_light, yaw
from measure.sets import Judges
from recipe.labels.labelled import (
    CELEBA_TO_FFHQ,
    LABELLED,
    attributes,
    evened,
    kept_back,
    read_labelled,
)

HEAD = Box(0.1, 0, 0.9, 1)
"""Hair and all."""
HELD = 5
"""Every fifth of the photos is not fitted to, but tells how good a probe is."""
GRID = 3
BATCH = 16
"""Larger ones leave the caches."""


@dataclass(frozen=True)
class Probe:
    """A linear score of features, centred and scaled."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: float
    quality: float
    """Balanced accuracy on photos that it was not fitted to."""
    held: int
    """How many."""

    def __call__(self, features: Tensor) -> Tensor:
        """[B, K] -> [B]; above 0 the attribute is there."""
        return ((features - self.mean) / self.scale) @ self.weight + self.bias


@dataclass(frozen=True)
class Seen:
    """What the judges say of pictures."""

    scores: dict[str, Tensor]
    """By name: [B] each."""
    people: Tensor
    """Unit vectors [B, D]."""


@dataclass(frozen=True)
class Panel:
    """All judges at once; each network looks once."""

    judges: Judges
    probes: dict[str, Probe]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Seen:
        """[B, 3, R, R] in [-1, 1]."""
        parts = [self._see(part) for part in images.split(BATCH)]
        scores = {name: torch.cat([p.scores[name] for p in parts]) for name in parts[0].scores}
        return Seen(scores, torch.cat([part.people for part in parts]))

    @torch.inference_mode()
    def who(self, images: Tensor) -> Tensor:
        """Unit vectors [B, 128]: less work than all scores."""
        parts = (crop(part, template_box(112, 96), 112, 96) for part in images.split(BATCH))
        return F.normalize(torch.cat([network(self.judges)(part) for part in parts]), dim=1)

    def _see(self, images: Tensor) -> Seen:
        features, people = look(network(self.judges), images)
        years, _ = self.judges.age(images)
        points = self.judges.landmarks(images)
        scores = {name: probe(features) for name, probe in self.probes.items()}
        scores |= {"age": years, "pose": yaw(points), "light": side_light(images, points)}
        return Seen(scores | {"mouth-open": mouth_opening(points)}, people)


def network(judges: Judges) -> MobileFaceNet:
    """The recognition network itself, for its maps."""
    net = judges.identity.embed
    assert isinstance(net, MobileFaceNet)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def look(net: MobileFaceNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features [B, K] of face and head, and who it is: unit vectors [B, 128]."""
    face, person = _maps(net, crop(images, template_box(112, 96), 112, 96))
    head, _ = _maps(net, crop(images, HEAD, 112, 96))
    return torch.cat([face, head], dim=1), F.normalize(person, dim=1)


def _maps(net: MobileFaceNet, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Maps after three stages, pooled, and the embedding."""
    x, kept = net.dw_conv1(net.conv1(faces * (127.5 / 128))), []
    for index, block in enumerate(net.blocks):
        x = block(x)
        if index in (4, 11, len(net.blocks) - 1):
            kept.append(F.adaptive_avg_pool2d(x, GRID).flatten(1))
    return torch.cat(kept, dim=1), net.linear1(net.linear7(net.conv2(x))).flatten(1)


@torch.inference_mode()
def fitted(data: Path, judges: Judges, side: int) -> dict[str, Probe]:
    """A probe for each attribute that photos are labelled with, seen at `side` pixels."""
    pictures, table = read_labelled(data / LABELLED, "attributes.csv", CELEBA_TO_FFHQ)
    pictures = F.interpolate(pictures, (side, side), mode="area")
    mine = kept_back(len(pictures))
    net = network(judges)
    seen = torch.cat([look(net, part)[0] for part in pictures[mine].split(BATCH)])
    columns = attributes({name: column[mine] for name, column in table.items()})
    counted = evened(columns)
    return {name: probe(seen, column, counted[name]) for name, column in columns.items()}


def probe(features: Tensor, labels: NDArray[np.float64], counted: NDArray[np.float64]) -> Probe:
    """Ridge regression on labels of 1 and -1; `counted` is what each photo weighs."""
    from sklearn.linear_model import RidgeCV

    held = np.arange(len(labels)) % HELD == 0
    taught, asked = ~held & (counted > 0), held & (counted > 0) & (labels != 0)
    mean, scale = features[~held].mean(0), features[~held].std(0) + 1e-6
    points = ((features - mean) / scale).double().numpy()
    model = RidgeCV(alphas=np.logspace(1, 6, 11))
    model.fit(points[taught], labels[taught], counted[taught])
    right = (model.predict(points[asked]) > 0) == (labels[asked] > 0)
    rates = [float(right[labels[asked] == side].mean()) for side in (-1, 1)]
    weight = torch.from_numpy(model.coef_).float()
    quality = sum(rates) / 2
    return Probe(mean, scale, weight, float(model.intercept_), quality, int(asked.sum()))
