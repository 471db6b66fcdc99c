"""How far the scorers can be trusted: their errors on labelled faces they are meant for."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dseinvert.errors import MissingError
from dseinvert.generators.pixels import to_tensor
from dseinvert.similarity.identity import Box, crop
from dseinvert.training.pictures import read_tar
from measure import asked
from measure.asked import Verb
from measure.scorers import WHOLE, yaw
from measure.sets import REAL, Judges, cosine, judges, median
from measure.tables import Cell, Table, watched
from recipe.labels.labelled import CELEBA_TO_FFHQ, read_labelled

AGED, LABELLED = "aged-faces-200-tight.tar", "labelled-faces-178x218.tar"
Values = NDArray[np.float32]


def trust(given: argparse.Namespace) -> list[Table]:
    """One table; a row a claim."""
    panel = judges(given.data)
    if panel is None:
        raise MissingError(f"{given.data}/models: no scorers here", "name their folder with --data")
    with torch.inference_mode():
        found = {
            **aged(panel, given.data / AGED, given.count),
            **labelled(panel, given.data / LABELLED, given.count),
            **real(panel, given.data / REAL, given.count),
        }
    return [Table("The scorers themselves", [{"what": k, "value": v} for k, v in found.items()])]


def aged(panel: Judges, file: Path, count: int | None) -> dict[str, Cell]:
    """The age network on tight crops of people from 16 to over 100."""
    images, labels = read_labelled(file, "ages.csv", side=200)
    years, male = labels["age_years"][:count], labels["male"][:count] > 0
    parts = [panel.age(part, WHOLE) for part in watched("ages", images[:count].split(50))]
    ages, men = (torch.cat(values).numpy() for values in zip(*parts, strict=True))
    return {
        "age: mean absolute error, years": float(np.abs(ages - years).mean()),
        "age: bias, years": float((ages - years).mean()),
        "age: correlation": float(np.corrcoef(ages, years)[0, 1]),
        "gender of the same, % right": right(men > 0.5, male),
    }


def labelled(panel: Judges, file: Path, count: int | None) -> dict[str, Cell]:
    """In FFHQ's framing: does it tell the young from the old, men from women, smiles?"""
    images, labels = read_labelled(file, "attributes.csv", CELEBA_TO_FFHQ, side=172)
    parts = [panel.scores(part) for part in watched("attributes", images[:count].split(50))]
    scores = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    is_so = {name: values[:count] > 0 for name, values in labels.items()}
    youth, smile = -scores["years"], scores["mouth, % of eyes"]
    return {
        "age in FFHQ framing: area under the curve of Young": area(youth, is_so["Young"]),
        "gender in FFHQ framing, % right": right(scores["man, %"] > 50, is_so["Male"]),
        "mouth width: area under the curve of Smiling": area(smile, is_so["Smiling"]),
    }


def real(panel: Judges, file: Path, count: int | None) -> dict[str, Cell]:
    """Is a person like himself and unlike others; are mirrored heads turned the other way?"""
    faces = to_tensor(list(read_tar(file, 256)[:count]))
    who = panel.who(faces)
    moved = crop(faces.flip(3), Box(0.03, 0.02, 1.01, 1.0), 256, 256) * 0.85 + 0.05
    again = panel.who(moved)
    small = F.interpolate(faces, (64, 64), mode="area")
    others = (who @ who.T)[~torch.eye(len(who), dtype=torch.bool)]
    turned, mirrored = (yaw(panel.landmarks(images)) for images in (faces, faces.flip(3)))
    return {
        "identity: cosine to oneself mirrored, moved, dimmed": median(cosine(who, again)),
        "identity: cosine to oneself at 64 px": median(cosine(who, panel.who(small))),
        "identity: cosine to others": median(others),
        "identity: 99 % of others are below": float(np.quantile(others.numpy(), 0.99)),
        "yaw: mean disagreement with the mirror image, °": float((turned + mirrored).abs().mean()),
        "yaw: standard deviation, °": float(turned.std()),
    }


def right(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """How many of 100 agree."""
    return float(100 * (found == true).mean())


def area(scores: Values, positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve: how often a positive scores above a negative."""
    higher = scores[positive][:, None] - scores[~positive][None]
    return float((higher > 0).mean() + (higher == 0).mean() / 2)


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.sets(parser)


VERB = Verb("how far the scorers can be trusted", options, trust)
