"""CSV tables that no spreadsheet computes with: text in a cell is text, whatever it begins with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

Cell = str | int | float
_FORMULA = ("=", "+", "-", "@")
_GUARD = "'"  # spreadsheets take what follows as text, and do not show it


def table_bytes(rows: Iterable[Sequence[Cell]], facts: Mapping[str, str] | str = "") -> bytes:
    """Rows, the head first, below `#` lines that say how the numbers were made.

    Args:
        facts: by name, a line each, or one line; "" = none.
    """
    told = io.StringIO()
    lines = [facts] if isinstance(facts, str) else [f"{name}: {f}" for name, f in facts.items()]
    told.writelines(f"# {' '.join(line.split())}\n" for line in lines if line)
    table = csv.writer(told, lineterminator="\n")
    table.writerows([cell(value) for value in row] for row in rows)
    return told.getvalue().encode(errors="backslashreplace")


def cell(value: Cell) -> str:
    """A number, floats to six digits, or text; a `'` before what a spreadsheet would compute."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).splitlines())
    return _GUARD + text if _is_formula(text) else text


def plain(text: str) -> str:
    """What `cell` made a cell of."""
    inside = text.removeprefix(_GUARD)
    return inside if inside != text and _is_formula(inside) else text


def _is_formula(text: str) -> bool:
    if not text.lstrip(f"{_GUARD} \t").startswith(_FORMULA):
        return False
    with suppress(ValueError):
        float(text)
        return False
    return True
