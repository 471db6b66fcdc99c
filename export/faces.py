"""The faces of a folder of photos, as an encoder sees them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from dseinvert.errors import InputError, NoInputError
from dseinvert.faces.crops import faces_of
from dseinvert.generators.pixels import to_tensor
from dseinvert.media.images import read_image
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import scan
from dseinvert.models import Model

MOST = 64  # faces: enough to compare and to calibrate on


def read_faces(folder: Path, model: Model) -> Tensor:
    """[N, 3, R, R] in [-1, 1], N at most MOST, cropped as every run crops them.

    Raises:
        NoInputError: there are none.
    """
    side, detector = model.generator.resolution, model.detector()
    crops: list[Pixels] = []
    for file in scan([str(folder)]).files:
        if len(crops) >= MOST:
            break
        try:
            crops += [crop.pixels for crop in faces_of(read_image(file), side, detector)]
        except InputError:
            continue
    if not crops:
        raise NoInputError(f"--images {folder}: no faces in it", "upright photos of people")
    return to_tensor(crops[:MOST])
