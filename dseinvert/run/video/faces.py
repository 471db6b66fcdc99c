"""The first pass over a clip: its frames counted, its faces tracked, and the crops chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dseinvert.config import VideoOptions
from dseinvert.errors import InputError
from dseinvert.faces.detect import Detector
from dseinvert.faces.search import Rotate
from dseinvert.media.atomic import shown
from dseinvert.media.pixels import Doubles
from dseinvert.media.rows import Rows, write_rows
from dseinvert.media.video_read import Reading, read_frames
from dseinvert.run.flow.relay import relay
from dseinvert.run.video.work import Seen, Stopped, Work
from dseinvert.video.choose import choose, presence
from dseinvert.video.smooth import quads as raw_quads
from dseinvert.video.smooth import smooth_quads
from dseinvert.video.tracks import Track, Tracker, pack, unpack

_AHEAD = 8
# The least that a face counts for its crop on frames where it was not seen.
_UNSEEN = 0.05
_PTS = "clip_pts"
_DAMAGES = (InputError, ValueError, LookupError, TypeError, OverflowError)
"""What is raised of a file whose arrays are not those that were written."""


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


def see(work: Work, detector: Detector, every: int, rotate: Rotate = "auto") -> Seen:
    """The tracks of a clip: from a run that was killed after this pass, or from where it was.

    every: frames after which to note how far it is; more of them later, when there is more to note.
    rotate: see `Tracker`.
    """
    path = work.kept(f"tracks-{work.task.tracks_key}.safetensors")
    if path.exists():
        if (seen := known(path)) is not None:
            return seen
        path.unlink()  # a disk that lost what was written; do it again
    begun = _Begun(path.with_suffix(".begun.safetensors"), every, rotate)
    seen = _track(work, detector, begun)
    _save(path, seen)
    begun.path.unlink(missing_ok=True)
    return seen


def known(path: Path) -> Seen | None:
    """What a killed run left of its first pass; None = nothing that is whole."""
    try:
        return _load(path)
    except _DAMAGES:
        return None


def crops_of(seen: Seen, options: VideoOptions) -> tuple[Crops, ...]:
    """The faces to edit, with their crops."""
    chosen = choose(seen.tracks, options.faces)
    return tuple(
        Crops(number, track, _quads(track, options.smooth), presence(track))
        for number, track in enumerate(seen.tracks)
        if any(track is one for one in chosen)
    )


def _quads(track: Track, strength: Any) -> Doubles:
    if strength == 0:
        return raw_quads(track.points)
    weights = np.maximum(track.scores, _UNSEEN)
    return smooth_quads(track.times, raw_quads(track.points), strength, weights)


class _Begun:
    """A file of all that is known of the tracks after some of the frames, renewed now and then."""

    def __init__(self, path: Path, every: int, rotate: Rotate) -> None:
        self.path, self._every, self._rotate, self._kept = path, every, rotate, 0

    def load(self, detector: Detector) -> tuple[Tracker, list[int], bool]:
        """A tracker, when the frames it knows are shown in ticks, and whether all was well."""
        try:
            with Rows(self.path) as rows:
                arrays = {name: rows.read(name) for name in rows.names}
                sound = rows.header["sound"] == "1"
            pts = arrays.pop(_PTS).tolist()
            tracker = Tracker.unpack(detector, _restored(arrays), self._rotate)
            if tracker.rewind not in range(max(1, len(pts))):
                raise ValueError("goes on before or behind what is known")
        except _DAMAGES:  # there is none, a disk lost it, or an earlier version kept less
            return Tracker(detector, self._rotate), [], True
        self._kept = len(pts)
        return tracker, pts, sound

    def keep(self, tracker: Tracker, pts: Sequence[int], sound: bool, least: int) -> None:
        """Write all anew unless less than `least` frames have come since."""
        if len(pts) - self._kept < least:
            return
        arrays = {name: _stored(array) for name, array in tracker.pack().items()}
        count = np.array(pts, np.int64)
        write_rows(self.path, {**arrays, _PTS: count}, {"sound": str(int(sound))})
        self._kept = len(pts)

    def due(self, count: int) -> int:
        """How many new frames are worth writing all of `count`: the file grows with the clip."""
        return max(self._every, count // 20)


def _track(work: Work, detector: Detector, begun: _Begun) -> Seen:
    """Read the clip and follow its faces, going on behind what is known."""
    task, (tracker, pts, sound) = work.task, begun.load(detector)
    known = len(pts)
    first = tracker.rewind if sound else 0  # after damage, only a whole reading is sure to agree
    resume = pts[first] * work.clip.time_base if first else None
    frames = read_frames(work.clip, task.cut.start, task.cut.end, resume=resume)
    work.begin("finding faces", max(0, task.frames - known))
    # In a thread, the next frames are decoded while faces are looked for on this one.
    with relay(frames if first else work.keeping(frames), _AHEAD) as coming:
        for place, frame in enumerate(work.stop.until(coming), first):
            if place >= known:
                tracker.feed(frame.pixels, place, frame.time)
                pts.append(frame.pts)
                work.advance()
                begun.keep(tracker, pts, _is_sound(frames), begun.due(place))
            elif frame.pts != pts[place]:
                begun.path.unlink()
                raise work.changed()
            elif place >= tracker.rewind:
                # Tracks go both ways: a face that the next search finds is led back through the
                # frames since the last one, so these are shown again rather than kept on disk.
                tracker.remind(frame.pixels, place, frame.time)
        if work.stop.code is not None:
            begun.keep(tracker, pts, _is_sound(frames), 1)
            raise Stopped
    return _told(work, tracker, pts, frames)


def _told(work: Work, tracker: Tracker, pts: Sequence[int], frames: Reading) -> Seen:
    """What a reading came to that has ended."""
    if not pts:
        raise InputError(
            f"{shown(work.clip.path)}: no frame lies in this part of it", "change --start"
        )
    tracks, trouble = tracker.finish(), frames.trouble
    problems = ([work.clip.partial] if work.clip.partial else []) + trouble.problems
    count = np.array(pts, np.int64)
    return Seen(tracks, tracker.starts, count, trouble.lost, tuple(problems), frames.partial)


def _is_sound(frames: Reading) -> bool:
    """Whether nothing was amiss so far, nor is known to be."""
    return not (frames.partial or frames.trouble.problems)


def _save(path: Path, seen: Seen) -> None:
    arrays = {name: _stored(array) for name, array in pack(seen.tracks).items()}
    write_rows(path, {**arrays, _PTS: seen.pts}, seen.text())


def _load(path: Path) -> Seen:
    with Rows(path) as rows:
        arrays = {name: rows.read(name) for name in rows.names if name != _PTS}
        return Seen.parse(unpack(_restored(arrays)), rows.read(_PTS), rows.header)


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
