"""The pictures that measurements are made on, and the judges of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.generators.pixels import to_tensor
from dseinvert.inversion.inverter import Inverter
from dseinvert.models import Model, open_model, pick_device
from dseinvert.similarity.identity import Identity
from dseinvert.similarity.losses import Distance
from dseinvert.similarity.perceptual import open_lpips, trunk_file
from dseinvert.training.pictures import read_tar
from measure.scorers import STLPIPS, AgeGender, Landmarks, mouth_width, recognition, yaw

REAL = "real-faces-256-validation.tar"
FRESH = 10_000_000
"""Seeds from here on were never trained on."""
OTHERS = 20_000_000
"""Seeds to choose settings on, not to be judged by."""


def opened(given: argparse.Namespace) -> Model:
    """The model of --model on --device."""
    return open_model(given.model, pick_device(given.device))


def inverting(model: Model) -> Inverter:
    """Its encoder and generator as one."""
    return Inverter(model.generator, model.require_encoder())


def photos(given: argparse.Namespace, side: int) -> Tensor | None:
    """The real faces, [N, 3, side, side] in [-1, 1]; None = there are none here."""
    file = given.real or given.data / REAL
    if given.real is None and not file.is_file():
        return None
    return to_tensor(list(read_tar(file, side)[: given.count]))


@torch.inference_mode()
def samples(model: Model, count: int, first: int = FRESH) -> Tensor:
    """Pictures of the generator itself, [N, 3, R, R] in [-1, 1] on the CPU, as files would hold."""
    seeds = torch.arange(first, first + count).split(32)
    generator = model.generator
    drawn = [generator.synthesize(generator.sample(part.tolist())).cpu() for part in seeds]
    return ((torch.cat(drawn).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@dataclass(frozen=True)
class Judges:
    """Scorers of faces, on the CPU."""

    identity: Identity
    age: AgeGender
    landmarks: Landmarks

    @torch.inference_mode()
    def who(self, images: Tensor) -> Tensor:
        """Unit vectors [B, 256]."""
        return torch.cat([self.identity(part) for part in images.split(50)])

    @torch.inference_mode()
    def scores(self, images: Tensor) -> dict[str, Tensor]:
        """What they see in each image, by name with unit: [B] each."""
        ages, men, points = [], [], []
        for part in images.split(50):
            age, man = self.age(part)
            ages.append(age)
            men.append(100 * man)
            points.append(self.landmarks(part))
        seen = torch.cat(points)
        mouth = 100 * mouth_width(seen)
        found = (torch.cat(ages), torch.cat(men), yaw(seen), mouth)
        return dict(zip(SCORES.values(), found, strict=True))


SCORES = {"age": "years", "gender": "man, %", "pose": "yaw, °", "smile": "mouth, % of eyes"}
"""The directions that have a scorer, and its unit."""


def judges(data: Path) -> Judges | None:
    """None = the scorers are not here."""
    folder = data / "models"
    if not folder.is_dir():
        return None
    return Judges(recognition(folder), AgeGender(folder), Landmarks(folder))


def perceptual() -> tuple[str, Distance] | None:
    """LPIPS where its weights are here, else ST-LPIPS, by name; None = neither."""
    ways: dict[str, Callable[[], Distance]] = {"ST-LPIPS": STLPIPS}
    if trunk_file().is_file():  # or it would be downloaded
        ways = {"LPIPS": open_lpips, **ways}
    for name, way in ways.items():
        with suppress(MissingError):
            return name, way()
    return None


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Two sets of unit vectors [B, K] -> [B]."""
    return (a * b).sum(dim=1)


def median(values: Tensor) -> float:
    """The median of [N]; of an even number, the mean of the middle two."""
    return float(np.median(values.cpu().numpy()))
