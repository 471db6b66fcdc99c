"""How steady an edited video is against its source, measured on a part of its frames or on all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.faces.detect import Detector
from dseinvert.latent.clip import ClipLatents
from dseinvert.media.pixels import Doubles, Pixels
from dseinvert.media.video_read import read_frames
from dseinvert.run.flow.relay import relay
from dseinvert.run.flow.stream import ahead, threads
from dseinvert.run.video.plan import Output, open_source
from dseinvert.run.video.render import Pictured
from dseinvert.run.video.work import Work
from dseinvert.video.blend import face_mask, mask_in_frame
from dseinvert.video.metrics import WarpError, jitter, jitter_added, seam, step_errors
from dseinvert.video.tracks import MIN_SCORE, placed

Window = tuple[slice, slice]
# So many stretches of so many frames say enough about a clip for its report.
STRETCHES, LENGTH = 4, 8
# Pictures of a contact strip.
MOMENTS = 8
# Pairs that are read, and on which faces are looked for, before their flow is.
_AHEAD = 4
_MOVERS = 2
# Around the faces, in sides of their quads, for flow to see where things come from.
_MARGIN = 0.1
NAMES = {
    "warp_source": "warp error of the source",
    "warp_edited": "warp error of the result",
    "jitter_source": "landmark jitter of the source",
    "jitter_edited": "landmark jitter of the result",
    "jitter_added": "landmark jitter of result minus source",
    "seam_outside": "change just outside the mask",
    "seam_step": "steepening at the rim",
}


@dataclass(frozen=True)
class Mark:
    """A face of a frame of the source."""

    track: int
    points: Doubles
    """[5, 2]"""
    quad: Doubles
    """[4, 2]"""


@dataclass(frozen=True)
class Pair:
    """A frame of both videos, uint8 [H, W, 3]."""

    source: Pixels
    edited: Pixels
    marks: Sequence[Mark]
    begins: bool
    """Whether the frame before it is of another shot, or is not looked at."""


Found = tuple[Pair, dict[int, Doubles | None]]
"""A pair with the points of its faces in both frames [2, 5, 2], by track."""


def measure(pairs: Iterable[Pair], detector: Detector) -> dict[str, float]:
    """Warp error and jitter of both; what nothing can be said of is left out.

    read -> [finder] points of the faces -> [movers] what moved since the pair before.
    """
    warp = WarpError()
    paths: list[list[Doubles]] = []  # of each unbroken piece of a track: [2, 5, 2] a frame
    live: dict[int, list[Doubles]] = {}
    with relay(pairs, _AHEAD) as coming, threads(1) as finder, threads(_MOVERS) as movers:
        found = ahead(finder, partial(_found, detector), coming, _AHEAD)
        for (pair, points), errors in ahead(movers, _moved, _with_last(found), _AHEAD):
            for one in errors:
                warp.add(one)
            if pair.begins:
                live.clear()
            live = {track: path for track, path in live.items() if points.get(track) is not None}
            for track, both in points.items():
                if both is None:
                    continue
                if track not in live:
                    live[track] = []
                    paths.append(live[track])
                live[track].append(both)
    values = {"warp_source": warp.source, "warp_edited": warp.edited}
    values |= _jitters(paths)
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _found(detector: Detector, pair: Pair) -> Found:
    return pair, {mark.track: _points(pair, mark, detector) for mark in pair.marks}


def _with_last(pairs: Iterable[Found]) -> Iterator[tuple[Pair | None, Found]]:
    """Each pair with the one before it in its shot, where faces are on both."""
    last: Pair | None = None
    for one in pairs:
        yield (None if one[0].begins else last), one
        last = one[0] if one[0].marks else None


def _moved(both: tuple[Pair | None, Found]) -> tuple[Found, list[tuple[float, float] | None]]:
    """The pair, and the errors of the step to it, if there is one to look at."""
    before, found = both
    now = found[0]
    if before is None or not now.marks:
        return found, []
    region = _mask(now) > 0
    step = (before.source, before.edited), (now.source, now.edited)
    return found, [step_errors(*step, region)]


def moments(rows: ClipLatents) -> list[int]:
    """Places to show of a clip: evenly over the frames that have a face."""
    frames = np.unique(rows.read("frame"))
    places = np.linspace(0, len(frames) - 1, min(MOMENTS, len(frames)))
    return [int(frames[round(k)]) for k in places]


def stretches(rows: ClipLatents) -> list[int]:
    """The places where the stretches begin: evenly over the frames that have a face."""
    frames = np.unique(rows.read("frame"))
    last = max(0, len(frames) - LENGTH)
    count = max(1, min(STRETCHES, len(frames) // LENGTH))
    return [int(frames[round(k)]) for k in np.linspace(0, last, count)]


def measured(work: Work, output: Output, detector: Detector) -> dict[str, float]:
    """`measure` of an output against its source, over its stretches."""
    with work.latents() as rows:
        faces, firsts = Marks(rows), stretches(rows)

    def pairs() -> Iterator[Pair]:
        for first in firsts:
            written = frames_of(work, output, first)
            both = list(islice(zip(work.frames(first), written, strict=False), LENGTH))
            found = [faces.at(place) for (place, _), _ in both]
            window = window_of([m.quad for marks in found for m in marks], work.clip.size)
            for k, ((place, source), edited) in enumerate(both):
                begins = k == 0 or place in work.seen.starts
                yield windowed(source.pixels, edited, found[k], window, begins)

    return measure(pairs(), detector)


def frames_of(work: Work, output: Output, first: int) -> Iterator[Pixels]:
    """The frames of a written output from place `first` on, without the source beside them."""
    source, clip = work.clip, open_source(output.path, None)
    zero = work.task.cut.zero(source) if work.task.settings is not None else 0
    start = work.seconds(first) - zero - clip.time_base / 2
    for frame in read_frames(clip, start):
        width = frame.pixels.shape[1]
        # Side by side, the result is on the right.
        doubled = round(width * source.height / frame.pixels.shape[0] / source.width) == 2
        picture = frame.pixels[:, width // 2 :] if doubled else frame.pixels
        yield picture[: source.height, : source.width]  # without what it was padded by


class Marks:
    """The faces of a file of latents by frame."""

    def __init__(self, rows: ClipLatents) -> None:
        self._frame, self._track = rows.read("frame"), rows.read("track")
        self._points, self._quad = rows.read("points"), rows.read("quad")

    def at(self, place: int) -> list[Mark]:
        """The faces on the frame at `place`."""
        start, stop = np.searchsorted(self._frame, [place, place + 1])
        return [
            Mark(int(self._track[k]), self._points[k], self._quad[k])
            for k in range(int(start), int(stop))
        ]


def _mask(pair: Pair) -> NDArray[np.float32]:
    """[H, W] of all faces."""
    mask = np.zeros(pair.source.shape[:2], np.float32)
    for mark in pair.marks:
        window, part = mask_in_frame(pair.source, mark.quad, face_mask(mark.points, mark.quad))
        mask[window] = np.maximum(mask[window], part)
    return mask


def _points(pair: Pair, mark: Mark, detector: Detector) -> Doubles | None:
    """The points of one face in both frames [2, 5, 2]; None = not found in one of them."""
    found = [placed(detector, frame, mark.points) for frame in (pair.source, pair.edited)]
    if min(score for _, score in found) < MIN_SCORE:
        return None
    return np.stack([points for points, _ in found])


def _jitters(paths: Sequence[Sequence[Doubles]]) -> dict[str, float]:
    """Of the source's landmarks, of the result's, and of how far these are from those."""
    long = [np.stack(path) for path in paths if len(path) >= 3]
    if not long:
        return {}
    weights = [len(path) - 2 for path in long]
    both = [(path[:, 0], path[:, 1]) for path in long]
    values = np.array([[jitter(own), jitter(one), jitter_added(one, own)] for own, one in both])
    own, theirs, added = np.average(values, 0, weights).tolist()
    return {"jitter_source": own, "jitter_edited": theirs, "jitter_added": added}


def window_of(quads: Sequence[Doubles], size: tuple[int, int]) -> Window | None:
    """The part of frames of width and height `size` that holds all quads; None = there are none."""
    if not quads:
        return None
    corners = np.concatenate(quads)
    margin = _MARGIN * float(np.ptp(corners, axis=0).max())
    low = np.clip(corners.min(0) - margin, 0, None).astype(int)
    high = np.minimum(np.ceil(corners.max(0) + margin).astype(int) + 1, size)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def windowed(
    source: Pixels, edited: Pixels, marks: Sequence[Mark], window: Window | None, begins: bool
) -> Pair:
    """A pair cut to a window; InputError where the frames are not of one size."""
    if edited.shape != source.shape:
        raise InputError("the two videos are not of one size")
    if window is None:
        return Pair(source, edited, marks, begins)
    corner = np.array([window[1].start, window[0].start])
    moved = [Mark(mark.track, mark.points - corner, mark.quad - corner) for mark in marks]
    parts = [np.ascontiguousarray(frame[window]) for frame in (source, edited)]
    return Pair(parts[0], parts[1], moved, begins)


def seams(pictures: Iterable[Pictured], label: str) -> dict[str, float]:
    """What shows at the rim of the faces, on frames that are not encoded yet."""
    found = [seam(one.source, one.results[label], one.mask) for one in pictures]
    values = {
        "seam_outside": [one.outside for one in found if math.isfinite(one.outside)],
        "seam_step": [one.step for one in found if math.isfinite(one.step)],
    }
    return {name: float(np.mean(numbers)) for name, numbers in values.items() if numbers}
