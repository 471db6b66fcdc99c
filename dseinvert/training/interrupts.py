"""Ctrl-C and termination as a wish that a loop can grant at the end of its step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Wish:
    """Which signal asked to stop; None = none so far."""

    signal: int | None = None


@contextmanager
def stop_wishes() -> Iterator[Wish]:
    """Collect the first SIGINT or SIGTERM; a second one acts as it always did."""
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():  # signals go there alone
        yield wish
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        restore()
