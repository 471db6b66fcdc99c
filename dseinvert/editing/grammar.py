"""How edits are written, `age=+2@0-7,smile=-1`: what can be said of them without a model.

Of a clip, `2:age=0..+2@1.5-4s`: of whom, from which strength to which, and when.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dseinvert.editing.when import Timing, When, held, parse_when, ramp
from dseinvert.errors import UsageError
from dseinvert.names import suggested

_SCORER = re.compile(r"(.+?)(?::(\d+)(?::([\w.-]+))?)?", re.S)
LARGEST = 100.0
"""The largest strength, either way."""
MOST_PICTURES = 99
"""Of a strip."""
CLASS = "class"
"""The name that is no direction but a class of the images, where no direction has it."""
SIDES = ("left", "right", "largest")
"""Words for somebody in a clip."""
AUTO = ("auto", "auto+", "auto-")
_DIGITS = re.compile(r"\d+(?:@[\d-]+)?")
_MEANT = re.compile(r"\s*([^\W\d][\w.-]*?)\s*(?:[:\s]\s*)?([+-]?\d+(?:\.\d+)?)\s*")
_CLASS = re.compile(r"(\d{1,9})(?::(\d*\.?\d+))?")
_ROWS = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")
_TIME = re.compile(r"[\d.:]+s?(-[\d.:]*s?|-end)?|sh\w*")
"""What may be meant for a time or a shot, and is no row."""


@dataclass(frozen=True)
class Part:
    """One NAME=STRENGTH[@ROWS] of an --edit."""

    name: str
    strength: str
    """As it is written."""
    rows: tuple[int, int] | None = None
    """First and last; None = no rows are named."""
    first: str = ""
    """Of a strength that changes, where it begins, as it is written; "" = it does not."""
    when: When | None = None
    """In which part of a clip; None = in all of it."""

    @property
    def is_timed(self) -> bool:
        """Whether it acts at some times of a clip only, or changes."""
        return bool(self.first) or self.when is not None

    @property
    def is_auto(self) -> bool:
        """Whether it goes as far as the person stays the same."""
        return self.strength in AUTO


def parts_of(text: str) -> list[Part]:
    """The parts of an --edit.

    Raises:
        UsageError: one is not NAME=STRENGTH[@ROWS].
    """
    words = text.split(",")
    for before, word in pairwise(words):
        if "=" in before and _DIGITS.fullmatch(word.strip()):
            meant = f"{before.strip()}.{word.strip()}"
            raise UsageError(f"--edit {text!r}: a decimal comma", f"write a point: {meant}")
    return [_part(text, word) for word in words]


def check_edit(text: str) -> list[str]:
    """The names in an --edit, after all of its words were looked at.

    Raises:
        UsageError: what is not written as an edit is.
    """
    parts = parts_of(text)
    refuse_times(text, parts)
    return check_parts(text, parts)


def check_parts(text: str, parts: Sequence[Part]) -> list[str]:
    """The names of parts that do not change in time, after their strengths were looked at."""
    for part in parts:
        if part.name != CLASS and not part.is_auto:
            strength(text, part.strength)
    return [part.name for part in parts]


def addressed(text: str) -> tuple[str, str]:
    """Who an edit is for, and the rest of it: `2:age=+2` -> "2", "age=+2"; "" = nobody is named."""
    head, equals, said = text.partition("=")
    who, _, name = head.rpartition(":")
    return who.strip(), f"{name}{equals}{said}"


def check_person(who: str) -> None:
    """UsageError for what can be nobody: no number, no word that is known, and no such file."""
    if who in SIDES or Path(who).exists() or (who.isdecimal() and int(who)):
        return
    known = f"a number that --list-people shows, {', '.join(SIDES)}, or a picture of somebody"
    advice = suggested(who, SIDES, known)
    raise UsageError(f"--person {who}: nobody, and no such file", advice)


def check_edit_of_clip(text: str) -> list[str]:
    """As `check_edit`, of an edit of a clip, which may say of whom and when."""
    rest = addressed(text)[1]
    parts = parts_of(rest)
    plain = [part for part in parts if timing_of(rest, part) is None]
    check_parts(rest, plain)
    return [part.name for part in parts]


def timing_of(text: str, part: Part) -> Timing | None:
    """How the strength of a part of an --edit goes in time; None = it stays as it is.

    Raises:
        UsageError: a strength that is none, or one that changes without a time.
    """
    if not part.is_timed:
        return None
    last = strength(text, part.strength)
    if part.first:
        return ramp(text, strength(text, part.first), last, part.when)
    assert part.when is not None
    return held(last, part.when)


def refuse_times(text: str, parts: Iterable[Part]) -> None:
    """UsageError where an edit of a still says when it acts."""
    if any(part.is_timed for part in parts):
        raise UsageError(f"--edit {text!r}: only clips have times", "dseinvert video takes them")


def check_name(text: str, name: str, known: Collection[str]) -> None:
    """UsageError where `name`, in the --edit `text`, is none of the model's directions."""
    if name not in known:
        names = f"this model has: {', '.join(sorted(known)) or 'none'}"
        what = f"--edit {text!r}: no direction {name!r}"
        raise UsageError(what, suggested(name, known, names))


def strip_name(text: str) -> str:
    """The one direction of an --edit beside --strengths: `age`, or `age@0-7`.

    Raises:
        UsageError: anything else.
    """
    name = text.strip().partition("@")[0]
    if not name or "=" in text or "," in text:
        raise UsageError(
            f"--edit {text!r} with --strengths: write the name of one direction, for example age"
        )
    return name


def asks_auto(text: str) -> bool:
    """Whether an edit of an --edit is as far as the person stays the same.

    A word that only begins with auto counts too: it is refused by `parse_edits`.
    """
    return any(part.partition("=")[2].strip().startswith("auto") for part in text.split(","))


def strength(text: str, written: str) -> float:
    """The number of a strength in the --edit `text`; UsageError where it is none."""
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UsageError(
            f"--edit {text!r}: {written!r} is not a strength", f"a number within ±{LARGEST:g}"
        )
    return value


def rows_of(text: str, option: str) -> list[int]:
    """`0-3,8` -> [0, 1, 2, 3, 8]; UsageError where that is not its form."""
    rows: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_row(first) or (dash and not _is_row(last)):
            raise UsageError(f"{option} {text!r}: not rows", "write them as 0-3,8")
        rows += range(int(first), int(last or first) + 1)
    return rows


def _is_row(text: str) -> bool:
    return text.isdecimal() and len(text) <= 3


def class_of(text: str, said: str) -> tuple[int, float]:
    """`207:0.5` -> a class and the share of the way to it.

    Raises:
        UsageError: not of that form.
    """
    match = _CLASS.fullmatch(said)
    if match is None:
        raise UsageError(
            f"--edit {text!r}: classes are written class=NUMBER:SHARE, for example class=207:0.5"
        )
    return int(match[1]), float(match[2] or 1)


def ends(text: str) -> tuple[float, float, int]:
    """`-3:3:7` -> where strengths begin and end, and how many there are.

    Raises:
        UsageError: not FROM:TO:COUNT, or not of 2 to 99 strengths.
    """
    try:
        first, last, count = text.split(":")
        found = float(first), float(last), int(count)
    except ValueError as error:
        raise UsageError(f"--strengths {text!r}", "write FROM:TO:COUNT, such as -3:3:7") from error
    if not (all(abs(end) <= LARGEST for end in found[:2]) and 2 <= found[2] <= MOST_PICTURES):
        raise UsageError(
            f"--strengths {text!r}", f"2 to {MOST_PICTURES} strengths within ±{LARGEST:g}"
        )
    return found


def _part(text: str, word: str) -> Part:
    name, equals, said = (one.strip() for one in word.partition("="))
    if not name or not equals:
        raise UsageError(f"--edit {text!r}: write NAME=STRENGTH, {_example(word)}")
    if name == CLASS:
        return Part(name, said)
    strength, *marks = (one.strip() for one in said.split("@"))
    first, changes, last = strength.partition("..")
    rows: tuple[int, int] | None = None
    when: When | None = None
    for mark in marks:
        if when is None and not _ROWS.fullmatch(mark) and _TIME.fullmatch(mark):
            when = parse_when(text, mark)
        elif rows is None:
            rows = _rows(text, mark)
        else:
            raise UsageError(f"--edit {text!r}: @ twice", "rows once and a time once, @0-7@1.5-4s")
    if not changes:
        return Part(name, strength, rows, "", when)
    return Part(name, last.strip(), rows, first.strip() or "0", when)


def _example(word: str) -> str:
    meant = _MEANT.fullmatch(word)
    return f"here {meant[1]}={meant[2]}" if meant else "for example age=+2"


def _rows(text: str, written: str) -> tuple[int, int]:
    match = _ROWS.fullmatch(written)
    if match is None:
        raise UsageError(f"--edit {text!r}: rows are written @3 or @0-7, counted from 0")
    return int(match[1]), int(match[2] or match[1])


def scorer_of(text: str) -> tuple[str, int | None, str | None]:
    """FILE[:OUTPUT[:PIXELS]] of `--scorer`; None = not given."""
    found = _SCORER.fullmatch(text)
    assert found is not None, "its first part takes everything"
    return found[1], None if found[2] is None else int(found[2]), found[3]
