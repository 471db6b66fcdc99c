"""A table of labels: what is known of some pictures, or of the generator's samples."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError, UsageError
from dseinvert.names import brief, read_regular

SEED = "seed"
MOST_COLUMNS = 10_000
_ADVICE = "write file,smile and lines below"


@dataclass(frozen=True)
class Table:
    """Attributes of pictures by file name, or of samples by seed."""

    path: Path
    names: tuple[str, ...]
    """File names, or seeds."""
    columns: dict[str, NDArray[np.float64]]
    """Attributes [N]; NaN = unknown."""
    of_seeds: bool

    def column(self, attribute: str) -> NDArray[np.float64]:
        """UsageError where there is no such attribute."""
        if attribute not in self.columns:
            known = ", ".join(self.columns) or "none"
            raise UsageError(f"{self.path}: no column {attribute!r}", f"it has: {known}")
        return self.columns[attribute]

    def seeds(self) -> list[int]:
        """The names as numbers."""
        return [int(name) for name in self.names]


def read_table(path: Path) -> Table:
    """A CSV file with a head; an empty field is an unknown label.

    Raises:
        UsageError: no such file. InputError: not such a table, with the line at fault.
    """
    try:
        lines = csv.reader(_lines(path))
        rows = (row for row in lines if row)
        head = [word.strip() for word in next(rows, [])]
        if not 2 <= len(head) <= MOST_COLUMNS or len({*head}) < len(head):
            raise InputError(f"{path}: not a table with a head", _ADVICE)
        return _filled(path, head, rows)
    except csv.Error as error:
        raise InputError(f"{path}: not a readable table: {error}", _ADVICE) from error


def _lines(path: Path) -> Iterator[str]:
    """Without their ends, so that no field goes on behind one."""
    try:
        text = read_regular(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable table of text") from error
    return (line.rstrip("\n") for line in io.StringIO(text))


def _filled(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """The rows below a head, one at a time: a list of them all would take many times the file."""
    of_seeds = head[0].lower() == SEED
    names: dict[str, None] = {}
    numbers = array("d")
    for line, row in enumerate(rows, start=2):
        try:
            if len(row) != len(head):
                raise ValueError(f"{len(row)} fields where the head has {len(head)}")
            name = _name(row[0].strip(), of_seeds=of_seeds)
            if name in names:
                raise InputError(f"{path}: {brief(name)} is there twice")
            names[name] = None
            numbers.extend(map(_number, row[1:]))
        except ValueError as error:
            raise InputError(f"{path}: line {line}: {error}") from error
    if not names:
        raise InputError(f"{path}: not a table with a head", _ADVICE)
    columns = np.frombuffer(numbers).reshape(len(names), -1).T
    return Table(path, tuple(names), dict(zip(head[1:], columns, strict=True)), of_seeds)


def _name(word: str, *, of_seeds: bool) -> str:
    if of_seeds and not (word.isdecimal() and len(word) < 12 and int(word) < 2**32):
        raise ValueError(f"{brief(word)} is not a seed")
    if not word:
        raise ValueError("no file is named")
    return word


def _number(word: str) -> float:
    if not word.strip():
        return math.nan
    try:
        value = float(word)
    except ValueError as error:
        raise ValueError(f"{brief(word)} is no label") from error
    if math.isinf(value):
        raise ValueError(f"{brief(word)} is no label")
    return value
