"""How steady and how faithful one video is against another, over all of their frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.faces.align import crop
from dseinvert.faces.detect import Detector, open_detector
from dseinvert.generators.pixels import to_tensor
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip, probe
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_verify import compare
from dseinvert.progress import Watcher
from dseinvert.run.flow.relay import relay
from dseinvert.run.video.measure import Mark, Pair, Window, measure, window_of, windowed
from dseinvert.similarity.identity import Identity, open_identity
from dseinvert.video.metrics import PROTOCOL, identity, psnr, ssim
from dseinvert.video.smooth import quads, smooth_quads
from dseinvert.video.tracks import Track, Tracker

_AHEAD = 6
# What equal frames count as, for a table has no infinity.
_MOST_PSNR = 100.0
# Sides in pixels of the crops that faces are recognised on.
_SIDE = 256
Embedded = dict[int, list[NDArray[np.float32]]]
"""Of each track, what its frames are [2, D] in the source and in the result."""


def evaluate_videos(
    source: Path, edited: Path, watcher: Watcher, recognition: Path | None = None
) -> dict[str, Any]:
    """Temporal measures of `edited` against `source`, ready for JSON.

    Args:
        recognition: a face embedding network, see `open_identity`; None = nobody is recognised.

    Raises:
        InputError: one cannot be read, or they are not of one size.
        MissingError: `recognition` cannot be used.
    """
    clips = [probe(path) for path in (source, edited)]
    if clips[0].size != clips[1].size:
        sizes = " and ".join(f"{clip.width} x {clip.height}" for clip in clips)
        raise InputError(f"{shown(edited)}: of another size than {shown(source)}: {sizes}")
    network = None if recognition is None else open_identity(recognition)
    detector = open_detector()
    faces, count = _faces(clips[0], detector, watcher)
    likeness: list[tuple[float, float]] = []
    watcher.begin("measuring", count)
    pairs = _pairs(clips, faces, likeness, watcher)
    people: Embedded = {}
    if network is not None:
        pairs = _recognised(pairs, network, people)
    numbers = measure(pairs, detector)
    means = dict(zip(("psnr", "ssim"), np.mean(likeness, 0).tolist(), strict=True))
    return {
        "source": str(source),
        "edited": str(edited),
        "frames": count,
        "faces": len(faces.tracks),
        **numbers,
        **_ratios(numbers),
        **means,
        "differences": compare(source, edited),
        **_identities(people),
        "identity": "not measured: name a network with --identity"
        if network is None
        else f"{network.name}, sha256 {network.sha256}",
        "protocol": f"{PROTOCOL}; within the mask of the faces, psnr and ssim in their window; "
        f"identity on crops of {_SIDE} px, the same places of both",
    }


class _Faces:
    """The faces of the source by frame, and the part of each shot that holds them."""

    def __init__(self, tracks: Sequence[Track], starts: Sequence[int]) -> None:
        self.tracks, self.starts = tracks, starts
        self._steady = [smooth_quads(track.times, quads(track.points)) for track in tracks]

    def at(self, place: int) -> list[Mark]:
        """Those on the frame at `place`."""
        found = []
        for number, track in enumerate(self.tracks):
            k = place - int(track.frames[0])
            if 0 <= k < len(track):
                found.append(Mark(number, track.points[k], self._steady[number][k]))
        return found

    def window(self, place: int, size: tuple[int, int]) -> Window | None:
        """What holds all faces of the shot that begins at `place`; None = it has none."""
        last = min((start for start in self.starts if start > place), default=1 << 62)
        of_shot = [k for k, track in enumerate(self.tracks) if place <= track.frames[0] < last]
        return window_of([quad for k in of_shot for quad in self._steady[k]], size)


def _faces(clip: Clip, detector: Detector, watcher: Watcher) -> tuple[_Faces, int]:
    """The faces of all frames, and how many frames there are."""
    tracker, count = Tracker(detector), 0
    watcher.begin("finding faces", clip.claimed_frames or 0)
    with relay(read_frames(clip), _AHEAD) as frames:
        for frame in frames:
            tracker.feed(frame.pixels, frame.index, frame.time)
            watcher.advance()
            count += 1
    tracks = tracker.finish()
    return _Faces(tracks, tracker.starts), count


def _pairs(
    clips: Sequence[Clip], faces: _Faces, likeness: list[tuple[float, float]], watcher: Watcher
) -> Iterator[Pair]:
    """All frames of both, cut to the faces of their shot; fills in psnr and ssim of each."""
    readers = (iter(read_frames(clip)) for clip in clips)
    with relay(zip(*readers, strict=False), _AHEAD) as both:
        window = None
        for place, (source, edited) in enumerate(both):
            if place in faces.starts or place == 0:
                window = faces.window(place, clips[0].size)
            begins = place in faces.starts
            pair = windowed(source.pixels, edited.pixels, faces.at(place), window, begins)
            likeness.append(
                (min(_MOST_PSNR, psnr(pair.source, pair.edited)), ssim(pair.source, pair.edited))
            )
            watcher.advance()
            yield pair


@torch.inference_mode()
def _recognised(pairs: Iterable[Pair], network: Identity, people: Embedded) -> Iterator[Pair]:
    """The same pairs; fills in who is on them."""
    for pair in pairs:
        for mark in pair.marks:
            faces = [crop(frame, mark.quad, _SIDE) for frame in (pair.source, pair.edited)]
            vectors = network(to_tensor(faces)).float().cpu().numpy()
            people.setdefault(mark.track, []).append(vectors)
        yield pair


def _identities(people: Mapping[int, Sequence[NDArray[np.float32]]]) -> dict[str, float]:
    """TL-ID, TG-ID and Video ID, tracks weighing as many frames as they have."""
    both = [np.stack(rows, 1) for rows in people.values() if len(rows) > 1]
    found = [identity(edited, source) for source, edited in both]
    values = {
        name: np.array([getattr(one, name) for one in found])
        for name in ("tl_id", "tg_id", "video_id")
    }
    frames = np.array([rows.shape[1] for rows in both], np.float64)
    known = {name: np.isfinite(numbers) for name, numbers in values.items()}
    return {
        name: float(np.average(numbers[known[name]], weights=frames[known[name]]))
        for name, numbers in values.items()
        if known[name].any()
    }


def _ratios(numbers: dict[str, float]) -> dict[str, float]:
    """Result over source, 1 = as steady; only where the source has some to speak of."""
    ratios = {}
    for name in ("warp", "jitter"):
        own, theirs = (numbers.get(f"{name}_{which}", math.nan) for which in ("source", "edited"))
        if own > 0 and math.isfinite(theirs):
            ratios[f"{name}_ratio"] = theirs / own
    return ratios
