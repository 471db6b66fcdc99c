"""Clips drawn from the example faces, whose every point is known, and a detector that knows them.

The corner of each frame holds its number, by which the detector knows what it looks at, also where
the frame was shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from dseinvert.faces.align import face_quad
from dseinvert.faces.detect import Face

EXAMPLES = Path(__file__).parents[1] / "portraits"
# What the embedded detector finds on portrait-1 ... portrait-3.
PORTRAITS = {
    1: [[141.0, 161.0], [203.0, 173.4], [168.8, 205.4], [131.2, 225.0], [187.6, 235.9]],
    2: [[143.4, 164.9], [205.4, 171.7], [172.5, 202.1], [139.7, 227.1], [195.7, 233.0]],
    3: [[143.6, 167.0], [207.3, 166.9], [176.0, 207.6], [143.8, 230.2], [207.0, 230.3]],
}
WIDTH, CORNER = 320, 4
Place = tuple[float, float, float, float]
"""Where the middle of a portrait is (x, y), its scale, its turn in degrees."""


@dataclass(frozen=True)
class Actor:
    """A portrait and where it is on each frame; None = not there."""

    portrait: int
    at: Callable[[int], Place | None]

    def matrix(self, k: int) -> np.ndarray:
        x, y, scale, degrees = self.at(k) or (0, 0, 1, 0)
        matrix = cv2.getRotationMatrix2D((176, 200), degrees, scale)
        matrix[:, 2] += np.array([x, y]) - (176, 200)
        return matrix

    def points(self, k: int) -> np.ndarray:
        matrix = self.matrix(k)
        return np.array(PORTRAITS[self.portrait]) @ matrix[:, :2].T + matrix[:, 2]


@cache
def cutout(portrait: int) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.imread(str(EXAMPLES / f"portrait-{portrait}.jpg"))[..., ::-1].astype(np.float32)
    alpha = np.zeros(image.shape[:2], np.float32)
    cv2.ellipse(alpha, (174, 185), (78, 110), 5, 0, 360, 1.0, -1)
    return image, cv2.GaussianBlur(alpha, (0, 0), 2)[..., None]


@cache
def background(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 8, width // 8, 3))
    return cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


@cache
def grain(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)


def draw(
    actors: Sequence[Actor], k: int, size: tuple[int, int] = (WIDTH, 240), seed: int = 0
) -> np.ndarray:
    """Frame k, later actors before earlier ones, with a little grain."""
    frame = background(size[1], size[0], seed).copy()
    for actor in actors:
        if actor.at(k) is None:
            continue
        image, alpha = cutout(actor.portrait)
        image = cv2.warpAffine(image, actor.matrix(k), size, flags=cv2.INTER_AREA)
        share = cv2.warpAffine(alpha, actor.matrix(k), size)[..., None]
        frame += share * (image - frame)
    frame += np.roll(grain(*frame.shape), 997 * k)
    result = frame.clip(0, 255).astype(np.uint8)
    result[:CORNER, :CORNER] = k // 256, k % 256, 0
    return result


@dataclass
class Knowing:
    """Finds the drawn faces, with some error, unless something lies over them."""

    actors: Sequence[Actor]
    error: float = 0.0
    """Pixels."""
    blind: Callable[[int], bool] = lambda k: False
    """On which frames it finds nothing."""
    calls: list[str] = field(default_factory=list)
    name = "knowing"

    def detect(self, image: np.ndarray) -> list[Face]:
        self.calls.append("detect")
        k = _number(image)
        if np.ptp(image[:2, :2], axis=(0, 1)).any():  # no number there: it was turned
            return []
        faces = [] if self.blind(k) else [self._face(k, actor) for actor in self._visible(k)]
        ratio = image.shape[1] / WIDTH
        return [replace(face, points=face.points * np.float32(ratio)) for face in faces]

    def place(self, image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
        self.calls.append("place")
        k = _number(image)
        faces = [] if self.blind(k) else [self._face(k, actor) for actor in self._visible(k)]
        near = [face for face in faces if np.abs(face.points - points).mean() < 25]
        if not near:
            return np.asarray(points, np.float64), 0.0
        best = min(near, key=lambda face: np.abs(face.points - points).mean())
        return best.points.astype(np.float64), best.score

    def _visible(self, k: int) -> list[Actor]:
        there = [actor for actor in self.actors if actor.at(k) is not None]
        return [
            actor
            for place, actor in enumerate(there)
            if all(_apart(actor, other, k) > 45 for other in there[place + 1 :])
        ]

    def _face(self, k: int, actor: Actor) -> Face:
        rng = np.random.default_rng([k, actor.portrait])
        points = actor.points(k) + rng.normal(0, self.error, (5, 2))
        quad = face_quad(points)
        box = (*quad.min(0).tolist(), *quad.max(0).tolist())
        return Face(box, 0.9, points.astype(np.float32))


def _number(image: np.ndarray) -> int:
    return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])


def _apart(a: Actor, b: Actor, k: int) -> float:
    return float(np.hypot(*(a.points(k).mean(0) - b.points(k).mean(0))))
