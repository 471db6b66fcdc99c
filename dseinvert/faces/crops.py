"""From a photo to the squares that an encoder takes: its faces, or the photo as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from dseinvert.errors import UsageError
from dseinvert.faces.align import crop, face_quad, outside
from dseinvert.faces.detect import MIN_FACE, MIN_SCORE, Detector
from dseinvert.faces.search import Rotate, find_faces
from dseinvert.faces.turns import TURNS, turned, turned_quad
from dseinvert.media.pixels import Doubles, Pixels

# From this share of a crop on it is said that it lies outside the photo.
MUCH_OUTSIDE = 1 / 3


@dataclass(frozen=True)
class Crop:
    """One face as the encoder sees it."""

    pixels: Pixels
    """[R, R, 3] sRGB."""
    quad: Doubles
    """[4, 2] its corners in the photo: top-left, bottom-left, bottom-right, top-right."""
    score: float = 1.0
    """How sure the detector is, from 0 to 1."""
    turn: int = 0
    """Degrees clockwise by which the photo was turned to find it; `quad` tells of them too."""
    aligned: bool = True
    """Whether it is framed as FFHQ frames a face; False = the photo as it is."""


@dataclass(frozen=True)
class Wanted:
    """Which faces of a photo are wanted.

    Raises:
        UsageError: another turn, or a number of faces below 1.
    """

    rotate: Rotate = "auto"
    """Degrees clockwise that set the photo upright; auto = as its faces tell."""
    faces: Literal["largest", "all"] | int = "all"
    """The largest, all, or the largest so many."""
    person: Callable[[Sequence[Pixels]], Sequence[bool]] | None = None
    """Crops -> which of them show the one who is wanted. None = everybody is."""
    min_face: float = MIN_FACE
    """Height in pixels."""
    min_score: float = MIN_SCORE
    """From 0 to 1."""
    limited: bool = False
    """Whether who asks can set these two, so that lower ones are advised."""

    def __post_init__(self) -> None:
        if self.rotate not in ("auto", *TURNS):
            raise UsageError(f"rotate {self.rotate}", "auto, 0, 90, 180 or 270")
        counted = isinstance(self.faces, int) and self.faces >= 1
        if not (counted or self.faces in ("largest", "all")):
            raise UsageError(f"faces {self.faces}", "largest, all, or a number from 1 on")

    @property
    def most(self) -> int | None:
        """How many faces at most; None = no limit."""
        counts = {"largest": 1, "all": None}
        return counts[self.faces] if isinstance(self.faces, str) else self.faces


EVERYBODY = Wanted()


def faces_of(
    photo: Pixels, side: int, detector: Detector | None, wanted: Wanted = EVERYBODY
) -> list[Crop]:
    """The faces of a photo at `side` pixels, the largest first; the whole photo without a detector.

    Raises:
        InputError: points that span no face.
    """
    if detector is None:
        return [whole(photo, side, 0 if wanted.rotate == "auto" else wanted.rotate)]
    faces, turn = find_faces(photo, detector, wanted.rotate, wanted.min_face)
    if wanted.person is None:
        faces = faces[: wanted.most]
    found = [(face_quad(face.points), face.score) for face in faces]
    crops = [Crop(crop(photo, quad, side), quad, score, turn) for quad, score in found]
    if wanted.person is not None and crops:
        known = wanted.person([one.pixels for one in crops])
        crops = [one for one, is_known in zip(crops, known, strict=True) if is_known]
    return crops[: wanted.most]


def whole(photo: Pixels, side: int, turn: int = 0) -> Crop:
    """The whole photo at `side` x `side` pixels, turned clockwise by `turn` degrees."""
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]]) - 0.5
    method = cv2.INTER_AREA if min(height, width) > side else cv2.INTER_CUBIC
    if (height, width) != (side, side):
        photo = cv2.resize(photo, (side, side), interpolation=method)
    if turn:
        photo, corners = turned(photo, turn), turned_quad(corners, turn)
    return Crop(photo, corners, turn=turn, aligned=False)


def is_whole(quad: Doubles, width: int, height: int) -> bool:
    """Whether a quad is that of `whole` of a photo of that size, turned or not."""
    ends = np.array([[0, 0], [width, height]]) - 0.5
    return bool(np.allclose([quad.min(0), quad.max(0)], ends, atol=0.01))


def notes(crops: Sequence[Crop], width: int, height: int) -> tuple[str, ...]:
    """What whoever looks at the crops of a photo of that size should know of them."""
    turns = {one.turn for one in crops} - {0}
    said = [f"turned by {turn} degrees" for turn in turns]
    for k, one in enumerate(crops, 1):
        share = outside(one.quad, width, height)
        if share >= MUCH_OUTSIDE:
            whose = f"face {k} of {len(crops)}" if len(crops) > 1 else "the face"
            said.append(f"{whose}: {share:.0%} of its crop lie outside the photo, mirrored there")
    return tuple(said)
