"""Edits: what can be asked of a latent, and how it is written on the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from torch import Tensor

from dseinvert.editing.directions import Direction
from dseinvert.editing.grammar import (
    CLASS,
    Part,
    check_name,
    class_of,
    ends,
    parts_of,
    refuse_times,
    strength,
    strip_name,
)
from dseinvert.errors import UsageError

Rows = tuple[int, int]
"""First and last row of a code, counted from 0."""


@dataclass(frozen=True)
class Edit:
    """A direction and how far to go along it, in its own units."""

    direction: Direction
    strength: float | Tensor
    """One for all samples, or one for each [B]."""
    rows: Rows | None = None
    """Of those the direction acts on, the ones meant; None = all."""

    @property
    def label(self) -> str:
        """Short and safe in a file name: `age+2`, `age+2@0-7`."""
        return f"{self.direction.name}{float(self.strength):+g}{_at(self.rows)}"


@dataclass(frozen=True)
class Keeper:
    """Who says whether an edited face is still the same person."""

    identity: Callable[[Tensor], Tensor]
    """Images [B, 3, R, R] in [-1, 1] -> [B, D] of length one."""
    floor: float
    """The least cosine to the unedited picture that is still the same person."""
    name: str = ""
    """Tells networks apart: the hash of the weights."""


@dataclass(frozen=True)
class AutoEdit:
    """A direction, as far as the person stays who it is."""

    direction: Direction
    sign: int
    """1 or -1; 0 = the way that goes further."""
    keeper: Keeper
    rows: Rows | None = None
    """As an Edit's."""

    @property
    def label(self) -> str:
        """As it is written: `age=auto+`."""
        return f"{self.direction.name}=auto{('', '+', '-')[self.sign]}{_at(self.rows)}"


@dataclass(frozen=True)
class ClassEdit:
    """A share of the way from the latent's classes to one class."""

    number: int
    amount: float
    """0 = the latent's own, 1 = that class alone."""

    @property
    def label(self) -> str:
        """Short and safe in a file name: `class207+0.5`."""
        return f"class{self.number}{self.amount:+g}"


Step = Edit | AutoEdit | ClassEdit
Edits = Mapping[str, Sequence[Step]]
"""Edits applied together, by label."""


def label(edits: Sequence[Step]) -> str:
    """The name of a combined edit: `age+2,smile-1`."""
    return ",".join(edit.label for edit in edits)


def fingerprint(edits: Sequence[Step]) -> str:
    """Tells apart edits of one name: directions found at different times, other networks."""
    digest = hashlib.sha256()
    for edit in edits:
        digest.update(b"".join(_told(edit)))
    return digest.hexdigest()[:16]


def parse_edits(
    text: str,
    directions: Mapping[str, Direction],
    classes: int = 0,
    keeper: Keeper | None = None,
) -> tuple[Step, ...]:
    """`age=+2@0-7,smile=-1`, `age=auto`, `class=207:0.5` -> edits applied together.

    Args:
        text: NAME=STRENGTH[@ROWS], joined by commas.
        directions: the model's, by name.
        classes: how many the model has.
        keeper: what `auto` asks; None = there is no such network, and `auto` is refused.

    Raises:
        UsageError: a name the model does not have, or a strength that is not a number.
    """
    parts = parts_of(text)
    refuse_times(text, parts)
    edits = tuple(parse_part(text, part, directions, classes, keeper) for part in parts)
    if any(_overlap(a, b) for a, b in combinations(edits, 2)):
        raise UsageError(f"--edit {text!r}: the same direction twice", "add up the strengths")
    if sum(isinstance(edit, AutoEdit) for edit in edits) > 1:
        raise UsageError(f"--edit {text!r}: auto twice", "give all but one a strength")
    return edits


def parse_all(
    texts: Sequence[str],
    directions: Mapping[str, Direction],
    classes: int = 0,
    keeper: Keeper | None = None,
) -> Edits:
    """The edits of each --edit, in the order given; see `parse_edits`."""
    parsed = [parse_edits(text, directions, classes, keeper) for text in texts]
    return {label(edits): edits for edits in parsed}


def parse_strengths(text: str) -> tuple[float, ...]:
    """`-3:3:7` -> seven strengths, evenly from -3 to 3.

    Raises:
        UsageError: not FROM:TO:COUNT, or not of 2 to 99 strengths.
    """
    first, last, number = ends(text)
    return tuple(float(f"{strength:.4g}") + 0.0 for strength in np.linspace(first, last, number))


def parse_strip(
    text: str, strengths: Sequence[float], directions: Mapping[str, Direction]
) -> tuple[tuple[Step, ...], ...]:
    """`age` or `age@0-7`, and strengths -> an edit for each of them.

    Raises:
        UsageError: anything but the name of one direction, or an unknown one.
    """
    name, at, rows = strip_name(text), *text.strip().partition("@")[1:]
    written = (f"{name}={strength:+g}{at}{rows}" for strength in strengths)
    return tuple(parse_edits(one, directions) for one in written)


def parse_part(
    text: str,
    part: Part,
    directions: Mapping[str, Direction],
    classes: int = 0,
    keeper: Keeper | None = None,
) -> Step:
    """One part of the --edit `text`, whatever it says of time; see `parse_edits`."""
    if part.name == CLASS and part.name not in directions:
        return _class(text, part.strength, classes)
    check_name(text, part.name, directions)
    direction = directions[part.name]
    rows = None if part.rows is None else _rows(text, part.rows, direction)
    if not part.is_auto:
        return Edit(direction, strength(text, part.strength), rows)
    if keeper is None:
        raise UsageError(
            f"--edit {text!r}: auto needs a face recognition network",
            "give dseinvert images or edit one with --identity FILE",
        )
    return AutoEdit(direction, {"+": 1, "-": -1}.get(part.strength[-1], 0), keeper, rows)


def _rows(text: str, rows: Rows, direction: Direction) -> Rows:
    (first, last), written = rows, _at(rows)[1:]
    count = len(direction.vector)
    if direction.space == "s":
        raise UsageError(f"--edit {text!r}: {direction.name} is in s, which has no rows")
    if first > last or (count > 1 and last >= count):
        raise UsageError(f"--edit {text!r}: no rows {written}", f"there are 0-{count - 1}")
    if direction.layers is not None and not _meet((first, last), direction.layers):
        known = "{}-{}".format(*direction.layers)
        raise UsageError(f"--edit {text!r}: {direction.name} acts on rows {known} only")
    return first, last


def _class(text: str, said: str, classes: int) -> ClassEdit:
    number, amount = class_of(text, said)
    if number >= classes:
        known = f"it has 0 to {classes - 1}" if classes else "it has no classes"
        raise UsageError(f"--edit {text!r}: not a class of this model", known)
    if amount > 1:
        raise UsageError(f"--edit {text!r}: a share is from 0 to 1")
    return ClassEdit(number, amount)


def _overlap(a: Step, b: Step) -> bool:
    if isinstance(a, ClassEdit) or isinstance(b, ClassEdit):
        return isinstance(a, ClassEdit) and isinstance(b, ClassEdit)
    if a.direction.name != b.direction.name:
        return False
    return a.rows is None or b.rows is None or _meet(a.rows, b.rows)


def _meet(a: Rows, b: Rows) -> bool:
    return max(a[0], b[0]) <= min(a[1], b[1])


def _at(rows: Rows | None) -> str:
    if rows is None:
        return ""
    return f"@{rows[0]}" if rows[0] == rows[1] else "@{}-{}".format(*rows)


def _told(edit: Step) -> list[bytes]:
    """All that decides about the result; of plain edits what earlier journals hold."""
    if isinstance(edit, ClassEdit):
        return [edit.label.encode()]
    rows = [] if edit.rows is None else [_at(edit.rows).encode()]
    if edit.direction.layers is not None:
        rows.append(repr(edit.direction.layers).encode())
    vector = edit.direction.vector.cpu().numpy().tobytes()
    if isinstance(edit, Edit):
        return [vector, repr(edit.strength).encode(), *rows]
    asked = f"auto {edit.sign} {edit.keeper.floor!r} {edit.keeper.name}"
    return [vector, asked.encode(), *rows]
