from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dseinvert.run.flow.alone import one_at_a_time
from dseinvert.run.flow.relay import relay
from dseinvert.run.flow.stream import Workers, ahead, regroup, threads

HERE = threading.current_thread().name


def test_alone_everything_is_done_where_it_is_asked_for() -> None:
    done: list[tuple[str, int]] = []

    def things() -> Iterator[int]:
        for number in range(4):
            done.append(("made", number))
            yield number

    def work(number: int) -> int:
        assert threading.current_thread().name == HERE
        done.append(("worked", number))
        return number

    with one_at_a_time(), relay(things(), 8) as coming, threads(4) as pool:
        found = list(ahead(pool, work, coming, window=8))
    assert found == [0, 1, 2, 3]
    assert done == [(what, number) for number in range(4) for what in ("made", "worked")]


def test_batches_are_the_same_alone_and_beside_each_other() -> None:
    def batches() -> list[tuple[int, list[int]]]:
        def work(parts: list[int]) -> list[int]:
            return [len(parts)] * len(parts)

        with threads(2) as pool:
            grouped = regroup(range(5), lambda n: [n] * n, work, lambda: 4, Workers(pool, 2))
            return list(grouped)

    beside = batches()
    with one_at_a_time():
        assert batches() == beside


def test_an_exception_comes_where_the_result_is_asked_for() -> None:
    def fail() -> None:
        raise ValueError("no")

    with one_at_a_time(), threads(1) as pool:
        failed = pool.submit(fail)
        with pytest.raises(ValueError, match="no"):
            failed.result()


def test_afterwards_there_are_threads_again() -> None:
    with one_at_a_time():
        pass
    with threads(1) as pool:
        assert pool.submit(lambda: threading.current_thread().name).result() != HERE
