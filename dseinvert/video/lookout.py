"""When a clip is searched for faces, and at which turn.

All of a frame every second; more often, in fewer pixels, where something came that was not there at
the last search: what is cheap to see is a change, and who stays for a fifth of a second is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import face_quad
from dseinvert.faces.detect import MIN_FACE, MIN_SCORE, Detector, Face
from dseinvert.faces.search import LOOK, SURE, Rotate, best_turn, stands
from dseinvert.faces.turns import TURNS, turned, unturned
from dseinvert.media.pixels import Floats, Pixels
from dseinvert.video.follow import View

# Seconds between searches of the whole frame; while a face is missed; and where something changed.
SEARCH, SEARCH_AGAIN, SEARCH_CHANGED = 1.0, 0.1, 0.13
# Pixels: the smallest face that a change may be, how high it is in the few pixels that are then
# searched, and how high where changes are looked for.
SMALLEST, SEARCHED, WATCHED = 40, MIN_FACE + 1, 10
# Grey levels of a change, and the share of the smallest face that must have changed.
CHANGE, SHARE = 10.0, 0.4
# Of the quad of a known face: what is its own, whose changes are no news.
OWN = 0.9
_GREY = 127


class Lookout:
    """Decides on each frame of a shot whether to search it, and does so."""

    def __init__(self, detector: Detector, rotate: Rotate = "auto", every: float = SEARCH) -> None:
        """A lookout that knows nothing yet.

        Args:
            rotate: degrees clockwise that set the frames upright; "auto" = as their faces tell.
            every: seconds between searches of the whole frame.
        """
        self._detector, self._auto, self._every = detector, rotate == "auto", every
        self._turn: int = 0 if rotate == "auto" else rotate
        self._whole = self._last = float("-inf")  # when all of it was searched, and any search
        self._then: NDArray[np.uint8] | None = None  # the small frame of the last search
        self._free: NDArray[np.uint8] | None = None  # where no face was known in it: 1

    def forget(self) -> None:
        """A new shot begins."""
        self._whole = self._last = float("-inf")
        self._then = self._free = None

    def faces(
        self,
        frame: Pixels,
        view: View,
        time: float,
        known: Sequence[Floats],
        *,
        missing: bool = False,
        nobody: bool = False,
    ) -> list[Face]:
        """What a search of this frame found; nothing where none was due.

        Args:
            frame: uint8 [H, W, 3].
            view: the same as flow sees it.
            time: seconds.
            known: points [5, 2] of the faces that are in sight, whom no quick search need find.
            missing: whether a face is lost.
            nobody: whether no face is followed, so that one at another turn would not be a second.
        """
        if time - self._whole >= (SEARCH_AGAIN if missing else self._every) - 1e-6:
            self._whole = time
            self._remember(view, time, known)
            return self._upright(frame, nobody)
        if time - self._last < SEARCH_CHANGED - 1e-6 or not self.is_news(view, known):
            return []
        self._remember(view, time, known)
        return self._quick(frame, known, nobody)

    def is_news(self, view: View, known: Sequence[Floats]) -> bool:
        """Whether enough changed for a face since the last search, beside those that are known."""
        now = _small(view)
        if self._then is None or self._free is None or now.shape != self._then.shape:
            return True
        changed = (cv2.absdiff(now, self._then) > CHANGE) & (self._free & _free(now.shape, known))
        share = cv2.boxFilter(
            changed.astype(np.float32), -1, (WATCHED, WATCHED), borderType=cv2.BORDER_CONSTANT
        )
        return bool(share.max() >= SHARE)

    def pack(self) -> dict[str, NDArray[Any]]:
        """All that is known between two frames, as arrays of at least one dimension."""
        arrays = {
            "times": np.array([self._whole, self._last]),
            "turn": np.array([self._turn], np.int64),
        }
        if self._then is not None and self._free is not None:
            arrays |= {"then": self._then, "free": self._free}
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `pack` was; KeyError where something is missing."""
        self._whole, self._last = arrays["times"].tolist()
        self._turn = int(arrays["turn"][0])
        self._then, self._free = arrays.get("then"), arrays.get("free")

    def _remember(self, view: View, time: float, known: Sequence[Floats]) -> None:
        self._last, self._then = time, _small(view)
        self._free = _free(self._then.shape, known)

    def _quick(self, frame: Pixels, known: Sequence[Floats], nobody: bool) -> list[Face]:
        """The faces that are not known yet, seen in the fewest pixels that show the smallest."""
        scale = min(1.0, SEARCHED / SMALLEST)
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ratio = np.array(frame.shape[1::-1]) / small.shape[1::-1]
        _fill(small, [points / ratio for points in known], _GREY)
        found = [_scaled(face, ratio) for face in self._upright(small, nobody)]
        return [face for face in map(partial(self._closer, frame), found) if face.score > 0]

    def _closer(self, frame: Pixels, face: Face) -> Face:
        """The points of a face as all pixels show it; of score 0 where they show none."""
        placed = self._detector.place(frame, face.points)
        if placed is None:
            return face
        points, score = placed
        return replace(face, points=points.astype(np.float32), score=score * (score >= MIN_SCORE))

    def _upright(self, frame: Pixels, nobody: bool) -> list[Face]:
        """The faces at the turn of those found last; where there is nobody, at any turn."""
        faces = self._at(frame, self._turn)
        if not self._auto or not nobody or any(stands(face, SURE) for face in faces):
            return self._back(frame, faces)
        score = max((face.score for face in faces), default=0.0)
        others = [turn for turn in TURNS if turn != self._turn]
        better = best_turn(frame, self._detector, score, LOOK, others, SURE)
        if better is None:
            return self._back(frame, faces)
        self._turn = better
        return self._back(frame, self._at(frame, better))

    def _at(self, frame: Pixels, turn: int) -> list[Face]:
        return self._detector.detect(turned(frame, turn) if turn else frame)

    def _back(self, frame: Pixels, faces: Sequence[Face]) -> list[Face]:
        height, width = frame.shape[:2]
        return [unturned(face, self._turn, width, height) for face in faces]


def _small(view: View) -> NDArray[np.uint8]:
    """A grey picture in which the smallest face is still something."""
    scale = min(1.0, WATCHED / SMALLEST / view.scale)
    if scale == 1:
        return view.gray
    small = cv2.resize(view.gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _free(shape: tuple[int, ...], known: Sequence[Floats]) -> NDArray[np.uint8]:
    """1 in a small picture where no face is known."""
    free = np.ones(shape, np.uint8)
    _fill(free, [np.asarray(points) * (WATCHED / SMALLEST) for points in known], 0)
    return free


def _fill(picture: NDArray[np.uint8], known: Sequence[Floats], level: int) -> None:
    """Paint over the faces with these points."""
    for points in known:
        quad = face_quad(points)
        own = quad.mean(0) + OWN * (quad - quad.mean(0))
        cv2.fillConvexPoly(picture, np.rint(own).astype(np.int32), (level,) * 3)


def _scaled(face: Face, ratio: NDArray[np.float64]) -> Face:
    x0, y0, x1, y1 = (np.array(face.box) * np.tile(ratio, 2)).tolist()
    return replace(face, box=(x0, y0, x1, y1), points=(face.points * ratio).astype(np.float32))
