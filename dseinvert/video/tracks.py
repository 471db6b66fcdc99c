"""Faces as tracks: each face of a shot with its five points on every frame, in one pass.

A search of the whole frame every second, quick ones where something changes (see `lookout`), the
points of the known faces placed afresh several times a second, optical flow from each frame to the
next, and all of it fused once a track is whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.faces.align import face_quad, quad_side
from dseinvert.faces.detect import Detector
from dseinvert.faces.search import Rotate
from dseinvert.faces.turns import TURNS, turned, unturned
from dseinvert.media.pixels import Floats, Pixels
from dseinvert.video.follow import Look, View, look_of, view_of
from dseinvert.video.live import Live, fused
from dseinvert.video.lookout import SEARCH, Lookout
from dseinvert.video.shots import ShotDetector

# Seconds between placements of the points of a face that flow carries.
PLACE = 0.12
# Seconds without a sighting after which a track has ended: half a second, and what passes until the
# next look.
GAP = 0.62
# Less like its track, it is another face. Measured: 0.4 .. 0.75 between people, mostly above 0.8
# for the same one an eighth of a second later, rarely below 0.65.
ALIKE = 0.5
MIN_SCORE = 0.6
# How far from where it is expected a face can be, in sides of its quad, and more a second unseen.
REACH, REACH_UNSEEN = 0.2, 1.0
# Faces closer than this many sides of a quad are watched on every frame.
CROWDED = 0.7
# The largest change of size between sightings.
GROWTH = 1.6


@dataclass(frozen=True)
class Track:
    """One face through one shot, with nothing left out between its first frame and its last."""

    frames: NDArray[np.int64]
    """[N] places in the clip, growing by one."""
    times: NDArray[np.float64]
    """[N] seconds."""
    points: NDArray[np.float64]
    """[N, 5, 2] pixels: left eye, right eye, nose, left and right mouth corner."""
    scores: NDArray[np.float64]
    """[N] 0 to 1; 0 where the face was not seen and its points are interpolated."""
    measured: NDArray[np.bool_]
    """[N] whether the face was seen, by detector or flow."""
    look: NDArray[np.float32]
    """[K] what the face looked like on average; length 1."""
    shot: int
    """Counted from 0; a track lies in one shot."""
    from_cut: bool
    """Whether it begins where its shot does, and that with a cut."""
    to_cut: bool
    """Whether it ends where its shot does, and the next one begins with a cut."""

    def __len__(self) -> int:
        return len(self.frames)


class Tracker:
    """Turns the frames of a clip into tracks; holds a second of grey frames at most."""

    def __init__(self, detector: Detector, rotate: Rotate = "auto") -> None:
        """`rotate`: degrees clockwise that set the frames upright; "auto" = as their faces tell."""
        self._detector = detector
        self._lookout = Lookout(detector, rotate)
        self._shots = ShotDetector()
        self._waiting: deque[tuple[Pixels, int, float]] = deque()
        self._history: deque[tuple[int, float, View]] = deque()  # of this shot, the newest last
        self._live: list[Live] = []
        self._done: list[Track] = []
        self._starts: list[int] = []
        self._blended = False  # whether this shot came out of the one before it
        self.rewind = self._first_waiting = 0
        """The place of the first frame to be reminded of."""

    def feed(self, frame: Pixels, index: int, time: Fraction | float) -> None:
        """The next frame uint8 [H, W, 3], its place in the clip, and when it is shown in seconds.

        A few frames are kept until it is known whether a shot begins there.
        """
        self._waiting.append((frame, index, float(time)))
        self._advance(self._shots.feed(frame, time))

    def finish(self) -> tuple[Track, ...]:
        """All tracks, in order of their first frames; to be called once, after the last frame."""
        self._advance(self._shots.finish())
        self._cut()
        return tuple(sorted(self._done, key=lambda track: int(track.frames[0])))

    def pack(self) -> dict[str, NDArray[Any]]:
        """All that is known between two frames but for what those from `rewind` on showed."""
        parts = {"shots": self._shots.pack(), "done": pack(self._done)}
        parts["lookout"] = self._lookout.pack()
        parts |= {f"live.{k}": live.pack() for k, live in enumerate(self._live)}
        arrays = {f"{part}.{name}": a for part, found in parts.items() for name, a in found.items()}
        waiting = self._waiting[0][1] if self._waiting else self._history[-1][0] + 1
        rewind = self._history[0][0] if self._history else waiting
        return arrays | {
            "held": np.array([rewind, waiting], np.int64),
            "starts": np.array(self._starts, np.int64),
            "blended": np.array([self._blended], np.int64),
        }

    @classmethod
    def unpack(
        cls, detector: Detector, arrays: Mapping[str, NDArray[Any]], rotate: Rotate = "auto"
    ) -> Tracker:
        """The tracker that `pack` made arrays of, which must be reminded of frames at first.

        Raises InputError where some are missing, as in what an earlier version kept.
        """
        try:
            return cls._restored(cls(detector, rotate), arrays)
        except KeyError as error:
            raise InputError(f"saved tracks: {error.args[0]} is missing", "track again") from error

    @staticmethod
    def _restored(tracker: Tracker, arrays: Mapping[str, NDArray[Any]]) -> Tracker:
        tracker._shots = ShotDetector.unpack(_under("shots", arrays))
        tracker._done = list(unpack(_under("done", arrays)))
        lives = _under("live", arrays)
        count = len({name.split(".")[0] for name in lives})
        tracker._live = [Live.unpack(_under(str(k), lives)) for k in range(count)]
        tracker.rewind, tracker._first_waiting = arrays["held"].tolist()
        tracker._starts = arrays["starts"].tolist()
        tracker._lookout.restore(_under("lookout", arrays))
        tracker._blended = bool(arrays["blended"][0])
        return tracker

    def remind(self, frame: Pixels, index: int, time: Fraction | float) -> None:
        """A frame that was fed before `pack`: each from `rewind` on, in order."""
        if index < self._first_waiting:
            self._history.append((index, float(time), view_of(frame)))
        else:
            self._waiting.append((frame, index, float(time)))

    @property
    def starts(self) -> tuple[int, ...]:
        """The places in the clip of the frames that begin a shot, as far as known."""
        return tuple(self._starts)

    def _advance(self, answers: Sequence[bool]) -> None:
        for starts in answers:
            frame, index, time = self._waiting.popleft()
            if starts:
                self._cut(blended=self._shots.blended == time)
                self._starts.append(index)
            self._take(frame, index, time)

    def _take(self, frame: Pixels, index: int, time: float) -> None:
        view = view_of(frame)
        for live in self._live:
            live.carry(self._history[-1][2], view, index, time)
        self._history.append((index, time, view))
        while time - self._history[0][1] > SEARCH:
            self._history.popleft()
        for live in self._live:
            due = time - live.seen >= PLACE or not live.sound or self._is_crowded(live)
            due |= live.sightings == 1  # who stays for a moment only is to be seen twice
            if due and not live.blind:
                self._place(live, frame)
        self._part(frame)
        self._search(frame, view, time)
        for live in [live for live in self._live if time - live.seen > GAP]:
            self._live.remove(live)
            self._close(live, to_cut=False)

    def _is_crowded(self, live: Live) -> bool:
        """Whether another face may be about to hide it, or to lead its flow astray."""
        others = (other for other in self._live if other is not live)
        return any(_gap(live.points, other.points) < CROWDED for other in others)

    def _place(self, live: Live, frame: Pixels) -> None:
        """Look where the points are now; a face that is not there, or another one, is lost."""
        points, score = placed(self._detector, frame, live.points)
        there = score >= MIN_SCORE and _near(live.points, points, REACH)
        look = look_of(frame, points if there else live.points)
        if live.look.likeness(look) < ALIKE:
            live.lose()
        elif there:
            live.see(points, score, look)
        elif not live.sound:  # else believe the flow for a while: it may have turned away
            live.lose()

    def _part(self, frame: Pixels) -> None:
        """Of two tracks that came to lie on one face, the one that looks less like it is lost."""
        seeing = [live for live in self._live if not live.blind]
        for k, live in enumerate(seeing):
            for other in seeing[k + 1 :]:
                if _near(live.points, other.points, REACH / 2) and not (live.blind or other.blind):
                    likeness = [x.look.likeness(look_of(frame, x.points)) for x in (live, other)]
                    (live if likeness[0] < likeness[1] else other).lose()

    def _search(self, frame: Pixels, view: View, time: float) -> None:
        seeing = [live for live in self._live if not live.blind]
        faces = self._lookout.faces(
            *(frame, view, time, [live.points for live in seeing]),
            missing=len(seeing) < len(self._live),
            nobody=not self._live,
        )
        looks = [look_of(frame, face.points) for face in faces]
        known = match(self._live, [face.points for face in faces], looks, time)
        for k, (face, look) in enumerate(zip(faces, looks, strict=True)):
            if k in known:
                known[k].see(face.points, face.score, look)
            elif not any(_near(live.points, face.points, REACH / 2) for live in known.values()):
                self._begin(face.points, face.score, look)

    def _begin(self, points: Floats, score: float, look: Look) -> None:
        """A new track, led back by flow through the frames since the last search."""
        index, time, after = self._history[-1]
        live = Live(index, time, points, score, look)
        ended = max((int(t.frames[-1]) for t in self._done if t.shot == self._shot), default=-1)
        for index, time, before in list(self._history)[-2::-1]:
            if index <= ended or not live.carry_back(after, before, index, time):
                break
            after = before
        self._live.append(live)

    @property
    def _shot(self) -> int:
        return len(self._starts) - 1

    def _cut(self, blended: bool = False) -> None:
        """The shot ends. blended: into the next one, so that its faces go, and others come."""
        for live in self._live:
            self._close(live, to_cut=True, blended=blended)
        self._live.clear()
        self._history.clear()
        self._lookout.forget()
        self._blended = blended

    def _close(self, live: Live, to_cut: bool, blended: bool = False) -> None:
        """Keep a track unless it was seen once only although there was time to see it again."""
        if live.sightings == 1 and live.entries[-1].time - live.seen > PLACE:
            return
        entries = live.trimmed(to_cut)
        scores = np.array([entry.score for entry in entries])
        self._done.append(
            Track(
                frames=np.array([entry.index for entry in entries]),
                times=np.array([entry.time for entry in entries]),
                points=fused(entries),
                scores=scores,
                measured=scores > 0,
                look=live.average_look,
                shot=self._shot,
                from_cut=entries[0].index == self._starts[-1] and not self._blended,
                to_cut=to_cut and not blended and len(entries) == len(live.entries),
            )
        )


def placed(detector: Detector, frame: Pixels, points: Floats) -> tuple[NDArray[np.float64], float]:
    """The points of a face that is near `points`, and its score; 0 where there is none."""
    known = detector.place(frame, points)
    if known is not None:
        return known
    quad = face_quad(points)
    margin = 0.25 * quad_side(quad)
    shape = np.array(frame.shape[1::-1])
    start = np.clip(quad.min(0) - margin, 0, shape - 1).astype(int)
    stop = np.clip(quad.max(0) + margin, start + 1, shape).astype(int)
    part = np.ascontiguousarray(frame[start[1] : stop[1], start[0] : stop[0]])
    turn = _turn_of(points)
    faces = [
        unturned(face, turn, part.shape[1], part.shape[0])
        for face in detector.detect(turned(part, turn))
    ]
    near = [(face.points + start, face.score) for face in faces]
    near = [pair for pair in near if _near(np.asarray(points, np.float64), pair[0], REACH)]
    if not near:
        return np.asarray(points, np.float64), 0.0
    best = min(near, key=lambda pair: float(np.abs(pair[0] - points).sum()))
    return np.asarray(best[0], np.float64), best[1]


def _turn_of(points: Floats) -> int:
    """By how much of TURNS a picture must be turned clockwise for this face to stand upright."""
    right, down = (np.mean(points[3:], 0) - np.mean(points[:2], 0)).tolist()
    return TURNS[round(np.arctan2(right, down) / (np.pi / 2)) % 4]


def match(
    tracks: Sequence[Live], faces: Sequence[Floats], looks: Sequence[Look], time: float
) -> dict[int, Live]:
    """Which face [5, 2] is which track's: by place, size and look, the surest pair first."""
    pairs = []
    for live in tracks:
        reach = REACH + (REACH_UNSEEN * (time - live.seen) if live.blind else 0)
        for k, (points, look) in enumerate(zip(faces, looks, strict=True)):
            likeness = live.look.likeness(look)
            if _near(live.points, points, reach) and (likeness >= ALIKE or not live.blind):
                away, growth = _gap(live.points, points), _growth(live.points, points)
                pairs.append((away / reach + abs(np.log(growth)) - 3 * likeness, k, live))
    found: dict[int, Live] = {}
    for _, k, live in sorted(pairs, key=lambda pair: pair[0]):
        if k not in found and all(live is not other for other in found.values()):
            found[k] = live
    return found


def _gap(a: Floats, b: Floats) -> float:
    """Between the middles of two faces, in sides of the smaller quad."""
    sides = [quad_side(face_quad(points)) for points in (a, b)]
    return float(np.hypot(*(np.mean(a, 0) - np.mean(b, 0)))) / min(sides)


def _growth(a: Floats, b: Floats) -> float:
    return quad_side(face_quad(b)) / quad_side(face_quad(a))


def _near(a: Floats, b: Floats, reach: float) -> bool:
    return _gap(a, b) < reach and 1 / GROWTH < _growth(a, b) < GROWTH


def pack(tracks: Sequence[Track]) -> dict[str, NDArray[Any]]:
    """Tracks as arrays for an .npz or a safetensors file: `<number>.<field>`."""
    return {
        f"{k}.{field.name}": np.asarray(getattr(track, field.name))
        for k, track in enumerate(tracks)
        for field in fields(Track)
    }


def unpack(arrays: Mapping[str, NDArray[Any]]) -> tuple[Track, ...]:
    """The tracks that `pack` made arrays of; InputError where some are missing."""
    count = len({name.split(".")[0] for name in arrays})
    try:
        return tuple(_unpacked(k, arrays) for k in range(count))
    except KeyError as error:
        raise InputError(f"saved tracks: {error.args[0]} is missing", "track again") from error


def _under(part: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with "part.", without that."""
    start = f"{part}."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def _unpacked(k: int, arrays: Mapping[str, NDArray[Any]]) -> Track:
    values: dict[str, Any] = {field.name: arrays[f"{k}.{field.name}"] for field in fields(Track)}
    track = Track(**{name: v if v.ndim else v.item() for name, v in values.items()})
    if not _is_whole(track):
        raise InputError(f"saved tracks: number {k} is damaged", "track again")
    return track


def _is_whole(track: Track) -> bool:
    """Whether its arrays are as `Track` says, and its frames are places in a clip."""
    n = len(track.frames)
    shapes = [getattr(track, name).shape for name in ("frames", "times", "scores", "measured")]
    if not n or {*shapes} != {(n,)} or track.points.shape != (n, 5, 2) or track.look.ndim != 1:
        return False
    numbers = (track.times, track.points, track.scores, track.look)
    steps = np.diff(track.frames)
    return bool(track.frames[0] >= 0 and (steps == 1).all()) and all(
        bool(np.isfinite(one).all()) for one in numbers
    )
