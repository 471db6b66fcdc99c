"""From a photo to the squares that an encoder takes: its faces, or the photo as it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dseinvert.faces.align import crop, face_quad
from dseinvert.faces.detect import Detector
from dseinvert.media.pixels import Doubles, Pixels


@dataclass(frozen=True)
class Crop:
    """One face as the encoder sees it."""

    pixels: Pixels
    """[R, R, 3] sRGB."""
    quad: Doubles
    """[4, 2] its corners in the photo: top-left, bottom-left, bottom-right, top-right."""
    score: float = 1.0
    """How sure the detector is, from 0 to 1."""


def faces_of(photo: Pixels, side: int, detector: Detector | None) -> list[Crop]:
    """The faces of a photo at `side` pixels, the largest first; the whole photo without a detector.

    Raises:
        InputError: points that span no face.
    """
    if detector is None:
        return [whole(photo, side)]
    found = [(face_quad(face.points), face.score) for face in detector.detect(photo)]
    return [Crop(crop(photo, quad, side), quad, score) for quad, score in found]


def whole(photo: Pixels, side: int) -> Crop:
    """The whole photo at `side` x `side` pixels."""
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]]) - 0.5
    method = cv2.INTER_AREA if min(height, width) > side else cv2.INTER_CUBIC
    if (height, width) != (side, side):
        photo = cv2.resize(photo, (side, side), interpolation=method)
    return Crop(photo, corners)
