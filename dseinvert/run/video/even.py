"""What is carried into a clip evened in time, a few frames ahead of what is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dseinvert.run.video.draw import Shot
from dseinvert.run.video.steady import Patches
from dseinvert.video.even import MOST, evened, shares

# Seconds at strength 1 over which a moved edit is meaned; at 0.5 and 25 frames a second these are
# 2 frames.
SECONDS = 0.16

Patched = tuple[Shot, list[Patches]]


class _Seen(NamedTuple):
    """What is carried into one face on one frame."""

    time: float
    presence: float
    patches: Patches


_Seens = dict[int, _Seen]
"""By track: all faces of a frame that can be seen, and move with an edit."""


def evened_in_time(frames: Iterable[Patched], sigma: float) -> Iterator[Patched]:
    """The frames with motion and change of each face as they are around them, in the same order.

    A frame depends on `MOST` frames on either side and on nothing else; so many are held. Patches
    without a motion stay as they are. sigma: in seconds; 0 = all stay as they are.
    """
    before: deque[_Seens] = deque(maxlen=MOST)
    waiting: deque[tuple[Patched, _Seens]] = deque()
    for frame in frames:
        waiting.append((frame, _seen(frame)))
        if len(waiting) > MOST or sigma <= 0:
            yield _first_of(waiting, before, sigma)
    while waiting:
        yield _first_of(waiting, before, sigma)


def _first_of(
    waiting: deque[tuple[Patched, _Seens]], before: deque[_Seens], sigma: float
) -> Patched:
    """The first of the frames that wait, done; from then on it is one of those before."""
    around = [*before, *(seens for _, seens in waiting)]
    (shot, patches), here = waiting.popleft()
    before.append(here)
    pairs = zip(shot.faces, patches, strict=True)
    return shot, [
        _evened(here[face.track], [one[face.track] for one in around if face.track in one], sigma)
        if sigma > 0 and face.track in here
        else plain
        for face, plain in pairs
    ]


def _evened(here: _Seen, near: Sequence[_Seen], sigma: float) -> Patches:
    """The mean of what is carried into the same face nearby, of each output."""
    apart = np.array([one.time - here.time for one in near])
    weights = shares(apart, sigma, np.array([one.presence for one in near]))
    return {label: evened([one.patches[label] for one in near], weights) for label in here.patches}


def _seen(frame: Patched) -> _Seens:
    shot, patches = frame
    time = float(shot.frame.time)
    return {
        face.track: _Seen(time, face.presence, of_face)
        for face, of_face in zip(shot.faces, patches, strict=True)
        if face.presence > 0 and all(_moves(patch) for patch in of_face.values())
    }


def _moves(patch: NDArray[np.float32]) -> bool:
    """Whether it is one of `carry`, and no plain change."""
    return patch.shape[-1] == 5
