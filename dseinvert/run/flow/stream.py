"""Work on a stream of things: ahead of its reader in threads, and in batches across things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from dseinvert.run.flow.alone import AtOnce, alone

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Workers:
    """A pool and how many threads it has."""

    pool: Executor
    count: int


@contextmanager
def threads(count: int, begin: Callable[[], object] | None = None) -> Iterator[Executor]:
    """A pool that, when something goes wrong, drops what it has not begun.

    `begin` is called once in each thread; None = nothing is. Alone, there are no threads.
    """
    if alone():
        yield AtOnce()
        return
    pool = ThreadPoolExecutor(count, initializer=begin)
    try:
        yield pool
    except KeyboardInterrupt:  # the second one: what is under way is not waited for
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def ahead(pool: Executor, work: Callable[[T], R], things: Iterable[T], window: int) -> Iterator[R]:
    """The results of `work` in the order of `things`, at most `window` of them under way.

    `things` is read by the caller's thread, so that one stream can feed the next.
    """
    pending: deque[Future[R]] = deque()
    for thing in things:
        pending.append(pool.submit(work, thing))
        while pending and (len(pending) >= window or pending[0].done()):
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def regroup(
    things: Iterable[T],
    parts: Callable[[T], Sequence[P]],
    work: Callable[[Sequence[P]], Sequence[R]],
    size: Callable[[], int],
    workers: Workers,
    most: int | None = None,
) -> Iterator[tuple[T, list[R]]]:
    """Each thing with the results for its parts; `work` gets `size()` parts of several things.

    `workers` have a batch each and one waits for them; the order is that of `things`. Rather than
    let more than `most` things wait for a batch to fill, a short one is begun; None = they wait.
    """
    waiting: deque[tuple[T, int]] = deque()
    todo: list[P] = []
    pending: deque[Future[Sequence[R]]] = deque()
    ready: deque[R] = deque()

    def begin(count: int) -> None:
        pending.append(workers.pool.submit(work, todo[:count]))
        del todo[:count]
        while pending and (len(pending) > workers.count or pending[0].done()):
            ready.extend(pending.popleft().result())

    for thing in things:
        new = parts(thing)
        waiting.append((thing, len(new)))
        todo.extend(new)
        while len(todo) >= size():
            begin(size())
        if most is not None and len(waiting) > most:
            if todo:
                begin(len(todo))
            while pending and len(waiting) > most:
                ready.extend(pending.popleft().result())
                yield from _complete(waiting, ready)
        yield from _complete(waiting, ready)
    if todo:
        begin(len(todo))
    while pending:
        yield from _complete(waiting, ready)
        ready.extend(pending.popleft().result())
    yield from _complete(waiting, ready)


def _complete(waiting: deque[tuple[T, int]], ready: deque[R]) -> Iterator[tuple[T, list[R]]]:
    while waiting and waiting[0][1] <= len(ready):
        thing, count = waiting.popleft()
        yield thing, [ready.popleft() for _ in range(count)]
