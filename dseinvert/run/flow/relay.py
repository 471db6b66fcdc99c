"""An iterator that runs in a thread of its own, a few things ahead of its reader."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

from dseinvert.run.flow.alone import alone

T = TypeVar("T")
_PATIENCE = 0.1  # seconds between looks whether the other side has gone


@contextmanager
def relay(things: Iterable[T], window: int) -> Iterator[Iterator[T]]:
    """The same things, at most `window` of them waiting; on leaving, the thread has ended.

    What `things` raises is raised where they are read. Alone, there is no thread.
    """
    if alone():
        yield iter(things)
        return
    queue: Queue[tuple[str, Any]] = Queue(window)
    closed = Event()
    thread = Thread(target=_run, args=(things, queue, closed), daemon=True)
    thread.start()
    reading = _read(queue, thread)
    try:
        yield reading
    finally:
        closed.set()
        reading.close()
        thread.join()


def _run(things: Iterable[Any], queue: Queue[tuple[str, Any]], closed: Event) -> None:
    try:
        for thing in things:
            _put(queue, ("thing", thing), closed)
            if closed.is_set():
                return
        _put(queue, ("end", None), closed)
    except BaseException as error:
        _put(queue, ("error", error), closed)


def _put(queue: Queue[tuple[str, Any]], item: tuple[str, Any], closed: Event) -> None:
    while not closed.is_set():
        try:
            queue.put(item, timeout=_PATIENCE)
            return
        except Full:
            continue


def _read(queue: Queue[tuple[str, Any]], thread: Thread) -> Generator[Any, None, None]:
    while True:
        try:
            kind, item = queue.get(timeout=1)
        except Empty:
            if not thread.is_alive() and queue.empty():
                return
            continue
        if kind == "end":
            return
        if kind == "error":
            raise item
        yield item
