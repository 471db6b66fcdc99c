"""Refinement of a whole clip: encoder and generator tuned to each person on some of the frames."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_tensor
from dseinvert.generators.tuned import with_tuning
from dseinvert.inversion.asked import Stage, clip_refining
from dseinvert.inversion.clip_descent import ClipTuning, Tuned, held_out
from dseinvert.inversion.clip_stages import Fitted
from dseinvert.inversion.tune_clip import tune_clip
from dseinvert.latent import TUNING
from dseinvert.latent.clip import Tunings
from dseinvert.media.pixels import Pixels
from dseinvert.media.rows import Rows, write_rows
from dseinvert.media.video_read import Frame
from dseinvert.models import Model
from dseinvert.names import count, each, json_value, number, text
from dseinvert.run.flow.batchsize import BatchSize, out_of_memory
from dseinvert.run.video.faces import Crops
from dseinvert.run.video.invert import Own, part_of
from dseinvert.run.video.plan import Task
from dseinvert.run.video.studio import Studio
from dseinvert.run.video.work import Work
from dseinvert.video.choose import persons

SAMPLE = 40
"""Frames of each person."""
# What a frame counts on which the face was not seen, or where edits do not show.
_UNSEEN = 0.05
# Frames that are rather read than leapt over.
_LEAP = 250
_ENCODER, _STAGES = "encoder/", "stages"


@dataclass(frozen=True)
class Person:
    """All chosen tracks of one person."""

    crops: tuple[Crops, ...]

    @property
    def tracks(self) -> list[int]:
        """Their numbers."""
        return [one.number for one in self.crops]

    def sample(self, count: int = SAMPLE) -> list[tuple[int, Crops, int]]:
        """Place, crops, and number within the track of frames spread evenly over all of these."""
        every = [
            (int(place), one, k, weight)
            for one in self.crops
            for k, (place, weight) in enumerate(zip(one.track.frames, _weights(one), strict=True))
        ]
        every.sort(key=lambda each: each[0])
        ends = np.cumsum([each[3] for each in every])
        wanted = (np.arange(count) + 0.5) / count * ends[-1]
        chosen = range(len(every)) if len(every) <= count else np.searchsorted(ends, wanted)
        return [every[k][:3] for k in sorted({*map(int, chosen)})]


def tuned_to_faces(studio: Studio, work: Work, crops: Sequence[Crops]) -> Own:
    """What `--refine` asks for, by a run that was killed or by this one; nothing where it asks not.

    Raises Stopped.
    """
    asked = clip_refining(studio.options.refine)
    if not asked.stages:
        return Own()
    people, task = people_of(crops), work.task
    found = {k: fitted for k, one in enumerate(people) if (fitted := _load(task, one)) is not None}
    missing = {k: one.sample() for k, one in enumerate(people) if k not in found}
    pictures = _pictures(studio, work, missing)
    size = BatchSize(ClipTuning().at_once)
    for done, k in enumerate(missing):
        work.begin("refining", asked.steps * (len(missing) - done))
        told = partial(_told, work)
        found[k] = _fitted(studio.plain, to_tensor(pictures[k]), asked.stages, told, size)
        _save(task, people[k], found[k])
    return _own(studio, asked.text, people, [found[k] for k in range(len(people))])


def _fitted(
    plain: Model, images: Tensor, stages: Sequence[Stage], told: Callable[[], None], size: BatchSize
) -> Fitted:
    """`tune_clip`, begun again with fewer frames at once where memory runs out."""
    encoder = plain.require_encoder()
    while True:
        options = ClipTuning(at_once=size.size)
        try:
            return tune_clip(plain.generator, encoder, images, stages, told, options)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            size.halve(error, size.size)


def people_of(crops: Sequence[Crops]) -> list[Person]:
    """The chosen tracks by person, told apart by their looks."""
    groups: dict[int, list[Crops]] = {}
    for one, person in zip(crops, persons([one.track for one in crops]), strict=True):
        groups.setdefault(person, []).append(one)
    return [Person(tuple(group)) for group in groups.values()]


def forget(task: Task) -> None:
    """Remove what was kept for a run that goes on, once the latents are written."""
    for path in _kept(task, None):
        path.unlink(missing_ok=True)


def tuned_generators(generator: Generator, tunings: Tunings) -> dict[int, Generator]:
    """The generators that a clip is drawn with, by track; others have the given one.

    Tracks of one person have one generator. PyTorch runs it, whoever runs the given one.
    """
    made: dict[str, Generator] = {}
    found = {}
    for track, arrays in tunings.items():
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
        if digest not in made:
            tuning = {name: _tensor(array).to(generator.device) for name, array in arrays.items()}
            made[digest] = with_tuning(generator, tuning)
        found[track] = made[digest]
    return found


def refined_of(origin: Mapping[str, str]) -> dict[str, str]:
    """What was done, for the facts of a page; nothing where nothing was."""
    if "refined" not in origin:
        return {}
    try:
        told = "; ".join(map(_phrase, json_value(origin["tuned"])))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"latents of a clip: damaged: what was tuned: {error}") from error
    return {"refined": f"{origin['refined']}: {told}"}


def _phrase(person: Mapping[str, Any]) -> str:
    tracks = f"face {', '.join(map(str, person['tracks']))}"
    if not person["stages"]:
        return f"{tracks}: too few frames to tune on"
    told = [
        f"{stage['method']} kept at step {stage['kept']} of {stage['steps']}, "
        f"{stage['psnr'][0]:.2f} to {stage['psnr'][1]:.2f} dB"
        if stage["kept"]
        else f"{stage['method']} left as it was, for {stage['steps']} steps did not help"
        for stage in person["stages"]
    ]
    frames, held = person["frames"], person["held_out"]
    return f"{tracks}: {', '.join(told)} on {held} frames held out of {frames}"


def _told(work: Work) -> None:
    work.advance()
    work.check()


def _weights(one: Crops) -> NDArray[np.float64]:
    """How much each frame of a track counts: where the face was seen, and edits show."""
    seen = np.where(one.track.measured, one.track.scores, 0)
    return np.maximum(np.minimum(seen, one.presence), _UNSEEN)


def _pictures(
    studio: Studio, work: Work, samples: Mapping[int, Sequence[tuple[int, Crops, int]]]
) -> dict[int, list[Pixels]]:
    """The crops of each sample, cut out as those that will be inverted are."""
    at: dict[int, list[tuple[int, Crops, int]]] = {}
    for person, sample in samples.items():
        for place, one, k in sample:
            at.setdefault(place, []).append((person, one, k))
    found: dict[int, list[Pixels]] = {person: [] for person in samples}
    work.begin("sampling", len(at))
    for place, frame in _frames(work, sorted(at)):
        for person, one, k in at[place]:
            found[person].append(part_of(studio, one, k, frame).pixels)
        _told(work)
    return found


def _frames(work: Work, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
    """The frames at some places, in order."""
    # A damaged clip is read from its beginning whenever it is opened, so only once.
    leap = math.inf if work.seen.partial or work.seen.problems else _LEAP
    reading: Iterator[tuple[int, Frame]] = iter(())
    for k, place in enumerate(places):
        if k == 0 or place - places[k - 1] > leap:
            reading = work.frames(place)
        yield next(pair for pair in reading if pair[0] == place)


def _own(studio: Studio, asked: str, people: Sequence[Person], found: Sequence[Fitted]) -> Own:
    """For `invert_clip`."""
    inverters, tunings, told = {}, {}, []
    common, encoder = studio.inverter(), studio.plain.require_encoder()
    for person, fitted in zip(people, found, strict=True):
        inverter = fitted.inverter(common, encoder)
        halves = {name: t.cpu().numpy().astype(np.float16) for name, t in fitted.tuning.items()}
        for track in person.tracks:
            inverters[track], tunings[track] = inverter, halves
        frames = len(person.sample())
        about = {"tracks": person.tracks, "frames": frames, "held_out": len(held_out(frames))}
        told.append({**about, "stages": [asdict(stage) for stage in fitted.stages]})
    return Own(inverters, tunings, {"refined": asked, "tuned": json.dumps(told)})


def _kept(task: Task, person: Person | None) -> list[Path]:
    """Where the result for a person is kept, or those that are there; None = everybody's."""
    start = f"latents-{task.latents_key}.tuned-"
    if person is not None:
        return [task.kept / f"{start}{person.tracks[0]}.safetensors"]
    return [*task.kept.glob(f"{start}*.safetensors")]


def _save(task: Task, person: Person, fitted: Fitted) -> None:
    arrays = {f"{_ENCODER}{n}": t.detach().cpu().numpy().ravel() for n, t in fitted.encoder.items()}
    arrays |= {f"{TUNING}{name}": tensor.cpu().numpy() for name, tensor in fitted.tuning.items()}
    stages = json.dumps([asdict(stage) for stage in fitted.stages])
    write_rows(_kept(task, person)[0], arrays, {_STAGES: stages})


def _load(task: Task, person: Person) -> Fitted | None:
    """What a killed run had found; None = it was not that far."""
    try:
        with Rows(_kept(task, person)[0]) as rows:
            arrays = {name: _tensor(rows.read(name)) for name in rows.names}
            stages = tuple(_stage(one) for one in json_value(rows.header[_STAGES]))
    except (InputError, KeyError, ValueError, TypeError):
        return None
    return Fitted(_under(_ENCODER, arrays), _under(TUNING, arrays), stages)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _stage(fields: Mapping[str, Any]) -> Tuned:
    (loss, after), (psnr, better) = (each(fields[name], number) for name in ("loss", "psnr"))
    steps, kept = (count(fields[name]) for name in ("steps", "kept"))
    return Tuned(text(fields["method"]), steps, kept, (loss, after), (psnr, better))


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
