"""Where one shot ends and the next begins: hard cuts and fades, told from flashes and fast motion.

Two frames are as far apart as their coloured histograms and their small pictures say together; a
cut is a distance that stands out among its neighbours and that the frames around it confirm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import Image

# The least distance of a cut, and how far it must exceed what is usual around it.
FLOOR, RATIO = 0.08, 3.0
# Seconds and frames to look around: what is different for less than that is a flash.
AROUND, MOST = 0.15, 16
# Grey levels: a picture of less contrast shows nothing.
BLANK = 5.0
_BACK = 1.5  # looks farther back, so that a flash as long as it waits for is known at its end
_SIDE = 32
_HUES, _VALUES = 18, 24


@dataclass(frozen=True)
class _View:
    """What is kept of a frame."""

    time: float
    small: NDArray[np.float32]
    """[32, 32, 3] in [0, 1]."""
    histogram: NDArray[np.float32]
    """Square roots of the shares of hue with saturation, and of value; of unit length."""
    blank: bool


class ShotDetector:
    """Takes frames one after the other and tells which begin a shot, a few frames later."""

    def __init__(self) -> None:
        self._views: deque[_View] = deque()
        self._steps: deque[float] = deque()  # distance of each view to the one before it
        self._next = 0  # the first undecided view

    def feed(self, frame: Image, time: Fraction | float) -> list[bool]:
        """One frame uint8 [H, W, 3] shown at `time` seconds; returns what is decided by now.

        Each answer belongs to one frame, in order: True where it begins a shot. Frames wait for
        about 0.15 s, so the answers come in bunches of any size, and the rest by `finish`.
        """
        view = _view(frame, float(time))
        self._steps.append(_distance(self._views[-1], view) if self._views else 1.0)
        self._views.append(view)
        return self._decided(last=False)

    def finish(self) -> list[bool]:
        """The answers for the frames still waiting."""
        return self._decided(last=True)

    def _decided(self, last: bool) -> list[bool]:
        answers = []
        while self._next < len(self._views):
            waited = self._views[-1].time - self._views[self._next].time
            if not (last or waited >= AROUND or len(self._views) - self._next > MOST):
                break
            answers.append(self._starts(self._next))
            self._next += 1
            self._forget()
        return answers

    def _forget(self) -> None:
        """Drop what no undecided frame looks back at; only the very first is ever at place 0."""
        oldest = self._views[self._next - 1].time - _BACK * AROUND
        while self._next > 2 and (self._views[1].time < oldest or self._next > MOST):
            self._views.popleft()
            self._steps.popleft()
            self._next -= 1

    def _starts(self, k: int) -> bool:
        views, steps = self._views, self._steps
        if k == 0:
            return True
        if views[k].blank or views[k - 1].blank:
            return self._fades_in(k)
        near = [j for j in range(1, len(views)) if j != k and self._is_near(k, j)]
        # The usual step: high in fast motion, low between shots; a second cut nearby is no motion.
        usual = float(np.median([steps[j] for j in near])) if near else 0.0
        threshold = max(FLOOR, RATIO * usual)
        return steps[k] > threshold and self._is_lasting(k, 0.6 * threshold)

    def _is_near(self, k: int, j: int) -> bool:
        later = self._views[j].time - self._views[k].time
        return -_BACK * AROUND <= later <= AROUND

    def _is_lasting(self, k: int, threshold: float) -> bool:
        """Whether all frames from k on differ from all before it: after a flash, they do not."""
        before = [j for j in range(k) if self._is_near(k, j)] or [k - 1]
        after = [j for j in range(k, len(self._views)) if self._is_near(k, j)]
        return all(
            _distance(self._views[a], self._views[b]) > threshold for a in before for b in after
        )

    def _fades_in(self, k: int) -> bool:
        """Whether k is the first frame to show something after a blank that was no flash."""
        views = self._views
        if views[k].blank or not views[k - 1].blank:
            return False
        shown = [j for j in range(k) if not views[j].blank]
        return not shown or not self._is_near(k, shown[-1])


def shot_starts(frames: Iterable[tuple[Image, Fraction | float]]) -> list[int]:
    """The places of the frames that begin a shot, of frames with their times."""
    detector, answers = ShotDetector(), list[bool]()
    for frame, time in frames:
        answers += detector.feed(frame, time)
    answers += detector.finish()
    return [place for place, starts in enumerate(answers) if starts]


def _view(frame: Image, time: float) -> _View:
    small = cv2.resize(frame, (_SIDE * 2, _SIDE * 2), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1], None, [_HUES, 4], [0, 180, 0, 256])
    values = cv2.calcHist([hsv], [2], None, [_VALUES], [0, 256])
    # Neighbouring bins share their content, or a slow change of light would look like a cut.
    counts = [cv2.GaussianBlur(part, (1, 5), 0).ravel() / part.sum() for part in (colours, values)]
    tiny = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    contrast = float(cv2.cvtColor(tiny, cv2.COLOR_RGB2GRAY).std())
    shares = np.sqrt(np.concatenate(counts) / 2)
    return _View(
        time, tiny.astype(np.float32) / 255, shares / np.linalg.norm(shares), contrast < BLANK
    )


def _distance(a: _View, b: _View) -> float:
    """0 = the same, 1 = nothing in common: histograms (Hellinger) times pictures, square root."""
    shares = 1 - float(a.histogram @ b.histogram)
    pictures = float(np.abs(a.small - b.small).mean())
    return float(np.sqrt(max(0.0, shares)) * np.sqrt(pictures))
