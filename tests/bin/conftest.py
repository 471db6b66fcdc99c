"""A made-up folder of data: the sets that the recipe and the measurements read, a few each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dseinvert.generators.pixels import to_pixels
from dseinvert.media.images import encode_png
from dseinvert.models import open_model
from recipe.gan.pieces import tar_bytes
from recipe.order import HELD_OUT

FACES, LABELLED = 80, 40
"""How many different ones there are, and of how many there are labels."""
COLUMNS = (
    *("Young", "Male", "Smiling", "Eyeglasses", "Blond_Hair", "Black_Hair", "No_Beard"),
    *("Mouth_Slightly_Open", "Bangs", "Heavy_Makeup", "Wearing_Hat"),
)


def drawn_faces() -> np.ndarray:
    """Faces of the bundled model, which are nobody's: uint8 [FACES, 128, 128, 3]."""
    generator = open_model("default").generator
    with torch.inference_mode():
        parts = [generator.sample(range(k, k + 10)) for k in range(0, FACES, 10)]
        return np.concatenate([to_pixels(generator.synthesize(part)) for part in parts])


def table(columns: Mapping[str, np.ndarray]) -> bytes:
    """A CSV file with a row a picture."""
    lines = zip(*columns.values(), strict=True)
    rows = [f"{n:05}.png,{','.join(map(str, line))}" for n, line in enumerate(lines)]
    return "\n".join([",".join(["file", *columns]), *rows, ""]).encode()


def labels() -> dict[str, np.ndarray]:
    """1 or -1 of each of COLUMNS, by chance; the faces that judge scorers are beardless."""
    rng = np.random.default_rng(0)
    found = {name: rng.choice([-1, 1], LABELLED) for name in COLUMNS}
    found["No_Beard"][::10], found["Male"][::20] = 1, 1
    return found


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as --data names it, without scorers."""
    folder = tmp_path_factory.mktemp("data")
    faces = drawn_faces()
    small = {f"{n:05}.png": encode_png(cv2.resize(face, (24, 24))) for n, face in enumerate(faces)}
    unseen = {f"{n:05}.png": small["00000.png"] for n in range(FACES, FACES + HELD_OUT)}
    write(folder / "synthetic-faces-256.tar", small | unseen)
    large = {f"{n:05}.png": cv2.resize(faces[n], (178, 178)) for n in range(LABELLED)}
    tall = {n: encode_png(np.pad(f, ((30, 10), (0, 0), (0, 0)))) for n, f in large.items()}
    write(folder / "labelled-faces-178x218.tar", tall | {"attributes.csv": table(labels())})
    tight = {n: encode_png(face[50:170, 30:150]) for n, face in large.items()}
    ages = {"age_years": np.arange(LABELLED) + 20, "male": labels()["Male"]}
    write(folder / "aged-faces-200-tight.tar", tight | {"ages.csv": table(ages)})
    real = {name: encode_png(face) for name, face in list(large.items())[:4]}
    write(folder / "real-faces-256-validation.tar", real)
    return folder


def write(file: Path, files: Mapping[str, bytes]) -> None:
    """A tar of these files."""
    file.write_bytes(tar_bytes(files))
