"""All faces of a photo: at the turn at which it stands upright, and small ones tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from dseinvert.faces.detect import (
    FINEST,
    MIN_FACE,
    SEEN,
    Detector,
    Face,
    core,
    distinct,
    largest_first,
    resized,
)
from dseinvert.faces.turns import TURNS, turned, unturned
from dseinvert.media.pixels import Pixels

Rotate = Literal["auto", 0, 90, 180, 270]
"""Degrees clockwise that set a photo upright; auto = as its faces tell."""

# Of 240 views of portraits, turned by all angles, no face seen upside down scored more than 0.84,
# and of 109 photos with upright faces 103 hold one that scores more than this.
SURE = 0.85
# What is enough at another turn, where it is also surer than what stands upright.
LIKELY = 0.75
# Longest side at which the other turns are looked at, where faces of MIN_FACE are wanted.
LOOK = 640
# Pixels of the photo: sides of a tile, and what two of them share. A face counts in the tile that
# holds its middle and half as much around it.
TILE, SHARED = 1280, 256
# Pixels of the whole photo as the detector sees it: where the smallest face found there is less
# high, there may be some too small to be seen.
SMALL = 40


def find_faces(
    photo: Pixels, detector: Detector, rotate: Rotate = "auto", min_face: float = MIN_FACE
) -> tuple[list[Face], int]:
    """The faces of a photo uint8 [H, W, 3], the largest first, and by what it was turned for them.

    Args:
        photo: as it is; so are the coordinates of the faces.
        detector: who finds faces that stand upright.
        rotate: "auto" tries other turns where no face stands upright for sure.
        min_face: the height of the smallest face that the detector was opened for.
    """
    if rotate != "auto":
        return _at(photo, detector, rotate, min_face), rotate
    upright = _with_small(photo, detector, min_face)
    if any(stands(face, SURE) for face in upright):
        return upright, 0
    score = max((face.score for face in upright), default=0.0)
    turn = best_turn(photo, detector, score, LOOK * max(1.0, min_face / MIN_FACE))
    found = _at(photo, detector, turn, min_face) if turn else []
    return (found, turn or 0) if found else (upright, 0)


def stands(face: Face, least: float) -> bool:
    """Whether a face scores that much, and its mouth lies below its eyes, within 60 degrees."""
    right, down = (face.points[3:].mean(0) - face.points[:2].mean(0)).tolist()
    return face.score >= least and down > 0.5 * math.hypot(right, down)


def best_turn(
    photo: Pixels,
    detector: Detector,
    score: float,
    side: float,
    turns: Sequence[int] = TURNS[1:],
    least: float = LIKELY,
) -> int | None:
    """The turn whose best face, seen in `side` pixels, beats `score`; None = none of these does.

    least: the score from which a face counts, 0 to 1.
    """
    small, _ = resized(photo, min(side, max(photo.shape[:2])))
    best = None
    for turn in turns:
        faces = detector.detect(turned(small, turn))
        likely = [face.score for face in faces if stands(face, least)]
        if max(likely, default=0.0) > score:
            best, score = turn, max(likely)
    return best


def _at(photo: Pixels, detector: Detector, turn: int, min_face: float) -> list[Face]:
    height, width = photo.shape[:2]
    found = _with_small(turned(photo, turn), detector, min_face)
    return [unturned(face, turn, width, height) for face in found]


def _with_small(photo: Pixels, detector: Detector, min_face: float) -> list[Face]:
    """The faces of a photo that is upright; none that is seen in the whole of it is given up."""
    faces = detector.detect(photo)
    if not _hides_faces(photo, faces, min_face):
        return faces
    more = [face for x, y in _tiles(photo) for face in _in_tile(photo, detector, x, y)]
    rows = [core(replace(face, score=1 + face.score)) for face in faces]
    rows, every = rows + [core(face) for face in more], faces + more
    return largest_first(every[k] for k in distinct(rows))


def _hides_faces(photo: Pixels, faces: list[Face], min_face: float) -> bool:
    """Whether a photo is too large for its least faces to be seen in it, and there are small ones.

    A portrait is large too, and has none.
    """
    shrunk = FINEST / max(photo.shape[:2])
    if min_face * shrunk >= SEEN or not faces:
        return False
    return min(face.box[3] - face.box[1] for face in faces) * shrunk < SMALL


def _tiles(photo: Pixels) -> Iterator[tuple[int, int]]:
    """The left and upper border of each."""
    height, width = photo.shape[:2]
    for y in _starts(height):
        for x in _starts(width):
            yield x, y


def _starts(length: int) -> list[int]:
    """Where tiles begin that share SHARED at least."""
    count = max(1, -(-(length - SHARED) // (TILE - SHARED)))
    return np.linspace(0, max(0, length - TILE), count).astype(int).tolist()


def _in_tile(photo: Pixels, detector: Detector, x: int, y: int) -> list[Face]:
    """The faces whose middle lies well within a tile, in the coordinates of the photo."""
    tile = np.ascontiguousarray(photo[y : y + TILE, x : x + TILE])
    found = [_moved(face, x, y) for face in detector.detect(tile)]
    return [face for face in found if _within(face, photo, x, y)]


def _moved(face: Face, x: int, y: int) -> Face:
    x0, y0, x1, y1 = face.box
    shift = np.array([x, y], np.float32)
    return replace(face, box=(x0 + x, y0 + y, x1 + x, y1 + y), points=face.points + shift)


def _within(face: Face, photo: Pixels, x: int, y: int) -> bool:
    """Whether the face is far from each border of the tile that is none of the photo."""
    x0, y0, x1, y1 = face.box
    for middle, start, length in (
        ((x0 + x1) / 2, x, photo.shape[1]),
        ((y0 + y1) / 2, y, photo.shape[0]),
    ):
        if start > 0 and middle < start + SHARED / 2:
            return False
        if start + TILE < length and middle > start + TILE - SHARED / 2:
            return False
    return True
