"""Which faces of a clip to edit, decided over all of it; and how an edit comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dseinvert.faces.align import face_quad, quad_side
from dseinvert.media.pixels import Floats
from dseinvert.video.tracks import Track

Faces = Literal["largest", "all"] | int

# Looks of a track's beginning and end agree by 0.90 .. 0.99, of two people by 0.8 at most.
ALIKE = 0.85
# Seconds an edit takes to come or go where a face does so within a shot, and where it is not seen
# for a while.
FADE, HIDE = 0.2, 0.12


def choose(
    tracks: Sequence[Track], faces: Faces = "largest", people: Sequence[int] | None = None
) -> tuple[Track, ...]:
    """The tracks to edit, in their order.

    Args:
        faces: "all", "largest" for the person who takes the most of the clip (area of the face
            times seconds), or how many such people.
        people: [T] the number of the person of each track; None = told apart by their looks.
    """
    if faces == "all":
        return tuple(tracks)
    people = persons(tracks) if people is None else people
    weights: dict[int, float] = {}
    for track, person in zip(tracks, people, strict=True):
        weights[person] = weights.get(person, 0) + weight(track)
    first = sorted(weights, key=lambda person: -weights[person])
    wanted = first[: 1 if faces == "largest" else faces]
    return tuple(t for t, person in zip(tracks, people, strict=True) if person in wanted)


def weight(track: Track) -> float:
    """How much of the clip a track is: the mean area of its quad in pixels times its seconds."""
    area = float(np.mean([quad_side(face_quad(points)) ** 2 for points in track.points]))
    step = float(np.median(np.diff(track.times))) if len(track) > 1 else 0.04
    return area * (float(track.times[-1] - track.times[0]) + step)


def persons(
    tracks: Sequence[Track], vectors: Floats | None = None, alike: float = ALIKE
) -> tuple[int, ...]:
    """The number of the person of each track: the most alike are joined first, from 0 on.

    Two tracks with a frame in common are two people.

    Args:
        vectors: [T, D] of length 1, such as identity embeddings; None = the tracks' looks.
        alike: the least inner product of two tracks of one person.
    """
    if not tracks:
        return ()
    looks = np.stack([track.look for track in tracks]) if vectors is None else np.asarray(vectors)
    likeness = np.triu(looks @ looks.T, 1)
    groups = [{k} for k in range(len(tracks))]
    of = list(range(len(tracks)))
    for a, b in np.argwhere(likeness >= alike)[np.argsort(-likeness[likeness >= alike])].tolist():
        ours, theirs = groups[of[a]], groups[of[b]]
        if ours is theirs or any(_together(tracks[i], tracks[j]) for i in ours for j in theirs):
            continue
        ours |= theirs
        for k in theirs:
            of[k] = of[a]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(of))}
    return tuple(numbers[group] for group in of)


def presence(track: Track, fade: float = FADE) -> NDArray[np.float64]:
    """How much of the edit to show on each frame [N]: 1, but for ramps where a face comes or goes.

    `fade` is in seconds; where a track begins or ends with its shot there is no ramp. Nothing is
    shown where the face was not seen, with ramps of `HIDE` seconds on both sides.
    """
    share = np.ones(len(track))
    step = float(np.median(np.diff(track.times))) if len(track) > 1 else fade
    if not track.from_cut:
        share = np.minimum(share, (track.times - track.times[0] + step) / (fade + step))
    if not track.to_cut:
        share = np.minimum(share, (track.times[-1] - track.times + step) / (fade + step))
    unseen = track.times[~track.measured]
    if len(unseen):
        next_one = np.searchsorted(unseen, track.times).clip(max=len(unseen) - 1)
        around = unseen[np.stack([next_one, np.maximum(next_one - 1, 0)])]
        share = np.minimum(share, np.abs(around - track.times).min(0) / (HIDE + step))
    return np.asarray(share * share * (3 - 2 * share))


def without_face(tracks: Sequence[Track], count: int) -> NDArray[Any]:
    """The places [M] of the frames of a clip of `count` frames that no track covers."""
    covered = np.zeros(count, bool)
    for track in tracks:
        covered[track.frames] = True
    return np.flatnonzero(~covered)


def _together(a: Track, b: Track) -> bool:
    return bool(a.frames[0] <= b.frames[-1] and b.frames[0] <= a.frames[-1])
