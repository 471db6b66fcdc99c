"""Several processes of this machine that share a run, a shard each; their news come together."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, Queue
from typing import Any

from dseinvert.errors import DseInvertError, ExitCode
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import CORES, cores
from dseinvert.run.spread.choice import Crew
from dseinvert.run.spread.news import News, listen
from dseinvert.run.spread.worker import Errand
from dseinvert.stop import Stop, stoppable

_BARREN = 4
"""Deaths of one worker, between which nothing was done, after which it is not started again."""
_LOOK = 0.2  # seconds between looks whether to stop
_KIND = "worker"


@dataclass
class Hand:
    """One worker, over all processes that it took."""

    number: int
    process: subprocess.Popen[bytes]
    done: int = 0
    total: int = 0
    barren: int = 0
    code: int | None = None
    """None = it is at work."""
    error: DseInvertError | None = None


@dataclass
class Told:
    """What has been told of all of them."""

    watcher: Watcher
    lines: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    """What stopped workers before anything was done, and what is said of that."""

    def once(self, line: str) -> None:
        """A note that every worker would make."""
        if line not in self.lines:
            self.lines.add(line)
            self.watcher.note(line)

    def stopped(self, hand: Hand, error: DseInvertError, *, at_work: bool) -> None:
        """What stopped a worker, once. at_work: something is done, so that it is told at once."""
        self.held.setdefault(str(error), f"{_KIND} {hand.number + 1}: {error}")
        if at_work:
            self.release()

    def release(self, but: str = "") -> None:
        """Tell what stopped workers, but for what is going to be raised."""
        for error, line in self.held.items():
            if error not in self.lines | {but}:
                self.lines.add(error)
                self.watcher.problem(line)


def run_crew(
    verb: str, patterns: Sequence[str], options: Any, crew: Crew, watcher: Watcher
) -> ExitCode:
    """Do what `patterns` mean, in as many processes as the crew has.

    One that dies is started again; Ctrl-C stops all of them when their batches are done.

    Raises:
        DseInvertError: what stopped one of them.
    """
    errands = [
        Errand(verb, tuple(patterns), replace(options, device=device), part)
        for part, device in zip(crew.parts, crew.devices, strict=True)
    ]
    watcher.note(f"{len(errands)} workers: {', '.join(dict.fromkeys(crew.devices))}")
    news: Queue[News] = Queue()
    with stoppable(watcher.problem) as stop, _started(errands, news) as hands:
        told = Told(watcher)
        asked = False
        while any(hand.code is None for hand in hands):
            if stop.code is not None and not asked:
                asked = True
                _ask_to_stop(hands)
            with suppress(Empty):
                number, one = news.get(timeout=_LOOK)
                _hear(hands[number], one, hands, told)
                _after(hands[number], one, errands[number], news, told, stop, len(errands))
    return _code(hands, stop, told)


@contextmanager
def _started(errands: Sequence[Errand], news: Queue[News]) -> Iterator[list[Hand]]:
    """All workers; on leaving, none is alive."""
    hands: list[Hand] = []
    try:
        for number, errand in enumerate(errands):
            hands.append(Hand(number, _start(number, errand, news, len(errands))))
        yield hands
    finally:
        for hand in hands:
            if hand.process.poll() is None:
                hand.process.kill()
            hand.process.wait()


def _start(number: int, errand: Errand, news: Queue[News], count: int) -> subprocess.Popen[bytes]:
    """A process of a session of its own: Ctrl-C reaches it by this one only.

    It is one of `count`, which have the cores in equal parts.
    """
    part = str(max(1, cores() // count))
    process = subprocess.Popen(
        [sys.executable, "-m", "dseinvert.run.spread.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={"OMP_NUM_THREADS": part, **os.environ, "OMP_WAIT_POLICY": "PASSIVE", CORES: part},
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(errand))
        process.stdin.flush()
    threading.Thread(target=listen, args=(number, process, news), daemon=True).start()
    return process


def _hear(hand: Hand, news: Mapping[str, Any], hands: Sequence[Hand], told: Told) -> None:
    if "begin" in news:
        hand.total = hand.done + int(news["total"])
        left = sum(one.total - one.done for one in hands)
        told.watcher.begin(str(news["begin"]), left)
    elif "advance" in news:
        hand.done += 1
        hand.barren = 0
        told.release()
        told.watcher.advance()
    elif "problem" in news:
        told.watcher.problem(str(news["problem"]))
    elif "note" in news:
        told.once(str(news["note"]))
    elif "error" in news:
        what, advice, code = news["error"]
        hand.error = DseInvertError(what, advice)
        hand.error.exit_code = ExitCode(code)
        told.stopped(hand, hand.error, at_work=any(one.done for one in hands))


def _after(
    hand: Hand,
    news: Mapping[str, Any],
    errand: Errand,
    queue: Queue[News],
    told: Told,
    stop: Stop,
    count: int,
) -> None:
    """What is to be done when a process has ended: one that was killed is followed by another."""
    if "gone" not in news:
        return
    code = int(news["gone"])
    if code >= 0 or stop.code is not None:
        hand.code = code
        return
    hand.barren += 1
    with suppress(ValueError):
        told.watcher.problem(f"{_KIND} {hand.number + 1} died of {signal.Signals(-code).name}")
    if hand.barren > _BARREN:
        hand.code = ExitCode.RESOURCES
        told.watcher.problem(
            f"{_KIND} {hand.number + 1} is given up: it died {counted(hand.barren, 'time')} "
            "in a row (the same command goes on where this one stopped)"
        )
        return
    hand.process = _start(hand.number, errand, queue, count)


def _ask_to_stop(hands: Sequence[Hand]) -> None:
    for hand in hands:
        with suppress(OSError):
            assert hand.process.stdin is not None
            hand.process.stdin.close()


def _code(hands: Sequence[Hand], stop: Stop, told: Told) -> ExitCode:
    """One for all: what stopped the run, else the gravest."""
    if stop.code is not None:
        told.release()
        return stop.code
    errors = [hand.error for hand in hands if hand.error is not None]
    if len(errors) == len(hands):
        told.release(but=str(errors[0]))
        raise errors[0]
    told.release()
    codes = {hand.code or 0 for hand in hands}
    if len(codes) == 1:
        return ExitCode(codes.pop())
    grave = codes - {ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.NO_INPUT, ExitCode.PARTIAL_VIDEO}
    return ExitCode(min(grave)) if grave else ExitCode.SOME_FAILED
