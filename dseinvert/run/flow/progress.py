"""What a person at a terminal sees of a run: a bar, and a line for whatever went wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from dseinvert.names import printable
from dseinvert.progress import Count


@dataclass(frozen=True)
class Terminal:
    """A `Watcher` that prints: a bar where somebody looks, and lines."""

    console: Console
    quiet: bool = False
    bar: Progress | None = None
    """None = nobody is looking."""
    task: TaskID | None = None

    def begin(self, what: str, total: int) -> None:
        """A new count begins."""
        if self.bar is not None and self.task is not None:
            self.bar.reset(self.task, total=total, description=_plain(what), visible=total > 0)

    def advance(self) -> None:
        """One more is done."""
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task)

    @contextmanager
    def within(self, what: str, total: int | None) -> Iterator[Count]:
        """A bar of its own while one thing is worked on; gives what is told how far it is.

        `total` None = unknown.
        """
        bar = self.bar
        if bar is None:
            yield lambda done, note="": None
            return
        task = bar.add_task(_plain(what), total=total, note="")

        def told(done: int, note: str = "") -> None:
            bar.update(task, completed=done)
            if note:
                bar.update(task, note=_plain(note))

        try:
            yield told
        finally:
            bar.remove_task(task)

    def problem(self, line: str) -> None:
        """Something that was not done, told even when quiet."""
        self._print(f"dseinvert: {line}", "yellow")

    def note(self, line: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            self._print(line, "dim" if self.bar is not None else "")

    def _print(self, line: str, style: str) -> None:
        self.console.print(_plain(line), style=style, soft_wrap=True, highlight=False)


def _plain(line: str) -> str:
    """As it stands: no markup, and nothing that a terminal obeys."""
    return escape(printable(line))


@contextmanager
def watching(quiet: bool = False) -> Iterator[Terminal]:
    """A Terminal on stderr, with a bar where stderr is a terminal."""
    console = Console(file=sys.stderr)
    if quiet or not console.is_terminal:
        yield Terminal(console, quiet)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Terminal(console, quiet, bar, bar.add_task("", total=None, visible=False, note=""))
