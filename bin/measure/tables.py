"""What a measurement hands back, and how people see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """A change over many faces."""

    mean: float
    deviation: float


Cell = float | str | Spread | None
"""A number, words, or None = not measured."""


@dataclass(frozen=True)
class Table:
    """Rows of one measurement; all have the keys of the first, and `note` says how it was done."""

    title: str
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""


def document(tables: Sequence[Table]) -> str:
    """All tables for people; notes that are the same stand once, at the end."""
    notes = dict.fromkeys(table.note for table in tables if table.note)
    return "\n\n".join([*map(markdown, tables), *notes])


def markdown(table: Table) -> str:
    """One table without its note."""
    columns = list(table.rows[0])
    cells = [columns, *([shown(row[name]) for name in columns] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join([f"### {table.title}", "", *lines])


def shown(cell: Cell) -> str:
    """Three or four digits of a number."""
    if cell is None:
        return "n/a"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Spread):
        return f"{cell.mean:+.1f} ± {cell.deviation:.1f}"
    return (
        f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}" if abs(cell) < 1 else f"{cell:.4g}"
    )


def watched(what: str, parts: Sequence[T]) -> Iterator[T]:
    """Each part in turn; on stderr, how many are done and how long the rest will take."""
    columns = (
        TextColumn("{task.description}:"),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # Drawn between the parts alone: a thread that draws would be measured, too.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task(what, total=len(parts))
        for part in parts:
            bar.refresh()
            yield part
            bar.advance(task)
