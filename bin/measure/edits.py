"""How far edits move what independent networks see in a face, and whether it stays the person."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dseinvert.editing.apply import apply_edits
from dseinvert.editing.edits import Edits, parse_all
from dseinvert.errors import MissingError
from dseinvert.generators.pixels import to_pixels
from dseinvert.latent import Latent, concat
from dseinvert.media.atomic import write_bytes
from dseinvert.media.images import encode_png
from dseinvert.models import Model
from measure import asked
from measure.asked import Verb
from measure.sets import SCORES, Judges, cosine, inverting, judges, opened, photos, samples
from measure.tables import Cell, Spread, Table, watched

SHOWN, TILE = 12, 128
NOTE = (
    "Means over the faces, with the standard deviation of the change. The first row is the step "
    "from the source to its reconstruction, the others from the reconstruction to the edit. Years "
    "and man: face-api.js's age and gender network; yaw and mouth: its 68 points; identity: cosine "
    "of MobileFaceNet embeddings. None of them took part in finding the directions, and directions "
    "that none of them is about have no scorer here."
)


def edits(given: argparse.Namespace) -> list[Table]:
    """One row an edit, and a picture of the first faces."""
    model, panel = opened(given), judges(given.data)
    if panel is None:
        raise MissingError(f"{given.data}/models: no scorers here", "name their folder with --data")
    wanted = parse_all(given.edit, model.directions)
    source, what = photos(given, model.generator.resolution), "real photos"
    if source is None:
        source, what = samples(model, given.count or 250), "fresh samples"
    pictures = drawn(model, source, wanted, given.batch)
    grid = given.grid or (given.out or Path("edits")).with_suffix(".png")
    write_bytes(grid, encode_png(side_by_side(source, pictures)))
    return [
        Table(f"Edits by {model.name}: {len(source)} {what}", rows(source, pictures, panel), NOTE)
    ]


@torch.inference_mode()
def drawn(model: Model, source: Tensor, wanted: Edits, batch: int) -> dict[str, Tensor]:
    """The pictures of the reconstruction and of each edit, by name, in columns."""
    inverter = inverting(model)
    shots = watched("inverting", source.split(batch))
    latents: list[Latent] = [inverter.invert(shot).latent for shot in shots]
    latent = concat(latents).with_origin(generator_sha256=model.sha256)
    pictures = {}
    for name, steps in {"reconstruction": (), **wanted}.items():
        parts = [latent[i : i + batch] for i in range(0, len(latent), batch)]
        moved = (apply_edits(part, steps, model.generator) for part in watched(name, parts))
        pictures[name] = torch.cat([inverter.render(part).cpu() for part in moved])
    return pictures


def rows(source: Tensor, pictures: dict[str, Tensor], panel: Judges) -> list[dict[str, Cell]]:
    """What each step changed."""
    people = panel.who(source)
    recon, recon_people = panel.scores(source), people
    table: list[dict[str, Cell]] = []
    for name, images in pictures.items():
        seen, now = panel.scores(images), panel.who(images)
        row: dict[str, Cell] = {"edit": name}
        for unit in SCORES.values():
            row[unit] = spread(seen[unit] - recon[unit])
        row["identity to reconstruction"] = float(cosine(recon_people, now).mean())
        row["to source"] = float(cosine(people, now).mean())
        table.append(row)
        if name == "reconstruction":
            recon, recon_people = seen, now
    table[0]["identity to reconstruction"] = None
    return table


def spread(change: Tensor) -> Spread:
    """Of [B]."""
    return Spread(float(change.mean()), float(change.std(correction=0)))


def side_by_side(source: Tensor, pictures: dict[str, Tensor]) -> np.ndarray:
    """uint8 picture: a row a face; source, reconstruction and edits from left to right."""
    columns = [
        [cv2.resize(p, (TILE, TILE), interpolation=cv2.INTER_CUBIC) for p in to_pixels(images)]
        for images in (source[:SHOWN], *(images[:SHOWN] for images in pictures.values()))
    ]
    return np.hstack([np.vstack(column) for column in columns])


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.photos(parser, batch=16)
    add = parser.add_argument
    add("--edit", action="append", required=True, metavar="NAME=STRENGTH[,...]")
    add("--grid", type=Path, help="PNG; default: beside --out, or edits.png")


VERB = Verb("how far edits move held-out scorers, and whom they leave", options, edits)
