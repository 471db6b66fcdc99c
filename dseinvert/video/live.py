"""A face while it is being tracked: what flow and detector said about it on each frame so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.media.pixels import Doubles, Floats
from dseinvert.video.follow import Look, View, eye_distance, follow
from dseinvert.video.fuse import fuse

# Standard deviation in eye distances: of placed points at least, and of a face unseen for a second.
PLACED_NOISE, WANDER = 0.005, 2.0
# Flow is sound above this share of points that it can follow back.
SOUND = 0.4
# How much a new sighting changes what a face is known to look like.
RENEWAL = 0.2
_UNKNOWN = np.full((5, 2), np.nan)


@dataclass
class Entry:
    """One frame of a face."""

    index: int
    time: float
    step: Doubles
    """[5, 2] pixels from the entry before."""
    noise: Doubles
    """[5] its standard deviation."""
    placed: Doubles
    """[5, 2] pixels; NaN = not placed on this frame."""
    score: float
    """0 = not seen."""


class Live:
    """The entries of one face, its expected points and its look."""

    def __init__(self, index: int, time: float, points: Floats, score: float, look: Look) -> None:
        self.points = np.asarray(points, np.float64)
        self.look = look
        self.blind = False
        """Whether it has been lost sight of, so that `points` are a guess."""
        self.sound = True
        """Whether flow could follow it to the newest frame."""
        self.seen, self.sightings = time, 1
        self._speed = np.zeros(2)  # pixels a second while blind
        self._first_points, self._looks = self.points, look.vector
        zero = np.zeros((5, 2))
        self.entries = [Entry(index, time, zero, np.zeros(5), self.points.copy(), score)]

    @property
    def average_look(self) -> NDArray[np.float32]:
        """The mean of the looks [K] of all sightings, of length 1."""
        return self._looks / np.float32(np.linalg.norm(self._looks))

    @property
    def last_score(self) -> float:
        """Of the newest sighting."""
        return self.entries[self._last_sighting()].score

    def pack(self) -> dict[str, NDArray[Any]]:
        """All that is known of it, as arrays of at least one dimension."""
        entries = {
            "frames": np.array([entry.index for entry in self.entries], np.int64),
            "times": np.array([entry.time for entry in self.entries], np.float64),
            "steps": np.stack([entry.step for entry in self.entries]),
            "noise": np.stack([entry.noise for entry in self.entries]),
            "placed": np.stack([entry.placed for entry in self.entries]),
            "scores": np.array([entry.score for entry in self.entries], np.float64),
        }
        return entries | {
            "points": self.points,
            "first_points": self._first_points,
            "speed": self._speed,
            "patch": self.look.patch,
            "colours": self.look.colours,
            "looks": self._looks,
            "seen": np.array([self.seen], np.float64),
            "counts": np.array([self.blind, self.sound, self.sightings], np.int64),
        }

    @classmethod
    def unpack(cls, arrays: Mapping[str, NDArray[Any]]) -> Live:
        """The face that `pack` made arrays of."""
        names = ("frames", "times", "steps", "noise", "placed", "scores")
        frames, times, steps, noise, placed, scores = (arrays[name] for name in names)
        look = Look(arrays["patch"], arrays["colours"])
        live = cls(int(frames[0]), float(times[0]), arrays["points"], float(scores[0]), look)
        rows = (frames.tolist(), times.tolist(), steps, noise, placed, scores.tolist())
        live.entries = [Entry(*row) for row in zip(*rows, strict=True)]
        live._first_points, live._speed = arrays["first_points"], arrays["speed"]
        live._looks, live.seen = arrays["looks"], float(arrays["seen"][0])
        blind, sound, live.sightings = arrays["counts"].tolist()
        live.blind, live.sound = bool(blind), bool(sound)
        return live

    def carry(self, before: View, view: View, index: int, time: float) -> None:
        """Go on to the next frame by flow, or blindly."""
        since = time - self.entries[-1].time
        if not self.blind:
            step = follow(before, view, self.points)
            self.sound = step.sure >= SOUND
            if self.sound:
                moved = step.points - self.points
                self._add(index, time, moved, step.noise, self.last_score * step.sure)
                self.points = step.points
                return
        self._add(index, time, np.zeros((5, 2)), self._wander(since), 0.0)
        self.points = self.points + since * self._speed

    def carry_back(self, after: View, before: View, index: int, time: float) -> bool:
        """Grow by the frame before the first one; False where flow cannot tell."""
        first = self.entries[0]
        step = follow(after, before, self._first_points)
        if step.sure < SOUND:
            return False
        first.step, first.noise = self._first_points - step.points, step.noise
        entry = Entry(index, time, np.zeros((5, 2)), np.zeros(5), _UNKNOWN, first.score * step.sure)
        self.entries.insert(0, entry)
        self._first_points = step.points
        return True

    def see(self, points: Floats, score: float, look: Look) -> None:
        """The points as placed on the newest frame."""
        newest = self.entries[-1]
        newest.placed, newest.score = np.asarray(points, np.float64), score
        self.points, self.look = newest.placed.copy(), self.look.blended(look, RENEWAL)
        self._looks = self._looks + look.vector
        self.blind, self.sound = False, True
        self.seen, self.sightings = newest.time, self.sightings + 1

    def lose(self) -> None:
        """Forget what flow said since the last sighting: it followed something else."""
        self.blind = True
        last = self._last_sighting()
        self._speed = self._speed_at(last)
        for before, entry in zip(self.entries[last:], self.entries[last + 1 :], strict=False):
            entry.step = np.zeros((5, 2))
            entry.noise = self._wander(entry.time - before.time)
            entry.score, entry.placed = 0.0, _UNKNOWN
        known = self.entries[last]
        self.points = known.placed + (self.entries[-1].time - known.time) * self._speed

    def trimmed(self, to_cut: bool) -> list[Entry]:
        """The entries worth keeping: up to the last sighting, or to a cut as far as flow led."""
        if to_cut:
            last = next(k for k in reversed(range(len(self.entries))) if self.entries[k].score > 0)
        else:
            last = self._last_sighting()
        return self.entries[: last + 1]

    def _last_sighting(self) -> int:
        places = reversed(range(len(self.entries)))
        return next(k for k in places if np.isfinite(self.entries[k].placed).all())

    def _speed_at(self, last: int) -> Doubles:
        """Pixels a second [2], of the quarter second before an entry."""
        moved, first = np.zeros(2), last
        while first > 0 and self.entries[last].time - self.entries[first - 1].time < 0.25:
            moved, first = moved + self.entries[first].step.mean(0), first - 1
        return moved / max(self.entries[last].time - self.entries[first].time, 1e-3)

    def _wander(self, seconds: float) -> Doubles:
        return np.full(5, WANDER * eye_distance(self.points) * np.sqrt(max(seconds, 1e-3)))

    def _add(self, index: int, time: float, step: Doubles, noise: Doubles, score: float) -> None:
        self.entries.append(Entry(index, time, step, noise, _UNKNOWN, score))


def fused(entries: list[Entry]) -> Doubles:
    """The points [N, 5, 2] of a face on each of its frames, from all that was said about it."""
    placed, steps, noise = (
        np.stack([getattr(entry, name) for entry in entries])
        for name in ("placed", "step", "noise")
    )
    error = _placed_noise(placed, steps, noise)
    return fuse(steps, noise, placed, np.full(len(entries), error))


def _placed_noise(placed: Doubles, steps: Doubles, noise: Doubles) -> float:
    """Pixels: how much placements differ beyond what flow explains, by the median of neighbours."""
    seen = np.flatnonzero(np.isfinite(placed).all((1, 2)))
    least = PLACED_NOISE * float(np.median([eye_distance(face) for face in placed[seen]]))
    if len(seen) < 3:
        return least
    path, doubt = np.cumsum(steps, 0)[seen], np.cumsum(noise * noise, 0)[seen]
    gaps = np.diff(placed[seen] - path, axis=0)
    spread = np.median(np.abs(gaps)) / 0.6745
    return float(np.sqrt(max(least**2, (spread**2 - np.median(np.diff(doubt, axis=0))) / 2)))
