"""`--engine ray` for `edit` and `video`: small shares of the run, handed to workers of a cluster.

Each worker does one after the other, as `--shard K/N` does, in a process that stays. What of a
share is done is in its journal, so that one whose worker was lost is handed out again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dseinvert.errors import DeviceError, DseInvertError, ExitCode, MissingError
from dseinvert.names import counted
from dseinvert.progress import Count, Watcher
from dseinvert.run.flow.names import assign
from dseinvert.run.play.latents import latent_files
from dseinvert.run.spread.shard import Part, Shard
from dseinvert.run.spread.verbs import runner
from dseinvert.run.video.plan import find_sources
from dseinvert.stop import Stop
from dseinvert.version import __version__

_EACH = 8
"""Shares for each worker of `edit`."""
_LOOK = 0.5
_BARREN = 6
"""Workers that die in a row, before any has done anything, until the run is given up."""


@dataclass(frozen=True)
class Told:
    """What came of a share."""

    code: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: tuple[str, str] | None = None
    """What and advice of an error that stopped it."""


@dataclass
class Heard:
    """A `Watcher` that keeps what it hears."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""

    def advance(self) -> None:
        """See `Watcher`."""

    @contextmanager
    def within(self, what: str, total: int | None) -> Iterator[Count]:
        """See `Watcher`."""
        yield lambda done, note="": None

    def problem(self, line: str) -> None:
        """See `Watcher`."""
        self.problems.append(line)

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self.notes.append(line)


class Runner:
    """A worker: it does whole shares."""

    def do(self, verb: str, patterns: Sequence[str], options: Any, part: Part, here: str) -> Told:
        """One share; `here` is the version of whoever hands it out."""
        heard = Heard()
        try:
            if here != __version__:
                raise MissingError(
                    f"dseinvert {__version__} is installed there, and {here} here",
                    "install one version everywhere",
                )
            code = runner(verb)(patterns, options, heard, part).exit_code
        except DseInvertError as error:
            told = int(error.exit_code), tuple(heard.problems), tuple(heard.notes)
            return Told(*told, (error.what, error.advice))
        return Told(int(code), tuple(heard.problems), tuple(heard.notes))


@dataclass
class Pool:
    """The workers and the shares that are still to be done."""

    ray: Any
    needs: dict[str, float]
    most: int
    ask: Any
    """An actor and a part -> Ray's reference to what comes of it."""
    todo: deque[Part]
    busy: dict[Any, tuple[Any, Part]] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    barren: int = 0

    def hand_out(self) -> None:
        """Give each worker that waits, or may still be had, a share."""
        while self.todo and (self.idle or len(self.busy) < self.most):
            actor = self.idle.pop() if self.idle else self._hired()
            part = self.todo.popleft()
            self.busy[self.ask(actor, part)] = (actor, part)

    def _hired(self) -> Any:
        return self.ray.remote(**self.needs)(Runner).remote()


def run_errands(
    ray: Any,
    verb: str,
    patterns: Sequence[str],
    options: Any,
    needs: dict[str, float],
    most: int,
    watcher: Watcher,
    stop: Stop,
    *,
    retry: bool,
) -> ExitCode:
    """Do all shares by at most `most` workers, each of which `needs` so much of the cluster.

    Raises:
        DseInvertError: what stops a whole run.
    """
    parts = shares_of(verb, patterns, most, retry=retry)
    handed = ray.put((verb, tuple(patterns), options))
    pool = Pool(ray, needs, most, partial(_asked, ray, handed), deque(parts))
    watcher.begin("shares", len(parts))
    codes: list[int] = []
    while (pool.todo and stop.code is None) or pool.busy:
        if stop.code is None:
            pool.hand_out()
        ready, _ = ray.wait([*pool.busy], timeout=_LOOK)
        for reference in ready:
            told = _returned(pool, reference, watcher)
            if told is not None:
                codes.append(_heard(told, watcher))
    return stop.code or _worst(codes)


def shares_of(verb: str, patterns: Sequence[str], workers: int, *, retry: bool) -> list[Part]:
    """Those in which there is something: of a few clips one each, of latents a few for a worker."""
    files = find_sources(patterns)[0] if verb == "video" else latent_files(patterns).files
    names = [*assign(list(map(Path, files)), {}, ()).values()]
    count = max(1, len(names) if verb == "video" else min(len(names), _EACH * workers))
    numbers = sorted({_number(name, count) for name in names} or {1})
    return [Part(Shard(number, count), retry) for number in numbers]


def _number(name: str, count: int) -> int:
    return next(number for number in range(1, count + 1) if Shard(number, count).has(name))


def _asked(ray: Any, handed: Any, actor: Any, part: Part) -> Any:
    verb, patterns, options = ray.get(handed)
    return actor.do.remote(verb, patterns, options, part, __version__)


def _returned(pool: Pool, reference: Any, watcher: Watcher) -> Told | None:
    """What came of a share; None = its worker is lost, and another one goes on with it."""
    actor, part = pool.busy.pop(reference)
    try:
        told: Told = pool.ray.get(reference)
    except pool.ray.exceptions.RayActorError:
        pool.barren += 1
        watcher.note(f"a worker is lost; share {part.shard.number} of {part.shard.count} goes on")
        if pool.barren > _BARREN:
            what = f"{counted(pool.barren, 'worker')} died one after another"
            raise DeviceError(what, "see the logs of Ray for why") from None
        pool.todo.appendleft(part)
        return None
    pool.barren = 0
    pool.idle.append(actor)
    return told


def _heard(told: Told, watcher: Watcher) -> int:
    for line in told.problems:
        watcher.problem(line)
    for line in told.notes:
        watcher.note(line)
    if told.error is not None and told.code != ExitCode.NO_INPUT:
        error = DseInvertError(*told.error)
        error.exit_code = ExitCode(told.code)
        raise error
    watcher.advance()
    return told.code


def _worst(codes: Sequence[int]) -> ExitCode:
    """One for all: nothing failed, everything did, or some."""
    found = {*codes}
    if len(found) == 1:
        return ExitCode(found.pop())
    return ExitCode.OK if not found else ExitCode.SOME_FAILED
