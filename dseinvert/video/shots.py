"""Where one shot ends and the next begins: hard cuts, dissolves and fades, told from flashes and
motion.

Two frames are as far apart as their coloured histograms and their small pictures say together; a
cut is a distance that stands out among its neighbours and that the frames around it confirm. In a
dissolve or a fade every frame is a mixture of what was before it and what comes after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Floats, Pixels

# The least distance of a cut, and how far it must exceed what is usual around it.
FLOOR, RATIO = 0.08, 3.0
# The same where colours tell nothing: of how little the arrangement of two pictures has in common.
# What shows a quarter of the other picture somewhere, this much alike, has only moved.
FLOOR_SHAPE, RATIO_SHAPE, MOVED = 0.4, 5.0, 0.8
# Seconds and frames to look around: what is different for less than that is a flash.
AROUND, MOST = 0.15, 16
# Seconds on either side of the middle of a dissolve that are looked at; less of what moves does so
# in less of them.
FAR = 0.5
WINDOWS = (FAR, FAR / 2)
# The most that the pictures at both ends of a dissolve may correlate, what a frame between them may
# show beside these two, what both may add up to, and by how much the wrong one may prevail.
ALIKE, ELSE, TOTAL, WRONG = 0.55, 0.45, 1.05, 0.15
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
    shape: NDArray[np.float32]
    """[3072] the small picture without the mean of each colour."""
    blank: bool


class ShotDetector:
    """Takes frames one after the other and tells which begin a shot, a few frames later."""

    def __init__(self) -> None:
        self._views: deque[_View] = deque()
        self._steps: deque[float] = deque()  # distance of each view to the one before it
        self._next = 0  # the first undecided view
        # When the newest shot began, and the newest that another one blended into.
        self._began = self._blended = float("-inf")

    def feed(self, frame: Pixels, time: Fraction | float) -> list[bool]:
        """One frame uint8 [H, W, 3] shown at `time` seconds; returns what is decided by now.

        Each answer belongs to one frame, in order: True where it begins a shot. Frames wait for
        about half a second, so the answers come in bunches of any size, and the rest by `finish`.
        """
        view = _view(frame, float(time))
        self._steps.append(_distance(self._views[-1], view) if self._views else 1.0)
        self._views.append(view)
        return self._decided(last=False)

    def finish(self) -> list[bool]:
        """The answers for the frames still waiting."""
        return self._decided(last=True)

    def pack(self) -> dict[str, NDArray[Any]]:
        """All that is known between two frames, as arrays of at least one dimension."""
        return {
            "times": np.array([view.time for view in self._views]),
            "pictures": np.stack([view.small for view in self._views]),
            "histograms": np.stack([view.histogram for view in self._views]),
            "shapes": np.stack([view.shape for view in self._views]),
            "blank": np.array([view.blank for view in self._views], np.int64),
            "steps": np.array(self._steps),
            "next": np.array([self._next], np.int64),
            "began": np.array([self._began, self._blended]),
        }

    @classmethod
    def unpack(cls, arrays: Mapping[str, NDArray[Any]]) -> ShotDetector:
        """The detector that `pack` made arrays of, which goes on with the next frame."""
        names = ("times", "pictures", "histograms", "shapes", "blank")
        times, pictures, histograms, shapes, blank = (arrays[name] for name in names)
        rows = (times.tolist(), pictures, histograms, shapes, blank.astype(bool).tolist())
        detector = cls()
        detector._views = deque(_View(*row) for row in zip(*rows, strict=True))
        detector._steps = deque(arrays["steps"].tolist())
        detector._next = int(arrays["next"][0])
        detector._began, detector._blended = arrays["began"].tolist()
        return detector

    @property
    def blended(self) -> float:
        """When the newest shot begins that the one before it turned into frame by frame."""
        return self._blended

    def _decided(self, last: bool) -> list[bool]:
        answers = []
        while self._next < len(self._views):
            waited = self._views[-1].time - self._views[self._next].time
            if not (last or waited >= FAR or len(self._views) - self._next > MOST):
                break
            answers.append(self._starts(self._next))
            if answers[-1]:
                self._began = self._views[self._next].time
            self._next += 1
            self._forget()
        return answers

    def _forget(self) -> None:
        """Drop what no undecided frame looks back at; only the very first is ever at place 0."""
        oldest = self._views[self._next - 1].time - FAR
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
        cut = steps[k] > threshold and self._is_lasting(k, 0.6 * threshold)
        return cut or self._is_rearranged(k, near) or self._blends_over(k)

    def _is_rearranged(self, k: int, near: Sequence[int]) -> bool:
        """Whether the colours stay and all else is new: a cut that histograms do not see."""
        views = self._views
        step = _shape_distance(views[k - 1], views[k])
        if step < FLOOR_SHAPE:
            return False
        steps = [_shape_distance(views[j - 1], views[j]) for j in near]
        threshold = max(FLOOR_SHAPE, RATIO_SHAPE * float(np.median(steps)) if steps else 0.0)
        if step < threshold or _has_moved(views[k - 1], views[k]):
            return False
        before = [j for j in range(k) if self._is_near(k, j)] or [k - 1]
        after = [j for j in range(k, len(views)) if self._is_near(k, j)]
        return all(
            _shape_distance(views[a], views[b]) > 0.6 * threshold for a in before for b in after
        )

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
        return not shown or not self._is_near(k, shown[-1]) or self._blends_over(k)

    def _blends_over(self, k: int) -> bool:
        """Whether k is the first frame that shows more of what comes than of what was."""
        time = self._views[k].time
        if time - self._began <= FAR or time - self._blended <= 2 * FAR:
            return False
        if any(self._is_blend(k, seconds) for seconds in WINDOWS):
            self._blended = time
        return self._blended == time

    def _is_blend(self, k: int, seconds: float) -> bool:
        """The same, looking so far to either side."""
        views, time = self._views, self._views[k].time
        window = [j for j, view in enumerate(views) if abs(view.time - time) <= seconds + 1e-6]
        if not window[0] < k - 1 < k < window[-1]:
            return False
        before, after = ([views[j] for j in window if (j < k) == old] for old in (True, False))
        return _is_blend(before, after)


def _is_blend(before: Sequence[_View], after: Sequence[_View]) -> bool:
    """Whether the first view turns into the last one, with less of it than of that in all `after`.

    Both ends look different, and each view between is a mixture of them: motion shows other things
    on its way, and a change of light has the same things at both ends.
    """
    first, last = before[0], after[-1]
    if first.blank or last.blank or _distance(first, last) < FLOOR:
        return False
    if _correlation(first.shape, last.shape) > ALIKE:
        return False
    passed, coming = ([view.shape for view in part if not view.blank] for part in (before, after))
    old, new, rest = _mixture(np.stack([*passed, *coming]), first.shape, last.shape)
    if rest.max() > ELSE or (old + new).max() > TOTAL:
        return False
    ahead = (new - old) * np.repeat([1, -1], [len(passed), len(coming)])
    turned = before[-1].blank or ahead[len(passed) - 1] < 0
    return bool(turned and ahead[len(passed)] <= 0 and ahead.max() < WRONG)


def _view(frame: Pixels, time: float) -> _View:
    small = cv2.resize(frame, (_SIDE * 2, _SIDE * 2), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1], None, [_HUES, 4], [0, 180, 0, 256])
    values = cv2.calcHist([hsv], [2], None, [_VALUES], [0, 256])
    # Neighbouring bins share their content, or a slow change of light would look like a cut.
    counts = [cv2.GaussianBlur(part, (1, 5), 0).ravel() / part.sum() for part in (colours, values)]
    tiny = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    contrast = float(cv2.cvtColor(tiny, cv2.COLOR_RGB2GRAY).std())
    shares = np.sqrt(np.concatenate(counts) / 2)
    small = tiny.astype(np.float32) / 255
    shape = (small - small.mean((0, 1))).ravel()
    return _View(time, small, shares / np.linalg.norm(shares), shape, contrast < BLANK)


def _distance(a: _View, b: _View) -> float:
    """0 = the same, 1 = nothing in common: histograms (Hellinger) times pictures, square root."""
    shares = 1 - float(a.histogram @ b.histogram)
    pictures = float(np.abs(a.small - b.small).mean())
    return float(np.sqrt(max(0.0, shares)) * np.sqrt(pictures))


def _shape_distance(a: _View, b: _View) -> float:
    """0 = the same arrangement of light and colour, 1 = nothing in common."""
    return 1 - max(0.0, _correlation(a.shape, b.shape))


def _has_moved(a: _View, b: _View) -> bool:
    """Whether a quarter of one picture is somewhere in the other."""
    half = _SIDE // 2
    return any(
        float(cv2.matchTemplate(whole.small, quarter, cv2.TM_CCOEFF_NORMED).max()) > MOVED
        for one, whole in ((a, b), (b, a))
        for y in (0, half)
        for x in (0, half)
        for quarter in [np.ascontiguousarray(one.small[y : y + half, x : x + half])]
        if quarter.std() > BLANK / 255
    )


def _correlation(a: Floats, b: Floats) -> float:
    return float(a @ b) / max(1e-9, float(np.linalg.norm(a) * np.linalg.norm(b)))


def _mixture(shapes: Floats, first: Floats, last: Floats) -> tuple[Floats, Floats, Floats]:
    """How much of `first` and of `last` is in each of the shapes [N, D], and what is left, all [N].

    The rest is measured in what both have of contrast on average.
    """
    basis = np.stack([first, last])
    amounts = np.linalg.lstsq(basis.T, shapes.T, rcond=None)[0]
    rest = np.linalg.norm(shapes - amounts.T @ basis, axis=1)
    return amounts[0], amounts[1], rest / np.linalg.norm(basis, axis=1).mean()
