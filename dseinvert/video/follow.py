"""The five points of a face carried from frame to frame by optical flow, and how a face looks.

Pyramidal Lucas-Kanade there and back (Kalal et al., "Forward-Backward Error", 2010) on the points
and on a grid over the face, whose common motion stands in where a point itself is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import crop_matrix, face_quad, quad_side
from dseinvert.media.pixels import Doubles, Floats, Pixels

# Pixels: longer sides are shrunk to this, which costs nothing that a face worth editing needs.
LONGEST = 1280
# Flow sees a face at this many pixels between the eyes at most, and this many eye distances around.
EYES, MARGIN = 64.0, 2.0
LEVELS = 4
STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.005)
# In eye distances: how far a point may end from its start, and how far from the common motion.
ASTRAY, APART = 0.04, 0.2
# In eye distances: what a step is uncertain by when all is well, and when only the grid is known.
STEADY, STRAYED = 0.004, 0.03
PATCH = 24
EYE = np.array([True, True, False, False, False])
# The part of the FFHQ quad that is face: a square around the middle of eyes and mouth.
INNER = 0.45
_GRID = np.stack(np.meshgrid(*[np.linspace(-0.22, 0.22, 5)] * 2), -1).reshape(-1, 2)


@dataclass(frozen=True)
class View:
    """A frame as flow sees it."""

    gray: NDArray[np.uint8]
    scale: float
    """Its pixels in pixels of the frame."""


@dataclass(frozen=True)
class Step:
    """Where the points of a face went from one frame to the next."""

    points: Doubles
    """[5, 2] pixels in the new frame."""
    noise: Doubles
    """[5] standard deviation of each in pixels."""
    sure: float
    """0 to 1: the share of points whose way back ends where they came from."""


@dataclass(frozen=True)
class Look:
    """What a face looks like when it is upright: enough to tell it from the face beside it."""

    patch: NDArray[np.float32]
    """[24, 24] grey values of mean 0 and length 1."""
    colours: NDArray[np.float32]
    """Square roots of the shares of hue with saturation; of length 1."""

    def likeness(self, other: Look) -> float:
        """At most 1: the mean of the correlation of patches and the affinity of colours."""
        return (float(np.vdot(self.patch, other.patch)) + float(self.colours @ other.colours)) / 2

    @property
    def vector(self) -> NDArray[np.float32]:
        """Both in one, of length 1; the inner product of two is their likeness."""
        return np.concatenate([self.patch.ravel(), self.colours]) / np.float32(np.sqrt(2))

    def blended(self, other: Look, share: float) -> Look:
        """A look between this and the other one."""
        patch = self.patch + share * (other.patch - self.patch)
        colours = self.colours + share * (other.colours - self.colours)
        return Look(_unit(patch), _unit(colours))


def view_of(frame: Pixels) -> View:
    """A frame uint8 [H, W, 3], grey and small enough."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, LONGEST / max(gray.shape))
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return View(gray, scale)


def follow(before: View, after: View, points: Floats) -> Step:
    """Where the five points [5, 2] of `before` are in `after`; both of the same size."""
    points = np.array(points, np.float64)
    eyes = eye_distance(points)
    starts = np.concatenate([points, _grid(points)])
    ends, back = _lucas_kanade(before, after, starts, eyes)
    astray = np.hypot(*(back - starts).T)
    good = astray < max(0.3, ASTRAY * eyes)
    common = _common_motion(starts, ends, good)
    together = starts + (0 if common is None else _moved(starts, common) - starts)
    own = good[:5] & (np.hypot(*(ends - together)[:5].T) < APART * eyes)
    own[:2] &= common is None  # the face goes on while the gaze wanders and the lids close
    steady = np.where(good[:5], np.hypot(STEADY * eyes, astray[:5]), STRAYED * eyes)
    noise = np.where(own | EYE, steady, STRAYED * eyes)
    moved = np.where(own[:, None], ends[:5], together[:5])
    sane = common is not None and 0.7 < np.hypot(*common[0]) < 1.4
    return Step(moved, noise, float(good.mean()) if sane else 0.0)


def look_of(frame: Pixels, points: Floats) -> Look:
    """How the face with these points looks in a frame uint8 [H, W, 3]."""
    quad = face_quad(points)
    middle = np.asarray(points, np.float64)[[0, 1, 3, 4]].mean(0)
    inner = middle + INNER * (quad - quad.mean(0))
    # Shrunk in two steps, or the patch would alias and flicker.
    side = int(np.clip(2 ** np.ceil(np.log2(quad_side(inner) / PATCH)), 1, 16)) * PATCH
    flags = cv2.INTER_LINEAR
    face = cv2.warpAffine(
        frame, crop_matrix(inner, side), (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    face = cv2.resize(face, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    patch = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    patch -= patch.mean()
    hsv = cv2.cvtColor(face, cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1], None, [18, 6], [0, 180, 0, 256])
    colours = np.sqrt(cv2.GaussianBlur(colours, (3, 3), 0).ravel())
    return Look(_unit(patch), _unit(colours))


def eye_distance(points: Floats) -> float:
    """Between the eyes in pixels; for a face in profile, what it would be from the front."""
    points = np.asarray(points, np.float64)
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    return max(1e-6, float(np.hypot(*(points[1] - points[0]))), 0.8 * float(np.hypot(*down)))


def _grid(points: Floats) -> Doubles:
    """Places [25, 2] over the inner face."""
    quad = face_quad(points)
    middle = points[[0, 1, 3, 4]].mean(0)
    return middle + _GRID[:, :1] * (quad[3] - quad[0]) + _GRID[:, 1:] * (quad[1] - quad[0])


def _lucas_kanade(
    before: View, after: View, starts: Doubles, eyes: float
) -> tuple[Doubles, Doubles]:
    """Ends in `after` and where these lead back to in `before`, both [N, 2]; far off where lost."""
    low, high = starts.min(0) - MARGIN * eyes, starts.max(0) + MARGIN * eyes
    a, corner, scale = _region(before, low, high, min(1.0, EYES / eyes))
    b, _, _ = _region(after, low, high, min(1.0, EYES / eyes))
    side = int(np.clip(eyes * scale[0] / 3, 9, 31)) | 1
    small = ((starts - corner + 0.5) * scale - 0.5).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        a, b, small, None, winSize=(side, side), maxLevel=LEVELS, criteria=STOP
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(
        b, a, there, None, winSize=(side, side), maxLevel=LEVELS, criteria=STOP
    )
    lost = ~(found.ravel().astype(bool) & returned.ravel().astype(bool))
    there[lost], back[lost] = small[lost], small[lost] + 1e4
    ends, origins = ((place.astype(np.float64) + 0.5) / scale - 0.5 for place in (there, back))
    return ends + corner, origins + corner


def _region(
    view: View, low: Doubles, high: Doubles, scale: float
) -> tuple[NDArray[np.uint8], Doubles, Doubles]:
    """The part of a view between two places of the frame, shrunk to `scale` of the frame's pixels.

    With where in the frame it begins, and its pixels in those of the frame [2].
    """
    shape = np.array(view.gray.shape[::-1])
    start = np.clip(np.floor(low * view.scale), 0, shape - 2).astype(int)
    stop = np.clip(np.ceil(high * view.scale) + 1, start + 2, shape).astype(int)
    part = view.gray[start[1] : stop[1], start[0] : stop[0]]
    size = np.maximum(2, np.rint((stop - start) * min(1.0, scale / view.scale))).astype(int)
    if (size < stop - start).any():
        part = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    return part, start / view.scale, size / (stop - start) * view.scale


def _common_motion(starts: Doubles, ends: Doubles, good: NDArray[np.bool_]) -> Doubles | None:
    """The similarity [2, 2] = (turn and scale, shift) most good points share; None = too few."""
    if good.sum() < 4:
        return None
    a, b = (_complex(points[good]) for points in (starts, ends))
    weight = np.ones(len(a))
    for _ in range(6):  # iteratively reweighted least squares, so that a few may err
        middle = np.array([np.average(a, weights=weight), np.average(b, weights=weight)])
        da, db = a - middle[0], b - middle[1]
        turn = (weight * db * da.conj()).sum() / max(1e-9, (weight * np.abs(da) ** 2).sum())
        error = np.abs(db - turn * da)
        weight = 1 / np.maximum(error, 0.05 + 0.5 * np.median(error))
    shift = middle[1] - turn * middle[0]
    return np.array([[turn.real, turn.imag], [shift.real, shift.imag]])


def _moved(points: Doubles, motion: Doubles) -> Doubles:
    turn, shift = motion[:, 0] + 1j * motion[:, 1]
    ends = _complex(points) * turn + shift
    return np.stack([ends.real, ends.imag], -1)


def _complex(points: Doubles) -> NDArray[np.complex128]:
    return points[:, 0] + 1j * points[:, 1]


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.sqrt((values * values).sum()))
    return values / np.float32(max(1e-6, length))
