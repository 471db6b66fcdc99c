"""The first pass over a clip: its frames counted, its faces tracked, and the crops chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.config import VideoOptions
from dseinvert.errors import InputError
from dseinvert.faces.detect import Detector
from dseinvert.media.atomic import shown
from dseinvert.media.pixels import Doubles
from dseinvert.media.video_read import Frame, Reading, read_frames
from dseinvert.progress import Watcher
from dseinvert.run.flow.relay import relay
from dseinvert.run.video.plan import Task
from dseinvert.run.video.store import Rows, write_rows
from dseinvert.stop import Stop
from dseinvert.video.choose import choose, presence
from dseinvert.video.smooth import quads as raw_quads
from dseinvert.video.smooth import smooth_quads
from dseinvert.video.tracks import Track, Tracker, pack, unpack

_AHEAD = 8
CLIP_PTS = "clip_pts"
# The least that a face counts for its crop on frames where it was not seen.
_UNSEEN = 0.05


class Stopped(Exception):
    """The run was asked to stop; what is done is kept."""


@dataclass(frozen=True)
class Seen:
    """What one reading of a clip told."""

    tracks: tuple[Track, ...]
    starts: tuple[int, ...]
    """Places of the frames that begin a shot."""
    pts: NDArray[np.int64]
    """[F] when each frame is shown, in ticks."""
    lost: int
    """Frames that could not be decoded."""
    problems: tuple[str, ...]
    """A phrase each."""
    partial: bool
    """Whether the clip is not all there, or was damaged."""


@dataclass(frozen=True)
class Crops:
    """A chosen track with what is cut out of the frames for it."""

    number: int
    """Of the track."""
    track: Track
    quads: Doubles
    """[N, 4, 2] steady in time."""
    presence: Doubles
    """[N] 0 to 1: how much of an edit to show."""


def see(task: Task, detector: Detector, every: int, watcher: Watcher, stop: Stop) -> Seen:
    """The tracks of a clip: from a run that was killed after this pass, or from where it was.

    every: frames after which to note how far it is; more of them later, when there is more to note.
    """
    path = task.work / f"tracks-{task.tracks_key}.safetensors"
    if path.exists():
        try:
            return _load(path)
        except InputError:  # a disk that lost what was written; do it again
            path.unlink()
    begun = _Begun(path.with_suffix(".begun.safetensors"), every)
    seen = _track(task, detector, begun, watcher, stop)
    _save(path, seen)
    begun.path.unlink(missing_ok=True)
    return seen


def crops_of(seen: Seen, options: VideoOptions) -> tuple[Crops, ...]:
    """The faces to edit, with their crops."""
    chosen = choose(seen.tracks, options.faces)
    return tuple(
        Crops(number, track, _quads(track, options.smooth), presence(track))
        for number, track in enumerate(seen.tracks)
        if any(track is one for one in chosen)
    )


def frames_from(task: Task, seen: Seen, done: int, depth: int = 8) -> Iterator[tuple[int, Frame]]:
    """The frames from place `done` on, each with its place; the same as when they were `seen`.

    Raises InputError where they are not.
    """
    # After damage, or with times made up, only a reading from the beginning is sure to agree.
    skip = done and not (seen.partial or seen.problems)
    start = int(seen.pts[done]) * task.clip.time_base if skip else task.cut.start
    place = done - 1 if skip else -1
    for frame in read_frames(task.clip, start, task.cut.end, depth):
        place += 1
        if place >= len(seen.pts) or frame.pts != seen.pts[place]:
            raise _changed(task)
        if place >= done:
            yield place, frame
    if place + 1 != len(seen.pts):
        raise _changed(task)


def _changed(task: Task) -> InputError:
    return InputError(f"{shown(task.clip.path)}: changed while it was read", "run again")


def _quads(track: Track, strength: Any) -> Doubles:
    if strength == 0:
        return raw_quads(track.points)
    weights = np.maximum(track.scores, _UNSEEN)
    return smooth_quads(track.times, raw_quads(track.points), strength, weights)


class _Begun:
    """A file of all that is known of the tracks after some of the frames, renewed now and then."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self._every, self._kept = path, every, 0

    def load(self, detector: Detector) -> tuple[Tracker, list[int], bool]:
        """A tracker, when the frames it knows are shown in ticks, and whether all was well."""
        try:
            with Rows(self.path) as rows:
                arrays = {name: rows.read(name) for name in rows.names}
                sound = rows.header["sound"] == "1"
        except InputError:  # there is none, or a disk lost it
            return Tracker(detector), [], True
        pts = arrays.pop(CLIP_PTS).tolist()
        self._kept = len(pts)
        return Tracker.unpack(detector, _restored(arrays)), pts, sound

    def keep(self, tracker: Tracker, pts: Sequence[int], sound: bool, least: int) -> None:
        """Write all anew unless less than `least` frames have come since."""
        if len(pts) - self._kept < least:
            return
        arrays = {name: _stored(array) for name, array in tracker.pack().items()}
        count = np.array(pts, np.int64)
        write_rows(self.path, {**arrays, CLIP_PTS: count}, {"sound": str(int(sound))})
        self._kept = len(pts)

    def due(self, count: int) -> int:
        """How many new frames are worth writing all of `count`: the file grows with the clip."""
        return max(self._every, count // 20)


def _track(task: Task, detector: Detector, begun: _Begun, watcher: Watcher, stop: Stop) -> Seen:
    tracker, pts, sound = begun.load(detector)
    known = len(pts)
    first = tracker.rewind if sound else 0  # after damage, only a whole reading is sure to agree
    resume = pts[first] * task.clip.time_base if first else None
    frames = read_frames(task.clip, task.cut.start, task.cut.end, resume=resume)
    watcher.begin(f"{task.name}: finding faces", max(0, task.frames - known))
    with relay(frames, _AHEAD) as coming:
        for place, frame in enumerate(stop.until(coming), first):
            if place >= known:
                tracker.feed(frame.pixels, place, frame.time)
                pts.append(frame.pts)
                watcher.advance()
                begun.keep(tracker, pts, _is_sound(frames), begun.due(place))
            elif frame.pts != pts[place]:
                begun.path.unlink()
                raise _changed(task)
            elif place >= tracker.rewind:
                tracker.remind(frame.pixels, place, frame.time)
        if stop.code is not None:
            begun.keep(tracker, pts, _is_sound(frames), 1)
            raise Stopped
    if not pts:
        raise InputError(
            f"{shown(task.clip.path)}: no frame lies in this part of it", "change --start"
        )
    tracks = tracker.finish()
    trouble = frames.trouble
    problems = ([task.clip.partial] if task.clip.partial else []) + trouble.problems
    count = np.array(pts, np.int64)
    return Seen(tracks, tracker.starts, count, trouble.lost, tuple(problems), frames.partial)


def _is_sound(frames: Reading) -> bool:
    """Whether nothing was amiss so far, nor is known to be."""
    return not (frames.partial or frames.trouble.problems)


def _save(path: Path, seen: Seen) -> None:
    arrays = {name: _stored(array) for name, array in pack(seen.tracks).items()}
    write_rows(path, {**arrays, CLIP_PTS: seen.pts}, about(seen))


def about(seen: Seen) -> dict[str, str]:
    """What a reading told besides tracks and times, as text for a header."""
    return {
        "shots": json.dumps(seen.starts),
        "lost": str(seen.lost),
        "problems": json.dumps(seen.problems),
        "partial": str(int(seen.partial)),
    }


def _load(path: Path) -> Seen:
    with Rows(path) as rows:
        arrays = {name: rows.read(name) for name in rows.names if name != CLIP_PTS}
        return remembered(unpack(_restored(arrays)), rows.read(CLIP_PTS), rows.header)


def remembered(tracks: Sequence[Track], pts: NDArray[np.int64], header: Mapping[str, str]) -> Seen:
    """What `about` made text of, with the rest."""
    starts, problems = (tuple(json.loads(header[key])) for key in ("shots", "problems"))
    lost, partial = int(header["lost"]), header["partial"] == "1"
    return Seen(tuple(tracks), starts, pts, lost, problems, partial)


def _stored(array: NDArray[Any]) -> NDArray[Any]:
    """Of a kind that the file knows: truth as numbers, single values as rows of one."""
    return np.atleast_1d(array.astype(np.int64) if array.dtype == bool else array)


def _restored(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays as they were before `_stored`; tracks have fields that are single values."""
    singles = {"shot": int, "from_cut": bool, "to_cut": bool}
    restored = {}
    for name, array in arrays.items():
        field = name.rpartition(".")[2]
        if field in singles:
            restored[name] = np.asarray(singles[field](array.reshape(-1)[0]))
        else:
            restored[name] = array.astype(bool) if field == "measured" else array
    return restored
