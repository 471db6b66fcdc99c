"""Whether the parts of a run work beside each other or alone, one after another, to be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Within it, relays and pools begin no thread: work is done where it is asked for."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def alone() -> bool:
    """Whether the caller is within `one_at_a_time`."""
    return _ALONE.get()


class AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done
