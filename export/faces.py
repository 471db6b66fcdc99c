"""The faces of a folder of photos, as an encoder sees them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dseinvert.errors import InputError, NoInputError
from dseinvert.faces.align import crop, face_quad
from dseinvert.faces.detect import open_detector
from dseinvert.media.images import read_image
from dseinvert.media.scan import scan
from dseinvert.models import Model

MOST = 64  # faces: enough to compare and to calibrate on


def read_faces(folder: Path, model: Model) -> Tensor:
    """[N, 3, R, R] in [-1, 1], N at most MOST; whole pictures where the model aligns nothing.

    Raises:
        NoInputError: there are none.
    """
    side = model.generator.resolution
    detector = None if model.alignment == "none" else open_detector()
    crops: list[np.ndarray] = []
    for file in scan([str(folder)]).files:
        if len(crops) >= MOST:
            break
        try:
            photo = read_image(file)
        except InputError:
            continue
        if detector is None:
            crops.append(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA))
        else:
            quads = (face_quad(face.points) for face in detector.detect(photo))
            crops += [crop(photo, quad, side) for quad in quads]
    if not crops:
        raise NoInputError(f"--images {folder}: no faces in it")
    stacked = torch.from_numpy(np.stack(crops[:MOST]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1
