"""Edits of a clip: what is done, to whom, and when; read from options and from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import Edit, Step, fingerprint, parse_edits, parse_part, parse_strip
from dseinvert.editing.grammar import Part, addressed, parts_of, strength, timing_of
from dseinvert.editing.script import Line
from dseinvert.editing.when import Moment, Timing, joined
from dseinvert.errors import UsageError

_LONGEST = 150  # characters of a label


@dataclass(frozen=True)
class Cue:
    """One step of an edit of a clip."""

    step: Step
    who: str = ""
    """Of whom, as --person says it; "" = of everybody who is edited."""
    timing: Timing | None = None
    """None = at the step's own strength all the time."""
    label: str = ""
    """Short and safe in a file name."""

    @property
    def is_plain(self) -> bool:
        """Whether it acts on everybody all the time."""
        return not self.who and self.timing is None

    def share(self, moment: Moment, people: Collection[str]) -> float:
        """How much of what it changes to show of somebody who is all of `people`, from 0 to 1."""
        if self.who not in people:
            return 0.0
        return 1.0 if self.timing is None else self.timing.share(moment)

    def step_at(self, faces: Sequence[tuple[Moment, Collection[str]]]) -> Step:
        """The step for a batch of faces, each at its moment with the strength it has there."""
        if self.is_plain or not isinstance(self.step, Edit):
            return self.step
        strengths = [self._strength(moment, people) for moment, people in faces]
        return replace(self.step, strength=torch.tensor(strengths))

    def _strength(self, moment: Moment, people: Collection[str]) -> float:
        assert isinstance(self.step, Edit)
        if self.who not in people:
            return 0.0
        return float(self.step.strength) if self.timing is None else self.timing.at(moment)


Cues = Mapping[str, Sequence[Cue]]
"""Those that act together in one video, by its label."""


def cues_of(
    texts: Sequence[str], script: tuple[str, Sequence[Line]] | None, known: Mapping[str, Direction]
) -> Cues:
    """What each --edit and a file of edits ask for, by label.

    Edits that name somebody act together in one video, the others in one each, the file's in one.

    Args:
        script: its label and its lines; None = there is no file.
        known: the directions of the model.

    Raises:
        UsageError: what cannot be read, a name the model does not have, or the same twice.
    """
    pairs = [addressed(text) for text in texts]
    found = [parse_cues(text, known) for who, text in pairs if not who]
    named = [cue for who, text in pairs if who for cue in parse_cues(text, known, who)]
    together = [*found, *([_one_each("--edit", named)] if named else [])]
    cues = {_label(of_text): of_text for of_text in together}
    if script is not None:
        label, lines = script
        cues[label] = _one_each(label, [cue for line in lines for cue in _of_line(line, known)])
    return cues


def parse_cues(text: str, known: Mapping[str, Direction], who: str = "") -> tuple[Cue, ...]:
    """The cues of one --edit without the one it is for; see `cues_of`."""
    parts = parts_of(text)
    if not any(part.is_timed for part in parts):
        return tuple(_named(Cue(step, who)) for step in parse_edits(text, known))
    return _one_each(text, [_timed(text, part, known, who) for part in parts])


def parse_strip_of_clip(
    text: str, strengths: Sequence[float], known: Mapping[str, Direction]
) -> Cues:
    """`age` or `left:age@0-7`, and strengths -> a cue for each of them, by label.

    Raises:
        UsageError: anything but the name of one direction, or an unknown one.
    """
    who, rest = addressed(text)
    steps = parse_strip(rest, strengths, known)
    cues = [_named(Cue(step, who)) for (step,) in steps]
    return {cue.label: (cue,) for cue in cues}


def told(cues: Sequence[Cue]) -> str:
    """Tells apart cues of one label; of plain edits what records of earlier versions hold."""
    steps = fingerprint([cue.step for cue in cues])
    if all(cue.is_plain for cue in cues):
        return steps
    more = [(cue.who, cue.timing) for cue in cues]
    return hashlib.sha256(f"{steps} {more!r}".encode()).hexdigest()[:16]


def share_of(cues: Sequence[Cue], moment: Moment, people: Collection[str]) -> float:
    """How much of what these change to show of a face at a moment, from 0 to 1.

    Without any, those in the part "" are shown: their reconstruction.
    """
    if not cues:
        return float("" in people)
    return max(cue.share(moment, people) for cue in cues)


def _timed(text: str, part: Part, known: Mapping[str, Direction], who: str) -> Cue:
    step, timing = parse_part(text, part, known), timing_of(text, part)
    if timing is not None and not isinstance(step, Edit):
        raise UsageError(f"--edit {text!r}: only a direction acts for a time", "age=+2@1.5-4s")
    begun = f"{strength(text, part.first):+g}to" if part.first else ""
    when = "" if part.when is None else f"@{part.when}"
    return _named(Cue(step, who, timing, f"{part.name}{begun}{step.label[len(part.name) :]}{when}"))


def _of_line(line: Line, known: Mapping[str, Direction]) -> Iterable[Cue]:
    if not line.keys:
        return parse_cues(line.edit, known, line.who)
    (cue,) = parse_cues(f"{line.name}=0{line.rows}", known, line.who)
    return [replace(cue, timing=Timing(line.keys, line.ease))]


def _label(cues: Sequence[Cue]) -> str:
    """Of all in one video; one that no file name could hold is cut short."""
    label = ",".join(cue.label for cue in cues)
    if len(label) <= _LONGEST:
        return label
    return f"{label[: _LONGEST - 9]}+{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _named(cue: Cue) -> Cue:
    label = cue.label or cue.step.label
    who = Path(cue.who).stem if "." in cue.who else cue.who
    safe = "".join(one if one.isalnum() or one in "_-" else "-" for one in who)
    return replace(cue, label=f"{safe}.{label}" if safe else label)


def _one_each(text: str, cues: Sequence[Cue]) -> tuple[Cue, ...]:
    """The same with one cue for each direction of one person: those that follow are joined."""
    groups: dict[object, list[Cue]] = {}
    for cue in cues:
        step, timing = cue.step, cue.timing
        shot = None if timing is None else timing.shot
        what = (step.direction.name, step.rows) if isinstance(step, Edit) else step.label
        groups.setdefault((cue.who, what, shot), []).append(cue)
    return tuple(_joined(text, group) for group in groups.values())


def _joined(text: str, cues: Sequence[Cue]) -> Cue:
    timings = [cue.timing for cue in cues if cue.timing is not None]
    if len(cues) == 1:
        return cues[0]
    if len(timings) < len(cues):
        raise UsageError(f"--edit {text!r}: the same direction twice", "add up the strengths")
    return replace(cues[0], timing=joined(text, timings), label=",".join(c.label for c in cues))
