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
from dseinvert.faces.detect import open_detector
from dseinvert.generators.pixels import to_tensor
from dseinvert.media.atomic import shown
from dseinvert.media.clip import Clip, probe
from dseinvert.media.video_read import Frame, read_frames
from dseinvert.media.video_verify import compare
from dseinvert.progress import Watcher
from dseinvert.run.flow.relay import relay
from dseinvert.run.video.measure import Mark, Pair, measure, window_of, windowed
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
    network = None if recognition is None else open_identity(recognition)
    clips = [probe(path) for path in (source, edited)]
    if clips[0].size != clips[1].size:
        sizes = " and ".join(f"{clip.width} x {clip.height}" for clip in clips)
        raise InputError(f"{shown(edited)}: of another size than {shown(source)}: {sizes}")
    detector = open_detector()
    tracker = Tracker(detector)
    count = 0
    watcher.begin("finding faces", clips[0].claimed_frames or 0)
    with relay(read_frames(clips[0]), _AHEAD) as frames:
        for frame in frames:
            tracker.feed(frame.pixels, frame.index, frame.time)
            watcher.advance()
            count += 1
    tracks = tracker.finish()
    likeness: list[tuple[float, float]] = []
    watcher.begin("measuring", count)
    pairs = _pairs(clips, tracks, tracker.starts, likeness, watcher)
    people: Embedded = {}
    if network is not None:
        pairs = _recognised(pairs, network, people)
    numbers = measure(pairs, detector)
    means = dict(zip(("psnr", "ssim"), np.mean(likeness, 0).tolist(), strict=True))
    return {
        "source": str(source),
        "edited": str(edited),
        "frames": count,
        "faces": len(tracks),
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


def _pairs(
    clips: Sequence[Clip],
    tracks: Sequence[Track],
    starts: Sequence[int],
    likeness: list[tuple[float, float]],
    watcher: Watcher,
) -> Iterator[Pair]:
    """All frames of both, cut to the faces of their shot; fills in psnr and ssim of each."""
    steady = [smooth_quads(track.times, quads(track.points)) for track in tracks]

    def marks(place: int) -> list[Mark]:
        found = []
        for number, track in enumerate(tracks):
            k = place - int(track.frames[0])
            if 0 <= k < len(track):
                found.append(Mark(number, track.points[k], steady[number][k]))
        return found

    def frames(clip: Clip) -> Iterator[Frame]:
        return iter(read_frames(clip))

    with relay(zip(*map(frames, clips), strict=False), _AHEAD) as both:
        window = None
        for place, (source, edited) in enumerate(both):
            if place in starts or place == 0:
                last = min((start for start in starts if start > place), default=1 << 62)
                of_shot = [k for k, t in enumerate(tracks) if place <= t.frames[0] < last]
                window = window_of([quad for k in of_shot for quad in steady[k]], clips[0].size)
            pair = windowed(source.pixels, edited.pixels, marks(place), window, place in starts)
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
