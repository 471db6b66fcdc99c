"""The bundled directions: what scores faces, and how one attribute is told from the others.

Codes are regressed on all scores at once; how far each direction then moves every score is measured
on pictures, and what it moves besides its own is taken out as far as it is known. From there each
descends through the generator (`steered`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.discover import regress
from dseinvert.editing.interfacegan import boundary, split
from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.latent import Latent, concat
from dseinvert.similarity.features import FeatureDistance
from recipe.labels.labelled import (
    CELEBA_TO_FFHQ,
    attributes,
    evened,
    read_labelled,
    taught,
)
from recipe.labels.scorers import (
    FACE,
    HEAD,
    Box,
    FaceFeatures,
    Scorer,
    appearance,
    fit_scorer,
    relit,
)
from recipe.labels.shaken import shake
from recipe.labels.steered import Faces, Steering, steer

RELIT = 2
"""Copies of the aged pictures in other light, for the scorer of age."""
STEP = 1.5
DAMPING = 1.0
"""Of taking out what else a direction moves: 0 = wholly, at the cost of identity."""
WEAK = 0.1
"""Deviations of its own score; what else a direction moves that is weaker is only noise."""
BUNDLED = (
    *("age", "smile", "pose", "gender", "eyeglasses"),
    *("hair", "beard", "mouth-open", "bangs", "light"),
)
BESIDE = ("makeup", "hat", "pitch", "brightness", "contrast", "saturation")
"""Told apart from the others as well, but no directions."""
HALF = ("gender",)
"""Half of which are boundaries (InterFaceGAN) between the highest and the lowest scores."""
ENDS = 0.1
"""Share of the pictures on each side of them."""
POSED, LOOKS = ("pose", "pitch"), ("brightness", "contrast", "saturation")
COMPANIONS = (
    *({"smile", "mouth-open"}, {"age", "hair"}, {"gender", "beard"}, {"gender", "makeup"}),
    *({"hair", "brightness"}, {"light", "brightness"}, {"light", "contrast"}),
)
"""What may go along with each other."""
MEANT = {"hair": "hair from black to fair", "light": "light from the right"}
"""What a name alone does not tell."""
AGAIN = {"age": 1.45, "gender": 1.3, "eyeglasses": 1.3}
"""Which descend once more, leaving more beside the head, and go half of that way; how much longer
they are there than their own scorers ask, who see more of them than others do (see the docs)."""
UNTINTED = ("age", "smile", "pose", "eyeglasses", "mouth-open")
"""Which do not mean the colours of a head."""
_HEADED = ("hair", "bangs", "hat")
Floats = NDArray[np.float64]
Quality = dict[str, dict[str, float]]
"""Numbers on each direction, by name."""
Edited = Callable[[Tensor, Tensor], Tensor]
"""A vector [L, D] and strengths [B] -> pictures [B, 3, R, R] of the latents moved so."""


@dataclass(frozen=True)
class Effort:
    """How much is looked at to measure directions."""

    pictures: int = 64
    """Inverted pictures that show how far an edit moves the scores."""
    faces: int = 512
    """Inverted pictures that directions descend on."""
    steering: Steering = field(default_factory=Steering)
    again: Steering = field(default_factory=partial(Steering, steps=800, beside=40.0, shaken=True))
    """Of AGAIN, from where the first descent ended."""


@dataclass(frozen=True)
class Scorers:
    """Everything that is scored, each network looking once."""

    features: dict[Box, FaceFeatures]
    linear: dict[str, Scorer]

    def __call__(self, images: Tensor) -> Tensor:
        """FFHQ-framed [B, 3, H, W] in [-1, 1] -> [B, A]: BUNDLED, then BESIDE; with a gradient."""
        parts = images.split(16)
        return torch.cat([self.of(few, self._seen(few)) for few in parts])

    def _seen(self, images: Tensor) -> dict[Box, Tensor]:
        return {box: features.seen(images, box) for box, features in self.features.items()}

    def of(self, images: Tensor, seen: dict[Box, Tensor]) -> Tensor:
        """The same where the features [B, K] of each part are known."""
        found = {name: one.of(seen[one.box]) for name, one in self.linear.items()}
        found["light"] = side_light(images)
        looks = appearance(part(images, FACE)).unbind(1)
        found |= dict(zip(("brightness", "contrast", "saturation"), looks, strict=True))
        return torch.stack([found[name] for name in (*BUNDLED, *BESIDE)], dim=1)


def find_directions(
    generator: StyleGAN2,
    encoder: Encoder,
    images: Tensor,
    rows: Tensor,
    labelled: Path,
    aged: Path,
    sha256: str,
    effort: Effort,
) -> tuple[dict[str, Direction], Quality]:
    """The directions BUNDLED, and numbers on each.

    Args:
        images: [N, 3, R, R] that the networks have learned from.
        rows: [N, L, D], their codes.
        labelled: tar of CelebA's pictures; half of them is used.
        aged: tar of pictures with ages.
        sha256: of the generator's weights.
    """
    scorers, seen, quality = fit_scorers(images, labelled, aged)
    picked = images[:: max(1, len(images) // effort.faces)][: effort.faces]
    with torch.no_grad():
        latents = concat([encoder.encode(few) for few in picked.split(16)])
    scores = scorers.of(images, seen)
    return told_apart(generator, latents, rows, scores, scorers, quality, sha256, effort)


@torch.no_grad()
def told_apart(
    generator: StyleGAN2,
    faces: Latent,
    rows: Tensor,
    scores: Tensor,
    scorers: Callable[[Tensor], Tensor],
    quality: Quality,
    sha256: str,
    effort: Effort,
) -> tuple[dict[str, Direction], Quality]:
    """Directions from codes [N, L, D] and their scores [N, A], measured on some of `faces`.

    One that does not move its own score is left out; its calibration is 0.
    """
    steps = regress(rows, scores)
    deviation = scores.std(0)
    latents = faces[:: max(1, len(faces) // effort.pictures)][: effort.pictures]

    def edited(vector: Tensor, strengths: Tensor) -> Tensor:
        return _edited(generator, latents, vector, strengths)

    vectors = decoupled(steps, effects(steps, edited, scorers) / deviation)[: len(BUNDLED)]
    for k in map(BUNDLED.index, HALF):
        normal = boundary(rows, split(scores[:, k].double().numpy(), ENDS)).normal
        pair = torch.stack([vectors[k], normal * vectors[k].norm()])
        vectors[k] = halved(pair, effects(pair, edited, scorers)[:, k] / deviation[k])
    vectors, moved = descended(generator, faces, vectors, edited, scorers, deviation, effort)
    directions = {}
    for k, name in enumerate(BUNDLED):
        factor = float(1 / moved[k, k]) if moved[k, k] > 0 else 0.0
        worst = float((moved[k].abs() * factor).index_fill(0, torch.tensor(k), 0).max())
        quality.setdefault(name, {})
        quality[name] |= {
            "calibration": factor,
            "worst_other": worst,
            "deviation": float(deviation[k]),
        }
        words = f"one standard deviation of {MEANT.get(name, name)} over the pictures learned from"
        if factor > 0:
            directions[name] = Direction(name, vectors[k] * factor, "w+", words, sha256)
    return directions, quality


def descended(
    generator: StyleGAN2,
    faces: Latent,
    vectors: Tensor,
    edited: Edited,
    scorers: Callable[[Tensor], Tensor],
    unit: Tensor,
    effort: Effort,
) -> tuple[Tensor, Tensor]:
    """The vectors [V, L, D] after their descents, and how far each moves each score: [V, A]."""
    moved = effects(vectors, edited, scorers) / unit
    if effort.steering.steps:
        vectors = steered(generator, faces, _by_one(vectors, moved), scorers, unit, effort.steering)
        moved = effects(vectors, edited, scorers) / unit
    if effort.again.steps:
        first = _by_one(vectors, moved)
        second = steered(generator, faces, first, scorers, unit, effort.again)
        seen = effects(second, edited, partial(shaken, scorers)) / unit
        second, seen = _by_one(second, seen), seen / seen.diagonal().clamp_min(WEAK)[:, None]
        for name, longer in AGAIN.items():
            k = BUNDLED.index(name)
            vectors[k], moved[k] = (first[k] + longer * second[k]) / 2, seen[k]
    return vectors, moved


def _by_one(vectors: Tensor, moved: Tensor) -> Tensor:
    """Each as long as moves its own score by one, but for those that hardly move it."""
    return vectors / moved.diagonal().clamp_min(WEAK)[:, None, None]


def shaken(scorers: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Scores [B, A] that descent has not seen: of pictures that are moved and lit a little."""
    return scorers(shake(len(images), torch.Generator().manual_seed(1))(images))


def steered(
    generator: StyleGAN2,
    faces: Latent,
    vectors: Tensor,
    scorers: Callable[[Tensor], Tensor],
    unit: Tensor,
    options: Steering,
) -> Tensor:
    """The vectors [V, L, D], each of a deviation, after descent on these faces."""

    def scoring(images: Tensor) -> Tensor:
        return scorers(images) / unit

    images = torch.cat([generator.synthesize(few) for few in parted(faces, 16)])
    tinted = torch.tensor([float(name in UNTINTED) for name in BUNDLED])
    known, distance = Faces(faces, images), FeatureDistance().requires_grad_(False)
    with torch.enable_grad():
        return steer(generator, known, vectors, scoring, spared(), tinted, distance, options)


def spared() -> Tensor:
    """How much each of BUNDLED shall leave each score alone: [V, A]."""
    names = (*BUNDLED, *BESIDE)
    wanted = torch.ones(len(BUNDLED), len(names))
    for k, name in enumerate(BUNDLED):
        for j, other in enumerate(names):
            if other in POSED or other in LOOKS:
                wanted[k, j] = 3
            if {name, other} in COMPANIONS:
                wanted[k, j] = 0.2
        wanted[k, k] = 0
    return wanted


def effects(vectors: Tensor, edited: Edited, scores: Callable[[Tensor], Tensor]) -> Tensor:
    """How far a step along each vector [V, L, D] moves each score: [V, A], means over pictures.

    Every other picture is moved the other way.
    """
    before = scores(edited(vectors[0], torch.zeros(1)))
    signs = STEP * (1 - 2 * (torch.arange(len(before)) % 2)).float()
    moved = [scores(edited(vector, signs)) - before for vector in vectors]
    return torch.stack([(one / signs[:, None]).mean(0) for one in moved])


def decoupled(vectors: Tensor, moved: Tensor) -> Tensor:
    """Vectors [A, L, D] that move each score [A, A] by one, and the others less.

    Those for the k-th are the c that minimises |c U - e_k|^2 + DAMPING |c - e_k|^2, U being the
    effects where each vector has the length that moves its own score by one. Vectors that hardly
    move their own score are left as they are, and out of the others.
    """
    own = moved.diag()
    strong = (own >= WEAK).nonzero()[:, 0]
    one = torch.where(own > 0, 1 / own, torch.ones_like(own))
    scaled = vectors * one[:, None, None]
    effect = (moved * one[:, None])[strong]
    eye = torch.eye(len(strong))
    wanted = effect[:, strong] + DAMPING * eye
    share = torch.linalg.solve(effect @ effect.T + DAMPING * eye, wanted)
    mixed = scaled.clone()
    mixed[strong] = torch.einsum("jk,jld->kld", share, scaled[strong])
    return mixed


def halved(pair: Tensor, own: Tensor) -> Tensor:
    """Half of each of two vectors [2, L, D], so long that they move their score by one.

    `own`: how far they move it as they are, [2]; where one hardly does, the first is left as it is.
    """
    return (pair / own[:, None, None]).mean(0) if (own >= WEAK).all() else pair[0]


def _edited(generator: Generator, latents: Latent, vector: Tensor, strengths: Tensor) -> Tensor:
    step = Direction("step", vector, "w+", "", "")
    strengths = strengths.expand(len(latents))
    pictures = []
    for start, few in zip(range(0, len(latents), 16), parted(latents, 16), strict=True):
        moved = apply_edits(few, [Edit(step, strengths[start : start + 16])], generator)
        pictures.append(generator.synthesize(moved).clamp(-1, 1))
    return torch.cat(pictures)


def parted(latents: Latent, batch: int) -> Iterator[Latent]:
    """Latents in batches."""
    return (latents[start : start + batch] for start in range(0, len(latents), batch))


# --- Scorers -------------------------------------------------------------------------------------


def fit_scorers(
    images: Tensor, labelled: Path, aged: Path
) -> tuple[Scorers, dict[Box, Tensor], Quality]:
    """The scorers, the features of `images`, and how well each scorer does."""
    side = images.shape[-1]
    features = {box: FaceFeatures(round(side * (box[2] - box[0]))) for box in (FACE, HEAD)}
    seen = {box: look(images, box) for box, look in features.items()}
    fits = {}
    people, table = read_labelled(aged, "ages.csv")
    look = features[FACE]
    versions = [look(people), *(look(relit(people, seed)) for seed in range(RELIT))]
    fits["age"] = fit_scorer(look, versions, table["age_years"])
    for name, turned in zip(POSED, pose(images[::2]), strict=True):
        fits[name] = fit_scorer(look, [seen[FACE][::2]], turned)
    people, table = read_labelled(labelled, "attributes.csv", CELEBA_TO_FFHQ)
    mine = taught(len(people))
    columns = attributes({name: column[mine] for name, column in table.items()})
    weights = evened(columns)
    columns |= {"makeup": table["Heavy_Makeup"][mine], "hat": table["Wearing_Hat"][mine]}
    copies = (people[mine], relit(people, RELIT)[mine])
    for box, look in features.items():
        versions = [look(copy, box) for copy in copies]
        for name in columns:
            if (name in _HEADED) == (box == HEAD):
                fits[name] = fit_scorer(look, versions, columns[name], weights.get(name), box)
    quality = {name: {"scorer_correlation": fit[1]} for name, fit in fits.items()}
    return Scorers(features, {name: fit[0] for name, fit in fits.items()}), seen, quality


def part(images: Tensor, box: Box) -> Tensor:
    """The pixels of [B, 3, H, W] in a box."""
    height, width = images.shape[-2:]
    left, top, right, bottom = box
    rows = slice(round(top * height), round(bottom * height))
    return images[..., rows, round(left * width) : round(right * width)]


def side_light(images: Tensor) -> Tensor:
    """How much brighter the right half of the face is than the left: [B]."""
    grey, side = images.mean(1), images.shape[-1]
    rows = grey[:, side // 3 : 3 * side // 4]
    left = rows[..., side // 4 : side // 2]
    right = rows[..., side // 2 : 3 * side // 4]
    return right.mean((1, 2)) - left.mean((1, 2))


def pose(images: Tensor) -> tuple[Floats, Floats]:
    """How far faces are turned aside and nod, each [N], where the nose lies between eyes and mouth.

    Yaw in distances of the eyes, pitch in that from the eyes to the mouth. Pictures without a
    detected face score the mean.
    """
    from dseinvert.faces.detect import open_detector

    detector = open_detector("embedded")
    found = []
    for image in images:
        (pixels,) = to_pixels(image[None])
        faces = detector.detect(cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_CUBIC))
        points = faces[0].points if faces else np.full((5, 2), np.nan)
        left, right, nose = points[:3]
        eyes, mouth = (left + right) / 2, points[3:].mean(0)
        yaw = (nose[0] - eyes[0]) / np.linalg.norm(right - left)
        found.append((yaw, (nose[1] - eyes[1]) / np.linalg.norm(mouth - eyes)))
    both = np.array(found, dtype=np.float64).T
    yaws, pitches = np.where(np.isnan(both), np.nanmean(both, axis=1)[:, None], both)
    return yaws, pitches
