"""A table of labels: what is known of some pictures, or of the generator's samples."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError, UsageError

SEED = "seed"


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
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable table of text") from error
    try:
        rows = [row for row in csv.reader(text.splitlines()) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not a readable table: {error}") from error
    head = [word.strip() for word in rows[0]] if rows else []
    if len(head) < 2 or len(rows) < 2 or len({*head}) < len(head):
        raise InputError(f"{path}: not a table with a head", "write file,smile and lines below")
    of_seeds = head[0].lower() == SEED
    names, numbers = [], []
    for line, row in enumerate(rows[1:], start=2):
        try:
            if len(row) != len(head):
                raise ValueError(f"{len(row)} fields where the head has {len(head)}")
            names.append(_name(row[0].strip(), of_seeds=of_seeds))
            numbers.append([_number(word) for word in row[1:]])
        except ValueError as error:
            raise InputError(f"{path}: line {line}: {error}") from error
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: {twice} is there twice")
    columns = dict(zip(head[1:], np.array(numbers).T, strict=True))
    return Table(path, tuple(names), columns, of_seeds)


def _name(word: str, *, of_seeds: bool) -> str:
    if of_seeds and not (word.isdecimal() and int(word) < 2**32):
        raise ValueError(f"{word!r} is not a seed")
    if not word:
        raise ValueError("no file is named")
    return word


def _number(word: str) -> float:
    if not word.strip():
        return math.nan
    value = float(word)
    if math.isinf(value):
        raise ValueError(f"{word!r} is no label")
    return value
