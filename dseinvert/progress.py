"""Who hears how work goes: a terminal, a page, a test, or nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Count(Protocol):
    """Is told how far something is."""

    def __call__(self, done: int, note: str = "") -> None:
        """`done` of all; `note` is a few words beside it until the next one, "" = as before."""


class Watcher(Protocol):
    """Receives the news of a run; every call returns at once."""

    def begin(self, what: str, total: int) -> None:
        """A new count begins; `total` 0 = there is nothing to do."""

    def advance(self) -> None:
        """One more is done."""

    def within(self, what: str, total: int | None) -> AbstractContextManager[Count]:
        """A count of its own, shown while one thing is worked on; gives what is told of it.

        `total` None = unknown.
        """

    def problem(self, line: str) -> None:
        """Something that was not done, told even when quiet."""

    def note(self, line: str) -> None:
        """Something worth knowing."""


class Silent:
    """Hears it and says nothing."""

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""

    def advance(self) -> None:
        """See `Watcher`."""

    @contextmanager
    def within(self, what: str, total: int | None) -> Iterator[Count]:
        """See `Watcher`."""
        yield lambda done, note="": None

    def problem(self, line: str) -> None:
        """See `Watcher`."""

    def note(self, line: str) -> None:
        """See `Watcher`."""


SILENT = Silent()
"""Nobody hears."""
