"""What a person at a terminal sees of a run: a bar, and a line for whatever went wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

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


@dataclass
class Minutes:
    """A line a minute, for those who read what was said later."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    what: str = ""
    total: int = 0
    done: int = 0
    first: float = 0.0
    """When the first was done: what came before, as workers that started, tells of no other."""
    last: float = 0.0

    def __post_init__(self) -> None:
        self.last = self.clock()

    def begin(self, what: str, total: int) -> None:
        """A new count begins."""
        self.what, self.total, self.done = what, total, 0
        self.last = self.clock()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        if self.done == 1:
            self.first = self.clock()
        self.perhaps("")

    def perhaps(self, inside: str) -> None:
        """Say how far it is, where the last word is a minute old; `inside` = of the one in hand."""
        now = self.clock()
        if now - self.last < 60:
            return
        self.last = now
        count = f"{self.what}: {self.done} of {self.total}" if self.what else ""
        self.say(", ".join(filter(None, (count, inside, self._left(now)))))

    def _left(self, now: float) -> str:
        if not 1 < self.done < self.total:
            return ""
        seconds = (now - self.first) * (self.total - self.done) / (self.done - 1)
        return f"about {max(1, round(seconds / 60))} min left"


@dataclass(frozen=True)
class Terminal:
    """A `Watcher` that prints: a bar where somebody looks, and lines."""

    console: Console
    quiet: bool = False
    bar: Progress | None = None
    """None = nobody is looking."""
    task: TaskID | None = None
    minutes: Minutes | None = None
    """What speaks now and then where nobody looks; None = nothing does."""

    def begin(self, what: str, total: int) -> None:
        """A new count begins."""
        if self.minutes is not None:
            self.minutes.begin(what, total)
        if self.bar is not None and self.task is not None:
            self.bar.reset(self.task, total=total, description=_plain(what), visible=total > 0)

    def advance(self) -> None:
        """One more is done."""
        if self.minutes is not None:
            self.minutes.advance()
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task)

    @contextmanager
    def within(self, what: str, total: int | None) -> Iterator[Count]:
        """A bar of its own while one thing is worked on; gives what is told how far it is.

        `total` None = unknown.
        """
        bar = self.bar
        if bar is None:
            yield partial(self._inside, what, total)
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

    def _inside(self, what: str, total: int | None, done: int, note: str = "") -> None:
        if self.minutes is not None:
            whole = "" if total is None else f" of {total}"
            self.minutes.perhaps(" ".join(filter(None, (f"{what} {done}{whole}", note))))

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
        terminal = Terminal(console, quiet)
        yield terminal if quiet else replace(terminal, minutes=Minutes(terminal.note))
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
