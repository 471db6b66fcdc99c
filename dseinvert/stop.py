"""Ctrl-C and SIGTERM as a wish that a loop grants when the work in hand is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar

from dseinvert.errors import ExitCode

T = TypeVar("T")
_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@dataclass
class Stop:
    """Whether the run was asked to stop, and the exit code that says so."""

    code: ExitCode | None = None
    """None = go on."""

    def agreed(self, most: Callable[[int], int]) -> ExitCode | None:
        """What several processes stop with, all after the same step; None = they go on.

        A wish that comes while the others are asked is granted when they are asked again.

        Args:
            most: the largest of a number that each process has.
        """
        asked = most(int(self.code or 0))
        if asked:
            self.code = ExitCode(asked)
        return self.code if asked else None

    def until(self, things: Iterable[T]) -> Iterator[T]:
        """The things, up to the moment of the wish."""
        for thing in things:
            if self.code is not None:
                return
            yield thing


@contextmanager
def interruptible(told: Callable[[str], None]) -> Iterator[None]:
    """Say at once that the first SIGINT was heard; then KeyboardInterrupt is raised as usual.

    Inside, `stoppable` answers for itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        telling.append(_tell(told, "stopping"))
        raise KeyboardInterrupt

    telling: list[threading.Thread] = []
    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for thread in telling:
            thread.join(1)


def _tell(told: Callable[[str], None], said: str) -> threading.Thread:
    """In a thread: the signal may have come while this very one was writing."""
    thread = threading.Thread(target=told, args=(said,), daemon=True)
    thread.start()
    return thread


@contextmanager
def stoppable(told: Callable[[str], None] | None = None, what: str = "batch") -> Iterator[Stop]:
    """Note the first SIGINT or SIGTERM instead of dying of it; a second one kills as usual.

    Args:
        told: hears at once that the first one was heard; None = nobody does.
        what: is still finished.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # it may not set handlers
        yield stop
        return

    def note(number: int, _: object) -> None:
        stop.code = _CODES[signal.Signals(number)]
        restore()
        if told is not None:
            _tell(told, f"stopping after this {what}; Ctrl-C again stops now")

    before = {number: signal.signal(number, note) for number in _CODES}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield stop
    finally:
        restore()
