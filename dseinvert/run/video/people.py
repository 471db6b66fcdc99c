"""Who is edited: `--person` and the people whom edits name, found among the tracks of a clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dseinvert.config import VideoOptions
from dseinvert.editing.grammar import SIDES
from dseinvert.errors import InputError, OutsideError, UsageError
from dseinvert.latent import Header
from dseinvert.media.atomic import shown
from dseinvert.models import Model
from dseinvert.models.person import SAME_PERSON, Person, open_person
from dseinvert.names import counted
from dseinvert.run.flow.names import safe_stem
from dseinvert.run.video.cast import Somebody, every_of, find_everybody, is_near, load_people
from dseinvert.run.video.faces import Crops, crops_of
from dseinvert.run.video.studio import Studio
from dseinvert.run.video.who import EVERYBODY, acting, open_network, pictures_of, whos
from dseinvert.run.video.work import Work
from dseinvert.video.choose import choose
from dseinvert.video.tracks import Track

# Sides of a quad within which a sighting and a track at that moment are one face.
_THERE = 0.5


def chosen(studio: Studio, work: Work) -> tuple[tuple[Crops, ...], dict[str, str]]:
    """The faces to invert with their crops, and what of it goes into the header of the latents.

    Raises:
        InputError: somebody who is named is not in the clip; OutsideError of a number.
        UsageError: no face in a picture. MissingError: a picture is named, and no network.
    """
    options = studio.options
    named = whos(options)
    if not named:
        return crops_of(work.seen, options), {}
    every = crops_of(work.seen, replace(options, faces="all"))
    tracks = [one.track for one in every]
    numbers = _found(studio, work, named, tracks)
    numbers[EVERYBODY] = _everybody(options, numbers, tracks)
    wanted = set().union(*(numbers[who] for who in acting(options)))
    people = {who: sorted(every[k].number for k in found) for who, found in numbers.items()}
    kept = tuple(one for k, one in enumerate(every) if k in wanted)
    return kept, {"people": json.dumps(people), "faces": f"of {', '.join(named)}"}


def people_by_track(header: Header) -> dict[int, frozenset[str]]:
    """Who each track is, from the header of latents; nothing where everybody is edited alike."""
    text = header.origin.get("people")
    of_track: dict[int, set[str]] = {}
    for who, tracks in json.loads(text or "{}").items():
        for track in tracks:
            of_track.setdefault(track, set()).add(who)
    return {track: frozenset(people) for track, people in of_track.items()}


def _everybody(
    options: VideoOptions, numbers: Mapping[str, set[int]], tracks: Sequence[Track]
) -> set[int]:
    if options.person:
        return set().union(*(numbers[who] for who in options.person))
    return _places(tracks, choose(tracks, options.faces))


def _found(
    studio: Studio, work: Work, named: Sequence[str], tracks: Sequence[Track]
) -> dict[str, set[int]]:
    """The places among `tracks` of each who is named."""
    sides = _sides(tracks, work.clip.width)
    by_place = {side: {k for k, one in enumerate(sides) if one == side} for side in SIDES[:2]}
    by_place["largest"] = _places(tracks, choose(tracks, "largest"))
    people: tuple[Somebody, ...] = ()
    if any(who not in SIDES for who in named):
        people = everybody_of(studio, work)
    start = float(work.clip.start)
    of_track = [_whose(track, people, start) for track in tracks]
    found = {}
    for who in named:
        if who in SIDES:
            found[who] = by_place[who]
        else:
            numbers = _numbers(studio, work, who, people)
            found[who] = {k for k, number in enumerate(of_track) if number in numbers}
    return found


def everybody_of(studio: Studio, work: Work) -> tuple[Somebody, ...]:
    """Everybody in a clip: of a list that was made, or looked for now."""
    options, task = studio.options, work.task
    network = open_network(options, studio.generator.device)
    known = "" if network is None else network.sha256
    for folder in (task.folder, task.clip.path.parent):
        people = load_people(
            folder / f"{safe_stem(task.clip.path)}.people.json",
            task.sha256,
            known,
            options.rotate,
        )
        if people is not None:
            return people
    duration = work.clip.duration
    work.begin("finding people", 0 if duration is None else round(duration / every_of(work.clip)))
    return find_everybody(work.clip, studio.detector, network, work.advance, options.rotate)


def _numbers(studio: Studio, work: Work, who: str, people: Sequence[Somebody]) -> set[int]:
    """The numbers of those who are meant by a number or by pictures."""
    name = shown(work.clip.path)
    if who.isdecimal():
        if int(who) not in [one.number for one in people]:
            there = f"{counted(len(people), 'face')} in it"
            raise OutsideError(
                f"{name}: nobody has number {who}, {there}", "--list-people shows all"
            )
        return {int(who)}
    known = references(who, studio.options.identity, studio.model)
    numbers = {one.number for one in people if _is_known(one, known)}
    if not numbers:
        raise InputError(f"{name}: nobody in it looks like {who}", "--list-people shows all")
    return numbers


def references(who: str, identity: Path | None, model: Model) -> list[Person]:
    """Somebody as the network knows them from each picture."""
    opened = (open_person(file, identity, model) for file in pictures_of(who))
    found = [person for person in opened if person is not None]
    if not found:
        raise UsageError(f"--person {who}: no pictures in it", "name a photo of one person")
    return found


def _is_known(one: Somebody, references: Sequence[Person]) -> bool:
    if one.vector is None:
        return False
    vectors = [person.embedding[0].cpu().numpy() for person in references]
    cosines = [float(vector @ one.vector) for vector in vectors if vector.shape == one.vector.shape]
    return max(cosines, default=-1.0) >= SAME_PERSON


def _whose(track: Track, people: Sequence[Somebody], start: float) -> int:
    """The number of whoever is most often seen where a track is; 0 = nobody."""
    votes = {one.number: _together(track, one, start) for one in people}
    best = max(votes, key=lambda number: votes[number], default=0)
    return best if votes.get(best) else 0


def _together(track: Track, one: Somebody, start: float) -> int:
    """How many sightings of somebody are of this track."""
    count = 0
    for sighting in one.sightings:
        k = int(np.argmin(np.abs(track.times - (start + sighting.time))))
        close = abs(float(track.times[k]) - start - sighting.time) < 0.03
        count += close and is_near(track.points[k], sighting.points, _THERE)
    return count


def _sides(tracks: Sequence[Track], width: int) -> list[str]:
    """Whether each track is left, right or in between: by those who are there with it, mostly.

    Who is alone is on the side of the picture where the face is.
    """
    middles = [dict(zip(t.frames.tolist(), t.points[:, :, 0].mean(1), strict=True)) for t in tracks]
    sides = []
    for k, own in enumerate(middles):
        votes = {"left": 0, "right": 0, "": 0}
        for place, x in own.items():
            others = [o[place] for i, o in enumerate(middles) if i != k and place in o]
            votes[_side(x, others, width)] += 1
        sides.append(max(votes, key=lambda side: votes[side]))
    return sides


def _side(x: float, others: Sequence[float], width: int) -> str:
    if not others:
        return "left" if x < width / 2 else "right"
    if x < min(others):
        return "left"
    return "right" if x > max(others) else ""


def _places(tracks: Sequence[Track], wanted: Sequence[Track]) -> set[int]:
    return {k for k, track in enumerate(tracks) if any(track is one for one in wanted)}
