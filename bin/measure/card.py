"""The numbers of a model card: how sharp and how close, what samples are like, what edits do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.editing.edits import parse_all
from dseinvert.errors import MissingError
from dseinvert.faces.detect import open_detector
from dseinvert.faces.search import find_faces
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.latent import Latent, concat
from dseinvert.media.atomic import write_bytes
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, open_model, pick_device
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training.pictures import read_tar
from dseinvert.training.record import grid
from measure import asked
from measure.asked import Verb
from measure.edits import drawn as edited
from measure.scorers import head_mask, pitch, yaw
from measure.sets import FRESH, REAL, SCORES, Judges, cosine, inverting, judges, median, perceptual
from measure.tables import Cell, Table, watched
from recipe.detail import detail, share_kept
from recipe.gan.frechet import frechet, spread
from recipe.labels.attributes import parted
from recipe.order import HELD_OUT
from recipe.sharp import STORED, critics_pictures

SYNTHETIC = "synthetic-faces-256.tar"
PSI, SHOWN = 0.7, 12
FREE = 500
"""Samples at psi 1 that are compared as a set."""
LOOKED_AT = 320
Judge = Callable[[Tensor, Tensor], Tensor]
"""Two batches of images [B, 3, S, S] -> their distances [B]."""
NOTE = (
    "Medians of reconstructions, means of edits. Each model is given pictures of its own size; "
    "what it draws is brought to the size of the comparison (area down, bicubic up). Detail: "
    "energy of a picture less its 3x3 means, against that of what it should be. Features: "
    "EfficientNet-lite0. Identity: cosine of MobileFaceNet embeddings. Years, man, and the "
    "points behind yaw, pitch and mouth: face-api.js. Outside: mean absolute change of 255 "
    "outside an ellipse about the head."
)


@dataclass(frozen=True)
class Pictures:
    """A set of pictures at any size."""

    name: str
    file: Path
    part: slice

    def at(self, side: int) -> Tensor:
        """[N, 3, side, side] in [-1, 1]."""
        return to_tensor(list(read_tar(self.file, side)[self.part]))

    def varied(self, side: int) -> Tensor:
        """[FREE, 3, side, side], varied as a critic of the recipe sees its pictures."""
        pictures = read_tar(self.file, int(side * STORED))[self.part]
        every = critics_pictures(pictures, side, 50, seed=1)
        return torch.cat([every.at(step) for step in range(FREE // 50)])


def card(given: argparse.Namespace) -> list[Table]:
    """Reconstructions at each size, samples, and edits of each model."""
    panel = judges(given.data)
    if panel is None:
        raise MissingError(f"{given.data}/models: no scorers here", "name their folder with --data")
    models = [open_model(name, pick_device(given.device)) for name in given.model or ["default"]]
    synthetic = given.synthetic or given.data / SYNTHETIC
    photos = Pictures("photos", given.real or given.data / REAL, slice(given.count))
    unseen = Pictures("held-out synthetic", synthetic, slice(-given.held_out, None))
    known = Pictures("training", synthetic, slice(-given.held_out))
    tables = [
        Table(f"Reconstructions at {side} px", rows, NOTE)
        for side in given.size or (64, 128)
        for rows in [reconstructions(models, (photos, unseen), side, panel, given.batch)]
    ]
    sheet = (given.out or Path("card")).with_suffix(".png")
    tables.append(Table("Samples", samples(models, unseen, known, given.samples, sheet), NOTE))
    if given.edit:
        rows = edits(models, photos, given, panel)
        tables.append(Table("Edits of photos, from the reconstruction", rows, NOTE))
    return tables


def reconstructions(
    models: list[Model], sets: tuple[Pictures, ...], side: int, panel: Judges, batch: int
) -> list[dict[str, Cell]]:
    """A row for each set and model, by all that its encoder finds and by w+ alone."""
    distances: dict[str, Judge] = {"features": FeatureDistance()}
    if (named := perceptual()) is not None:
        distances = dict([named], **distances)
    rows: list[dict[str, Cell]] = []
    for pictures in sets:
        real = pictures.at(side)
        for model in models:
            for way, drawn in redrawn(model, pictures, batch).items():
                again = brought(drawn, side)
                place: dict[str, Cell] = {"set": pictures.name, "model": model.name, "by": way}
                rows.append(place | likeness(real, again, panel, distances))
    return rows


@torch.inference_mode()
def redrawn(model: Model, pictures: Pictures, batch: int) -> dict[str, Tensor]:
    """What a model draws of pictures of its own size: with F where it has one, and by w+ alone."""
    inverter = inverting(model)
    parts = watched(
        f"{model.name}, {pictures.name}", pictures.at(model.generator.resolution).split(batch)
    )
    found = concat([inverter.invert(part).latent for part in parts])
    ways = {"w+": Latent(found.code, found.space)}
    if found.feature is not None:
        ways = {"F": found, **ways}
    return {
        name: torch.cat([inverter.render(part).cpu() for part in parted(latent, batch)])
        for name, latent in ways.items()
    }


@torch.inference_mode()
def likeness(
    real: Tensor, again: Tensor, panel: Judges, distances: Mapping[str, Judge]
) -> dict[str, Cell]:
    """How sharp and how close reconstructions [N, 3, S, S] are."""
    error = (again - real).square().mean((1, 2, 3)) / 4
    pairs = list(zip(real.split(50), again.split(50), strict=True))
    return {
        "detail": share_kept(again, real),
        "PSNR, dB": median(-10 * error.log10()),
        **{
            name: median(torch.cat([distance(a, b) for a, b in pairs]))
            for name, distance in distances.items()
        },
        "identity": median(cosine(panel.who(real), panel.who(again))),
    }


def samples(
    models: list[Model], unseen: Pictures, known: Pictures, count: int, sheet: Path
) -> list[dict[str, Cell]]:
    """A row for each model; a picture of samples, each above its nearest training picture."""
    rows: list[dict[str, Cell]] = []
    lines: list[Tensor] = []
    features = FeatureDistance()
    size = max(one.generator.resolution for one in models)
    for model in models:
        side = model.generator.resolution
        calm, free = sampled(model, count, PSI), sampled(model, FREE, 1)
        near, apart = nearest(calm[:SHOWN], known.at(side))
        lines += [brought(part, size) for part in (calm[:SHOWN], near, free[:SHOWN])]
        alone = float(sum(map(one_face, to_pixels(calm))))
        row: dict[str, Cell] = {"model": model.name, f"one face in, of {count} at psi {PSI}": alone}
        for name, real in {"as taken": unseen.at(side), "varied": unseen.varied(side)}.items():
            wanted = spread(features, real.split(50))
            row[f"Fréchet, {name}"] = frechet(wanted, spread(features, free.split(50)))
            row[f"detail, {name}"] = float(detail(free).median() / detail(real).median())
        rows.append(row | {"PSNR to the nearest training picture": apart})
    write_bytes(sheet, encode_png(grid(lines)))
    return rows


@torch.inference_mode()
def sampled(model: Model, count: int, psi: float) -> Tensor:
    """[count, 3, R, R] of seeds that nothing was trained on."""
    seeds = torch.arange(FRESH, FRESH + count).split(50)
    drawn = [
        model.generator.synthesize(model.generator.sample(part.tolist(), psi)) for part in seeds
    ]
    return torch.cat(drawn).clamp(-1, 1).cpu()


def one_face(pixels: Pixels) -> bool:
    """Whether a detector finds one face in a sample, shown at the size of a photo."""
    large = cv2.resize(pixels, (LOOKED_AT,) * 2, interpolation=cv2.INTER_CUBIC)
    faces, _ = find_faces(np.ascontiguousarray(large), open_detector("embedded"), 0)
    return len(faces) == 1


def nearest(drawn: Tensor, known: Tensor) -> tuple[Tensor, float]:
    """The known picture, mirrored or not, next to each [N, 3, S, S]; median PSNR between them."""
    both = torch.cat([known, known.flip(3)])
    small = brought(both, 16).flatten(1)
    at = torch.cdist(brought(drawn, 16).flatten(1), small).argmin(1)
    found = both[at]
    error = (drawn - found).square().mean((1, 2, 3)) / 4
    return found, median(-10 * error.log10())


def edits(
    models: list[Model], photos: Pictures, given: argparse.Namespace, panel: Judges
) -> list[dict[str, Cell]]:
    """A row for each model and edit: means over the photos."""
    rows: list[dict[str, Cell]] = []
    for model in models:
        source = photos.at(model.generator.resolution)
        pictures = edited(model, source, parse_all(given.edit, model.directions), given.batch)
        before = pictures.pop("reconstruction")
        seen, people, points = panel.scores(before), panel.who(before), pointed(before, panel)
        outside = ~head_mask(points, before.shape[-1])
        for name, after in pictures.items():
            now, moved = panel.scores(after), pointed(after, panel)
            changed = 127.5 * (after - before).abs().mean(1)
            row: dict[str, Cell] = {"model": model.name, "edit": name}
            row |= {unit: float((now[unit] - seen[unit]).mean()) for unit in SCORES.values()}
            row["pitch, °"] = float((pitch(moved) - pitch(points)).mean())
            row["|yaw|, °"] = float((yaw(moved) - yaw(points)).abs().mean())
            row["|pitch|, °"] = float((pitch(moved) - pitch(points)).abs().mean())
            row["identity"] = float(cosine(people, panel.who(after)).mean())
            row["outside, of 255"] = float((changed * outside).sum() / outside.sum())
            rows.append(row)
    return rows


@torch.inference_mode()
def pointed(images: Tensor, panel: Judges) -> Tensor:
    """[N, 3, S, S] -> the 68 points of each, [N, 68, 2]."""
    return torch.cat([panel.landmarks(part) for part in images.split(50)])


def brought(images: Tensor, side: int) -> Tensor:
    """Images [N, 3, S, S] at another size."""
    if images.shape[-1] >= side:
        return F.interpolate(images, (side, side), mode="area")
    return F.interpolate(images, (side, side), mode="bicubic").clamp(-1, 1)


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.sets(parser)
    asked.real(parser)
    add = parser.add_argument
    add("--model", action="append", metavar="NAME|PATH", help="again for each; default: default")
    add("--synthetic", type=Path, help="tar whose last pictures were held out")
    add("--held-out", type=int, default=HELD_OUT, help="of --synthetic")
    add("--size", type=int, action="append", help="px at which is compared; default: 64 and 128")
    add("--samples", type=int, default=100, help="looked at by the detector")
    add("--edit", action="append", metavar="NAME=STRENGTH[,...]")
    add("--batch", type=int, default=25)


VERB = Verb("what a model card says: reconstructions, samples and edits", options, card)
