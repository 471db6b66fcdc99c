from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dseinvert.run.flow.stream import Workers, ahead, regroup, threads


def test_results_keep_the_order_of_the_things() -> None:
    def late(number: int) -> int:
        time.sleep(0.002 * (5 - number % 5))
        return number

    with threads(4) as pool:
        assert list(ahead(pool, late, range(30), window=8)) == list(range(30))


def test_no_more_than_a_window_is_taken_before_the_reader_asks() -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    gate = threading.Event()
    with threads(2) as pool:
        results = ahead(pool, lambda number: gate.wait() and number, things(), window=5)
        threading.Timer(0.05, gate.set).start()
        next(results)
        assert len(taken) <= 5


def test_an_exception_reaches_the_reader_and_the_rest_is_dropped() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise KeyError(number)
        return number

    with pytest.raises(KeyError), threads(1) as pool:
        list(ahead(pool, work, range(1000), window=20))
    assert len(begun) < 50


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_parts_of_several_things_share_batches(size: int, count: int) -> None:
    things = ["", "abc", "d", "", "", "efghij", "k", ""]
    batches: list[int] = []

    def work(parts: list[str]) -> list[str]:
        batches.append(len(parts))
        return [part.upper() for part in parts]

    with threads(count) as pool:
        grouped = dict(enumerate(regroup(things, list, work, lambda: size, Workers(pool, count))))
    assert [(t, "".join(r)) for t, r in grouped.values()] == [(t, t.upper()) for t in things]
    assert all(length == size for length in batches[:-1])


def test_things_are_given_back_as_soon_as_their_parts_are_done() -> None:
    pulled: list[str] = []

    def things() -> Iterator[str]:
        for thing in ("ab", "cd", "ef"):
            pulled.append(thing)
            yield thing

    with threads(1) as pool:
        grouped = regroup(things(), list, lambda parts: parts, lambda: 2, Workers(pool, 1))
        assert next(grouped) == ("ab", ["a", "b"])
    assert pulled in (["ab"], ["ab", "cd"])


def test_workers_share_the_batches_and_no_more_than_one_waits() -> None:
    gate, begun = threading.Event(), []

    def work(parts: list[str]) -> list[str]:
        begun.append("".join(parts))
        gate.wait()
        return parts

    taken: list[str] = []

    def things() -> Iterator[str]:
        for thing in ("ab", "cd", "ef", "gh", "ij", "kl"):
            taken.append(thing)
            yield thing

    with threads(2) as pool:
        grouped = regroup(things(), list, work, lambda: 2, Workers(pool, 2))
        threading.Timer(0.1, gate.set).start()
        next(grouped)
        assert set(begun[:2]) == {"ab", "cd"}
        assert len(taken) <= 4


def test_things_without_parts_do_not_pile_up_behind_a_batch_that_is_not_full() -> None:
    def things() -> Iterator[int]:
        for thing in range(200):
            given.append(thing)
            yield thing

    given: list[int] = []
    with threads(1) as pool:
        grouped = regroup(
            things(),
            parts=lambda thing: [thing] if thing == 0 else [],
            work=lambda parts: [-part for part in parts],
            size=lambda: 8,
            workers=Workers(pool, 1),
            most=10,
        )
        assert next(grouped) == (0, [0])
        assert len(given) <= 12
        assert [thing for thing, _ in grouped] == list(range(1, 200))
