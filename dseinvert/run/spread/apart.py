"""`--engine ray` in a process of its own, which Ray may end.

Ray ends a process that has joined a cluster, at once and without a word, when the node by which it
joined is lost. So the one that the user started joins none: it passes on what the other tells.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from typing import Any

from dseinvert.config import SpreadOptions
from dseinvert.errors import DeviceError, DseInvertError, ExitCode
from dseinvert.progress import Watcher
from dseinvert.run.spread.news import News, listen
from dseinvert.run.spread.shard import ALL
from dseinvert.run.spread.worker import Errand
from dseinvert.stop import Stop, stoppable

_LOOK = 0.2  # seconds between looks whether to stop


def run_apart(
    verb: str, patterns: Sequence[str], options: Any, spread: SpreadOptions, watcher: Watcher
) -> ExitCode:
    """As `run_cluster`, which it leaves to another process.

    Raises:
        DeviceError: that process died. DseInvertError: as `run_cluster`.
    """
    errand = Errand(verb, tuple(patterns), options, ALL, spread)
    with stoppable() as stop, _started(errand) as process:
        code = _followed(process, watcher, stop)
    return stop.code or code


@contextmanager
def _started(errand: Errand) -> Iterator[subprocess.Popen[bytes]]:
    """The other process, of a session of its own: Ctrl-C reaches it by this one only."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dseinvert.run.spread.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps(errand))
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()


def _followed(process: subprocess.Popen[bytes], watcher: Watcher, stop: Stop) -> ExitCode:
    """Its exit code; until then, what it tells is passed on, and a wish to stop."""
    news: Queue[News] = Queue()
    threading.Thread(target=listen, args=(0, process, news), daemon=True).start()
    asked = False
    while True:
        if stop.code is not None and not asked:
            process.terminate()
            asked = True
        with suppress(Empty):
            _, one = news.get(timeout=_LOOK)
            if (code := _heard(one, watcher, stop)) is not None:
                return code


def _heard(news: Mapping[str, Any], watcher: Watcher, stop: Stop) -> ExitCode | None:
    """The exit code, at the end; raises what the other process met."""
    if "begin" in news:
        watcher.begin(str(news["begin"]), int(news["total"]))
    elif "advance" in news:
        watcher.advance()
    elif "problem" in news:
        watcher.problem(str(news["problem"]))
    elif "note" in news:
        watcher.note(str(news["note"]))
    elif "error" in news:
        what, advice, code = news["error"]
        error = DseInvertError(what, advice)
        error.exit_code = ExitCode(code)
        raise error
    elif "end" in news:
        return ExitCode(news["end"])
    elif "gone" in news and stop.code is None:
        raise DeviceError(_death(int(news["gone"])), "the same command goes on where it stopped")
    return stop.code if "gone" in news else None


def _death(code: int) -> str:
    if code >= 0:
        return "Ray ended this run: its node on this machine is lost (its raylet died)"
    with suppress(ValueError):
        return f"what hands out the work of this run died of {signal.Signals(-code).name}"
    return f"what hands out the work of this run died of signal {-code}"
