from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dseinvert.run.flow.relay import relay


def test_things_come_in_order_from_another_thread() -> None:
    threads: set[str] = set()

    def things() -> Iterator[int]:
        for thing in range(50):
            threads.add(threading.current_thread().name)
            yield thing

    with relay(things(), 3) as coming:
        assert list(coming) == list(range(50))
    assert threading.current_thread().name not in threads


def test_only_a_window_of_things_is_made_ahead() -> None:
    made: list[int] = []

    def things() -> Iterator[int]:
        for thing in range(100):
            made.append(thing)
            yield thing

    with relay(things(), 4) as coming:
        next(coming)
        time.sleep(0.3)
        assert 2 <= len(made) <= 6  # read, waiting, and one in hand


def test_an_error_arrives_where_the_things_are_read() -> None:
    def things() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with relay(things(), 4) as coming:
        assert next(coming) == 1
        with pytest.raises(ValueError, match="no more"):
            next(coming)


def test_leaving_early_ends_the_thread() -> None:
    closed: list[bool] = []

    def things() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    before = threading.active_count()
    with relay(things(), 1) as coming:
        next(coming)
    assert threading.active_count() == before
    assert closed
