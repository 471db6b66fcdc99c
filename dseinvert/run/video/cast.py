"""Everybody in a clip, numbered: who is there every second and where something came; who is who.

Whoever was there is looked for where they were; the rest of the frame is searched where it changed,
and all of it now and then.

Numbers go by when somebody is first seen, then from left to right. They are of the whole clip,
whatever part of it is done, and so are the same in every run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert import names
from dseinvert.faces.align import crop, face_quad, quad_side
from dseinvert.faces.detect import MIN_SCORE, Detector, Face
from dseinvert.faces.search import Rotate
from dseinvert.generators.pixels import to_tensor
from dseinvert.media.atomic import write_bytes
from dseinvert.media.clip import Clip
from dseinvert.media.pixels import Doubles, Floats, Pixels
from dseinvert.media.sampled import Glimpse, glimpses
from dseinvert.models.person import SAME_PERSON
from dseinvert.similarity.identity import Identity
from dseinvert.video.follow import Look, View, look_of, view_of
from dseinvert.video.lookout import SMALLEST, WATCHED, Lookout
from dseinvert.video.tracks import placed

EVERY, FEWEST = Fraction(1), 10
"""Seconds between searches; a clip of less than so many searches has so many."""
# Looks between searches of whole frames.
_WHOLE = 6
# Seconds between glances for something new, and how many of them a second may lead to a look: a
# camera that moves makes all of a frame new.
_GLANCE, _EXTRA, _MOST = 0.15, 0.1, 2.0
# At which scale of a frame that is done.
_SCALE = WATCHED / SMALLEST
# Looks a second apart that somebody may be missed in and still be the same.
_MISSED = 2
# Sides of a quad within which two faces of one look are one.
_SAME = 0.2
# Least likeness of the same face nearby and anywhere, and what is nearby, in sides of its quad.
_ALIKE_NEAR, _ALIKE, _NEAR, _GROWTH = 0.6, 0.85, 1.0, 1.8
# Side in pixels of the pictures of a face, and how many of them are kept.
SIDE, _KEPT = 192, 6
FORMAT = "dseinvert-people-1"


@dataclass(frozen=True)
class Sighting:
    """A face on one of the frames that were searched."""

    time: float
    """Seconds from the beginning of the clip."""
    points: Doubles
    """[5, 2] pixels."""


@dataclass(frozen=True)
class Somebody:
    """One of those in a clip."""

    number: int
    """From 1."""
    sightings: tuple[Sighting, ...]
    """In order, at least one."""
    vector: NDArray[np.float32] | None = None
    """[D] of length 1, as the identity network knows them; None = there is none."""
    pictures: tuple[tuple[float, Pixels], ...] = ()
    """When, and the face [SIDE, SIDE, 3]; none where it was read from a file."""

    @property
    def times(self) -> tuple[float, float]:
        """First and last seen, in seconds."""
        return self.sightings[0].time, self.sightings[-1].time

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "number": self.number,
            "from": self.times[0],
            "to": self.times[1],
            "sightings": [[s.time, np.round(s.points, 2).ravel().tolist()] for s in self.sightings],
            "identity": None if self.vector is None else self.vector.tolist(),
        }


@dataclass
class _Seen:
    """Somebody while the clip is being read."""

    look: Look
    sightings: list[Sighting] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)
    pictures: list[tuple[float, Pixels]] = field(default_factory=list)
    step: int = 1
    """Of so many sightings one picture is kept."""

    def see(self, search: int, sighting: Sighting, look: Look, frame: Pixels) -> None:
        """One more sighting."""
        if len(self.sightings) % self.step == 0:
            quad = face_quad(sighting.points)
            self.pictures.append((sighting.time, crop(frame, quad, SIDE)))
        if len(self.pictures) >= 2 * _KEPT:
            self.pictures, self.step = self.pictures[::2], 2 * self.step
        self.look = self.look.blended(look, 0.5)
        self.sightings.append(sighting)
        self.searches.append(search)


def find_everybody(
    clip: Clip,
    detector: Detector,
    network: Identity | None,
    advance: Callable[[], None],
    rotate: Rotate = "auto",
) -> tuple[Somebody, ...]:
    """Everybody in a clip, by number.

    Without a network, somebody who leaves and comes back is somebody new. `advance` is called
    each time that `every_of` has passed. rotate: as of `Lookout`.
    """
    cast = _Cast(detector, every_of(clip), rotate)
    for glimpse in glimpses(clip):
        if cast.glance(glimpse):
            advance()
    found = cast.found
    vectors = [_vector(one, network) for one in found]
    groups = _groups(found, vectors)
    people = [_one(group, network) for group in groups]
    people.sort(key=lambda one: (one.sightings[0].time, one.sightings[0].points[:, 0].mean()))
    return tuple(
        Somebody(k, one.sightings, one.vector, one.pictures) for k, one in enumerate(people, 1)
    )


def every_of(clip: Clip) -> Fraction:
    """Seconds between searches."""
    return EVERY if not clip.duration else min(EVERY, clip.duration / FEWEST)


def save_people(
    path: Path, people: Sequence[Somebody], source: str, network: str, rotate: Rotate = 0
) -> None:
    """A list for later runs.

    source, network: sha256 of the clip, and of the network or "". rotate: as of `find_everybody`.
    """
    told = [one.asdict() for one in people]
    about = {"format": FORMAT, "source_sha256": source, "network": network}
    content = {**about, "people": told, **({"turn": rotate} if rotate else {})}
    write_bytes(path, json.dumps(content).encode())


def load_people(
    path: Path, source: str, network: str, rotate: Rotate = 0
) -> tuple[Somebody, ...] | None:
    """What `save_people` wrote; None = it is not there, damaged, or of something else."""
    try:
        content = names.json_value(names.read_regular(path))
        about = [content[k] for k in ("format", "source_sha256", "network")]
        if [*about, content.get("turn", 0)] != [FORMAT, source, network, rotate]:
            return None
        return tuple(map(_loaded, content["people"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _loaded(row: Any) -> Somebody:
    sightings = tuple(
        Sighting(names.number(time), np.array(names.each(points, names.number)).reshape(5, 2))
        for time, points in row["sightings"]
    )
    vector = row["identity"]
    known = None if vector is None else np.array(names.each(vector, names.number), np.float32)
    if not sightings:
        raise ValueError("nobody was seen")
    return Somebody(names.count(row["number"]), sightings, known)


class _Cast:
    """Everybody seen so far, in a clip that is being read."""

    def __init__(self, detector: Detector, every: Fraction, rotate: Rotate) -> None:
        self.found: list[_Seen] = []
        self._detector, self._every = detector, every
        self._lookout = Lookout(detector, rotate, every=_WHOLE * float(every))
        self._due, self._glanced = Fraction(0), Fraction(0)
        self._extra, self._looks = 1.0, 0  # looks that may be had between those that are due
        self._there: list[_Seen] = []  # at the last look

    def glance(self, glimpse: Glimpse) -> bool:
        """Look at a frame closely if that is due, or something is new; returns whether it was due.

        The first frame in each `every` seconds is due.
        """
        due = glimpse.time >= self._due
        if due:
            self._due = (glimpse.time // self._every + 1) * self._every
        elif not self._is_news(glimpse):
            return False
        self._look(glimpse)
        return due

    def _is_news(self, glimpse: Glimpse) -> bool:
        since = glimpse.time - self._glanced
        if since < _GLANCE:
            return False
        self._glanced = glimpse.time
        self._extra = min(_MOST, self._extra + _EXTRA * float(since))
        if glimpse.gray is None or self._extra < 1:
            return False
        known = [one.sightings[-1].points for one in self._there]
        news = self._lookout.is_news(View(glimpse.gray(_SCALE), _SCALE), known)
        self._extra -= news
        return news

    def _look(self, glimpse: Glimpse) -> None:
        time, frame = float(glimpse.time), glimpse.pixels()
        view = View(glimpse.gray(_SCALE), _SCALE) if glimpse.gray else view_of(frame)
        self._looks += 1
        there = self._still_there(time, frame)
        points = [one.sightings[-1].points for one in there]
        missing = len(there) < len(self._there)
        faces = self._lookout.faces(frame, view, time, points, missing=missing, nobody=not there)
        new = [face for face in faces if not any(is_near(p, face.points, _SAME) for p in points)]
        self._there = there + self._recognised(time, frame, new, there)

    def _still_there(self, time: float, frame: Pixels) -> list[_Seen]:
        """Those of the last look who are where they were, or beside."""
        there: list[_Seen] = []
        for one in self._there:
            points, score = placed(self._detector, frame, one.sightings[-1].points)
            taken = any(is_near(o.sightings[-1].points, points, _SAME) for o in there)
            if score < MIN_SCORE or taken:
                continue
            look = look_of(frame, points)
            if one.look.likeness(look) >= _ALIKE_NEAR:
                one.see(self._looks, Sighting(time, points), look, frame)
                there.append(one)
        return there

    def _recognised(
        self, time: float, frame: Pixels, faces: Sequence[Face], there: Sequence[_Seen]
    ) -> list[_Seen]:
        """Who was found beside those who are still there: known ones, and new ones."""
        faces = sorted(faces, key=lambda face: float(face.points[:, 0].mean()))
        looks = [look_of(frame, face.points) for face in faces]
        since = time - (_MISSED + 0.5) * float(self._every)
        recent = [one for one in self.found if one.sightings[-1].time >= since]
        recent = [one for one in recent if all(one is not other for other in there)]
        known = _matched(recent, faces, looks)
        for k, (face, look) in enumerate(zip(faces, looks, strict=True)):
            if k not in known:
                known[k] = _Seen(look)
                self.found.append(known[k])
            points = np.asarray(face.points, np.float64)
            known[k].see(self._looks, Sighting(time, points), look, frame)
        return list(known.values())


def _matched(
    recent: Sequence[_Seen], faces: Sequence[Face], looks: Sequence[Look]
) -> dict[int, _Seen]:
    """Which of those seen lately each face is, by its place in the list; the surest first."""
    pairs = []
    for k, (face, look) in enumerate(zip(faces, looks, strict=True)):
        for one in recent:
            likeness = one.look.likeness(look)
            near = is_near(one.sightings[-1].points, face.points)
            if likeness >= (_ALIKE_NEAR if near else _ALIKE):
                pairs.append((-likeness - near, k, one))
    known: dict[int, _Seen] = {}
    for _, k, one in sorted(pairs, key=lambda pair: pair[0]):
        if k not in known and all(one is not other for other in known.values()):
            known[k] = one
    return known


def is_near(a: Floats, b: Floats, reach: float = _NEAR) -> bool:
    """Whether two faces [5, 2] may be one by their places, `reach` in sides of the smaller quad."""
    sides = [quad_side(face_quad(points)) for points in (a, b)]
    gap = float(np.hypot(*(np.mean(a, 0) - np.mean(b, 0)))) / min(sides)
    return gap < reach and 1 / _GROWTH < sides[1] / sides[0] < _GROWTH


@torch.inference_mode()
def _vector(one: _Seen, network: Identity | None) -> NDArray[np.float32] | None:
    """The mean of their pictures, of length 1."""
    if network is None:
        return None
    vectors = network(to_tensor([pixels for _, pixels in one.pictures])).float().cpu().numpy()
    mean = vectors.mean(0)
    return np.asarray(mean / max(1e-9, float(np.linalg.norm(mean))), np.float32)


def _groups(
    found: Sequence[_Seen], vectors: Sequence[NDArray[np.float32] | None]
) -> list[list[tuple[_Seen, NDArray[np.float32] | None]]]:
    """Those who are one person: the most alike are joined first, never two on one frame."""
    groups = [[pair] for pair in zip(found, vectors, strict=True)]
    for a, b in _alike(vectors):
        ours, theirs = (next(g for g in groups if any(x is found[k] for x, _ in g)) for k in (a, b))
        if ours is not theirs and not _searches(ours) & _searches(theirs):
            ours += theirs
            groups = [group for group in groups if group is not theirs]
    return groups


def _alike(vectors: Sequence[NDArray[np.float32] | None]) -> Iterator[tuple[int, int]]:
    known = [vector for vector in vectors if vector is not None]
    if not known or len(known) < len(vectors):
        return
    cosines = np.triu(np.stack(known) @ np.stack(known).T, 1)
    pairs = np.argwhere(cosines >= SAME_PERSON)
    ordered = sorted(pairs.tolist(), key=lambda pair: -float(cosines[pair[0], pair[1]]))
    yield from ((a, b) for a, b in ordered)


def _searches(group: Sequence[tuple[_Seen, Any]]) -> set[int]:
    return {search for one, _ in group for search in one.searches}


def _one(group: Sequence[tuple[_Seen, Any]], network: Identity | None) -> Somebody:
    sightings = sorted((s for one, _ in group for s in one.sightings), key=lambda s: s.time)
    pictures = sorted((p for one, _ in group for p in one.pictures), key=lambda p: p[0])
    keep = np.unique(np.linspace(0, len(pictures) - 1, min(_KEPT, len(pictures))).round())
    vector = None
    if network is not None:
        vector = np.mean([known for _, known in group], 0)
        vector = np.asarray(vector / max(1e-9, float(np.linalg.norm(vector))), np.float32)
    return Somebody(0, tuple(sightings), vector, tuple(pictures[int(k)] for k in keep))
