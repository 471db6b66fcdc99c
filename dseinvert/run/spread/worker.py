"""A process that works for another one: `python -m dseinvert.run.spread.worker`.

What to do comes pickled on stdin, from the process that started this one; the news go to stdout, a
JSON line each. Who does a shard finishes the batch in hand when stdin ends: the other process has
ended, or wants no more. Who hands out the work of a cluster has none in hand, and is asked to stop
by a signal.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from dseinvert.config import SpreadOptions
from dseinvert.errors import DseInvertError, ExitCode
from dseinvert.progress import Count, Watcher
from dseinvert.run.spread.shard import Part
from dseinvert.run.spread.verbs import runner


@dataclass(frozen=True)
class Errand:
    """What a worker is asked to do."""

    verb: str
    patterns: tuple[str, ...]
    options: Any
    part: Part
    spread: SpreadOptions | None = None
    """All of it is done by a cluster. None = the part is done here."""


@dataclass(frozen=True)
class Piped:
    """A `Watcher` that passes on what it hears."""

    send: Callable[[dict[str, Any]], None]

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""
        self.send({"begin": what, "total": total})

    def advance(self) -> None:
        """See `Watcher`."""
        self.send({"advance": 1})

    @contextmanager
    def within(self, what: str, total: int | None) -> Iterator[Count]:
        """See `Watcher`; several processes' inner counts would only flicker."""
        yield lambda done, note="": None

    def problem(self, line: str) -> None:
        """See `Watcher`."""
        self.send({"problem": line})

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self.send({"note": line})


def main() -> int:
    """The exit code."""
    send = _opened()
    errand: Errand = pickle.load(sys.stdin.buffer)  # of the process that started this one
    leave = partial(os._exit, ExitCode.TERMINATED) if errand.spread else _stop
    threading.Thread(target=_until_left, args=(leave,), daemon=True).start()
    _be_calm()
    watcher: Watcher = Piped(send)
    try:
        code = _done(errand, watcher)
    except DseInvertError as error:
        send({"error": [error.what, error.advice, int(error.exit_code)]})
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:  # the top of the process: what failed is told, never a traceback
        from dseinvert.run.inputs import unexpected

        send({"error": [unexpected(error), "", int(ExitCode.SOME_FAILED)]})
        code = ExitCode.SOME_FAILED
    send({"end": int(code)})
    return int(code)


def _done(errand: Errand, watcher: Watcher) -> ExitCode:
    if errand.spread is None:
        run = runner(errand.verb)
        return ExitCode(run(errand.patterns, errand.options, watcher, errand.part).exit_code)
    from dseinvert.run.spread.cluster import run_cluster

    return run_cluster(errand.verb, errand.patterns, errand.options, errand.spread, watcher)


def _be_calm() -> None:
    """As the command line does: warnings are for developers, and the cores for the run."""
    import cv2

    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")


def _opened() -> Callable[[dict[str, Any]], None]:
    """What writes the news; all else that is printed goes to stderr."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    guard = threading.Lock()

    def send(news: dict[str, Any]) -> None:
        with guard:
            pipe.write(json.dumps(news).encode() + b"\n")

    return send


def _until_left(leave: Callable[[], object]) -> None:
    """`leave` when the other process closes the pipe, or dies."""
    while sys.stdin.buffer.read(1 << 10):
        pass
    leave()


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # threads that are still at work are not waited for
