"""Labelled photos: what teaches scorers, and which of them are kept back to judge directions."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.training.pictures import read_tar
from recipe.pictures import to_tensor

LABELLED = "labelled-faces-178x218.tar"
CELEBA_TO_FFHQ = (3, 30, 175, 202)
"""Left, top, right, bottom of the FFHQ framing in CelebA's 178x218 crop."""
Columns = dict[str, NDArray[np.float64]]


def read_labelled(
    tar: Path, table: str, crop: Sequence[int] | None = None, side: int = 128
) -> tuple[Tensor, Columns]:
    """Pictures [N, 3, side, side] of a tar and the columns of the table that lies beside them."""
    with tarfile.open(tar) as file:
        member = next(m for m in file if Path(m.name).name == table)
        stream = file.extractfile(member)
        assert stream is not None
        rows = sorted(
            csv.DictReader(stream.read().decode().splitlines()), key=lambda row: row["file"]
        )
    pictures = read_tar(tar, side, crop)
    if len(rows) != len(pictures):
        raise ValueError(f"{tar}: {len(pictures)} pictures, {len(rows)} rows in {table}")
    names = [name for name in rows[0] if name != "file"]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in names}
    return to_tensor(pictures, side), columns


def taught(count: int) -> NDArray[np.int64]:
    """The photos that teach the scorers of directions: every other one."""
    return np.arange(0, count, 2)


def kept_back(count: int) -> NDArray[np.int64]:
    """The others, which only judges of directions have seen."""
    return np.arange(1, count, 2)


def attributes(table: Mapping[str, NDArray[np.float64]]) -> Columns:
    """CelebA's columns (1 or -1) as directions name them; 0 is neither."""
    fair, dark = table["Blond_Hair"] > 0, table["Black_Hair"] > 0
    return {
        "smile": table["Smiling"],
        "gender": table["Male"],
        "eyeglasses": table["Eyeglasses"],
        "hair": fair.astype(np.float64) - dark,
        "beard": -table["No_Beard"],
        "mouth-open": table["Mouth_Slightly_Open"],
        "bangs": table["Bangs"],
    }


EVEN = {
    "smile": "mouth-open",
    "mouth-open": "smile",
    "eyeglasses": "gender",
    "hair": "gender",
    "bangs": "gender",
}
"""Of which attribute a scorer is to know nothing: people who smile show their teeth more often."""
ONLY = {"beard": ("gender", 1), "gender": ("beard", -1)}
"""Among whom two are told apart where nobody has both."""


def evened(columns: Columns) -> Columns:
    """How much each photo [N] counts for a scorer, by the names of `attributes`.

    Both values of an attribute weigh alike, and so they do among those with the attribute that
    it goes along with and among those without; 0 = not one of those that are to be told apart.
    """
    weights = {}
    for name, labels in columns.items():
        beside = columns[EVEN[name]] if name in EVEN else np.zeros(len(labels))
        cells = np.unique(np.stack([labels, beside], 1), axis=0, return_inverse=True)[1].ravel()
        meant = np.ones(len(labels), dtype=bool)
        if name in ONLY:
            other, value = ONLY[name]
            meant = columns[other] == value
        counts = np.bincount(cells[meant], minlength=int(cells.max()) + 1)
        weights[name] = np.where(meant, 1 / np.maximum(counts, 1)[cells], 0)
        weights[name] *= meant.sum() / weights[name].sum()
    return weights
