"""A file of edits of a clip: who, what, and keys of time and strength; light, as grammar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dseinvert.editing.grammar import LARGEST, addressed, check_edit_of_clip, parts_of
from dseinvert.editing.when import EASES, Ease, Key, seconds
from dseinvert.errors import UsageError
from dseinvert.media.atomic import shown
from dseinvert.media.toml_file import read_toml
from dseinvert.names import LONGEST, brief, number, printable, suggested
from dseinvert.timecode import WITHIN, Clock, in_seconds, read_timecode

SCRIPTED = "edits-"
"""The beginning of the label of a file of edits; no direction is called so."""
_FIELDS = ("person", "edit", "keys", "ease")
_LOOKS = '[[edit]] edit = "age" keys = [[1.5, 0], ["0:04", 2]]'


@dataclass(frozen=True)
class Line:
    """One [[edit]] of a file."""

    edit: str
    """NAME[@ROWS] beside keys; else as --edit takes it, without the person."""
    who: str = ""
    """As --person says it; "" = everybody who is edited."""
    keys: tuple[Key, ...] = ()
    """Seconds and strength, in order."""
    ease: Ease = "linear"

    @property
    def name(self) -> str:
        """Of the direction that the keys are of."""
        return self.edit.partition("@")[0].strip()

    @property
    def rows(self) -> str:
        """`@0-4`, or nothing."""
        return "".join(self.edit.partition("@")[1:]).strip()

    @property
    def names(self) -> list[str]:
        """Of all directions in it."""
        return [self.name] if self.keys else [part.name for part in parts_of(self.edit)]


def read_script(path: Path, clock: Clock | None = None) -> tuple[str, tuple[Line, ...]]:
    """The label of a file of edits, safe in a file name, and its lines.

    clock: of the clip; None = none is known yet, and timecodes are at no time.

    Raises:
        UsageError: no such file, or not of that form: which line, and what is wrong with it.
    """
    where = f"--edits {shown(path)}"
    try:
        values = read_toml(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: cannot be read", "name a file such as edits.toml") from error
    except ValueError as error:
        said = printable(" ".join(str(error).split()))[:200]
        raise UsageError(f"{where}: {said}", f"write {_LOOKS}") from error
    rows = values.get("edit")
    if not isinstance(rows, list) or not rows or set(values) != {"edit"}:
        raise UsageError(f"{where}: no [[edit]], or something else", f"write {_LOOKS}")
    lines = tuple(_line(f"{where}, edit {k}", row, clock) for k, row in enumerate(rows, 1))
    safe = "".join(one if one.isalnum() or one in "_-" else "-" for one in path.stem)
    return f"{SCRIPTED}{safe}", lines


def _line(where: str, row: Any, clock: Clock | None) -> Line:
    if not isinstance(row, Mapping):
        raise UsageError(f"{where}: no table", f"write {_LOOKS}")
    for name in row:
        if name not in _FIELDS:
            raise UsageError(
                f"{where}: {brief(name)}", suggested(name, _FIELDS, ", ".join(_FIELDS))
            )
    edit, who, ease = row.get("edit"), str(row.get("person", "")), row.get("ease", "linear")
    if not isinstance(edit, str):
        raise UsageError(f"{where}: edit is the name of a direction", f"write {_LOOKS}")
    if max(len(edit), len(who)) > LONGEST:
        raise UsageError(f"{where}: far too long a name", f"write {_LOOKS}")
    if ease not in EASES:
        raise UsageError(
            f"{where}: ease {brief(ease)}", suggested(str(ease), EASES, ", ".join(EASES))
        )
    named, edit = addressed(in_seconds(edit, clock))
    if named:
        raise UsageError(f"{where}: {brief(named)} before a colon", f"person = {brief(named)}")
    keys = _keys(where, row["keys"], clock) if "keys" in row else ()
    if keys and ("=" in edit or "," in edit):
        raise UsageError(
            f"{where}: edit {brief(edit)} beside keys", "the name of one direction: age"
        )
    check_edit_of_clip(f"{edit.partition('@')[0]}=0" if keys else edit)
    return Line(edit, who, keys, ease)


def _keys(where: str, rows: Any, clock: Clock | None) -> tuple[Key, ...]:
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{where}: keys", "write [[1.5, 0], [4, 2]]: times and strengths")
    keys = tuple(_key(where, row, clock) for row in rows)
    for (before, _), (after, _) in pairwise(keys):
        if after <= before:
            raise UsageError(f"{where}: a key at {after:g} s behind one at {before:g} s")
    return keys


def _key(where: str, row: Any, clock: Clock | None) -> Key:
    try:
        time, value = row
        when = _time(str(time), clock) if isinstance(time, str | int | float) else None
        strength = float(number(value))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: key {brief(row)}", "a time and a strength: [1.5, 2]") from error
    if when is None or abs(strength) > LARGEST:
        advice = f'a time such as 1.5 or "0:01.5", a strength within ±{LARGEST:g}'
        raise UsageError(f"{where}: key {brief(row)}", advice)
    return when, strength


def _time(text: str, clock: Clock | None) -> float | None:
    """None = it is no time."""
    code = read_timecode(text) if WITHIN.fullmatch(text) else None
    if code is not None:
        return math.nan if clock is None else float(clock.seconds(code))
    found = seconds(text)
    return None if found is None else float(found)


def people_of(texts: Sequence[str], lines: Sequence[Line] = ()) -> list[str]:
    """Everybody whom edits name, each once."""
    named = [addressed(text)[0] for text in texts] + [line.who for line in lines]
    return [who for who in dict.fromkeys(named) if who]
