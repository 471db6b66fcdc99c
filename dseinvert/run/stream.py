"""Work on a stream of things: ahead of its reader in threads, and in batches across things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that, when something goes wrong, drops what it has not begun."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


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
) -> Iterator[tuple[T, list[R]]]:
    """Each thing with the results for its parts; `work` gets `size()` parts of several things."""
    waiting: deque[tuple[T, int]] = deque()
    todo: list[P] = []
    ready: deque[R] = deque()
    for thing in things:
        new = parts(thing)
        waiting.append((thing, len(new)))
        todo.extend(new)
        while len(todo) >= size():
            count = size()
            ready.extend(work(todo[:count]))
            del todo[:count]
        yield from _complete(waiting, ready)
    if todo:
        ready.extend(work(todo))
    yield from _complete(waiting, ready)


def _complete(waiting: deque[tuple[T, int]], ready: deque[R]) -> Iterator[tuple[T, list[R]]]:
    while waiting and waiting[0][1] <= len(ready):
        thing, count = waiting.popleft()
        yield thing, [ready.popleft() for _ in range(count)]
