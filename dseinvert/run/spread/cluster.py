"""`--engine ray`: workers of a Ray cluster, to which this process hands small batches of items.

Ray starts the workers, moves them between machines and tells of their deaths. A worker that is
lost costs its batch, which another one does again; workers join and leave at any time.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from dseinvert.config import SpreadOptions
from dseinvert.errors import DeviceError, DseInvertError, ExitCode, MissingError, UsageError
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.inputs import Item
from dseinvert.run.spread.desk import Desk, open_desk
from dseinvert.run.spread.hands import Hands, Made
from dseinvert.run.spread.notes import Deaths, deaths_in, ordered
from dseinvert.stop import Stop, stoppable

_ANSWER = 10  # seconds for a cluster to answer
_START = "start one with `ray start --head`, or leave out --address for one of this machine"
_LOOK = 0.5  # seconds between looks whether to stop
_CORES = 8
_BARREN = 6
"""Workers that die in a row, before any has done anything, until the run is given up."""


@dataclass(frozen=True)
class Batch:
    """Items that are handed out together."""

    items: tuple[Item, ...]
    alone: bool = False


@dataclass
class Hand:
    """One worker."""

    number: int
    actor: Any
    batch: Batch | None = None
    """None = it has none in hand."""


@dataclass
class Hall:
    """All workers, and what they have in hand, by Ray's reference to it."""

    ray: Any
    desk: Desk
    handed: Any
    """Ray's reference to what every worker is told."""
    needs: dict[str, float]
    most: int
    busy: dict[Any, Hand] = field(default_factory=dict)
    idle: list[Hand] = field(default_factory=list)
    todo: deque[Batch] = field(default_factory=deque)
    barren: int = 0

    def fill(self) -> None:
        """Ask for as many workers as there may be, and as there is work for."""
        numbers = {hand.number for hand in (*self.busy.values(), *self.idle)}
        at_hand = sum(hand.batch is not None for hand in self.busy.values())
        wanted = min(self.most, at_hand + len(self.todo))
        for number in range(1, self.most + 1):
            if number not in numbers and len(numbers) < wanted:
                numbers.add(number)
                actor = self.ray.remote(**self.needs)(Hands).remote()
                self.busy[actor.open.remote(number, self.handed)] = Hand(number, actor)

    def hand_out(self) -> None:
        """Give the workers that wait a batch each."""
        while self.idle and self.todo:
            hand, batch = self.idle.pop(), self.todo.popleft()
            hand.batch = batch
            self.busy[hand.actor.do.remote(batch.items, alone=batch.alone)] = hand


def run_cluster(
    verb: str, patterns: Sequence[str], options: Any, spread: SpreadOptions, watcher: Watcher
) -> ExitCode:
    """Do what `patterns` mean, by the workers of a cluster.

    Raises:
        UsageError: a verb that no cluster does.
        MissingError: there is no Ray here, or a worker has another version or model.
        DeviceError: there is no such cluster, or no worker of it stays alive.
        DseInvertError: what stops a whole run.
    """
    ray = _ray()
    if verb in ("edit", "video"):
        return _errands(ray, verb, patterns, options, spread, watcher)
    if verb != "images":
        raise UsageError("--engine ray: not with --keep-folders", "use --shard K/N, or one folder")
    with open_desk(patterns, options, spread, watcher) as desk:
        if not desk.items:
            return desk.exit_code(())
        with _joined(ray, spread.address), stoppable(watcher.problem) as stop:
            hall = _hall(ray, desk, options, spread, watcher)
            watcher.begin(desk.what, len(desk.items))
            results = [*_results(hall, desk, watcher, stop)]
    return stop.code or desk.exit_code(results)


def _errands(
    ray: Any,
    verb: str,
    patterns: Sequence[str],
    options: Any,
    spread: SpreadOptions,
    watcher: Watcher,
) -> ExitCode:
    """`edit` and `video`, share by share."""
    from dseinvert.run.spread.errands import run_errands

    with _joined(ray, spread.address), stoppable(watcher.problem) as stop:
        needs, most = _needs(ray, options, spread, watcher)
        retry = spread.retry_failed
        return run_errands(ray, verb, patterns, options, needs, most, watcher, stop, retry=retry)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingError(
            "--engine ray needs the package ray", "pip install 'dseinvert[ray]'"
        ) from error
    return ray


@contextmanager
def _joined(ray: Any, address: str | None) -> Iterator[None]:
    """Within it, this process belongs to a cluster; None = to one of its own."""
    _reachable(address)
    with _hushed():
        _join(ray, address)
        try:
            yield
        finally:
            ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        said = str(error).strip().split("\n")[0][:120]
        raise DeviceError(f"--address {address}: no Ray cluster there: {said}", _START) from error


def _reachable(address: str | None) -> None:
    """DeviceError where nobody answers; Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address or "")
    if found is None:
        return
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), _ANSWER).close()
    except (OSError, OverflowError) as error:
        said = (getattr(error, "strerror", None) or str(error)).lower()
        raise DeviceError(f"--address {address}: no Ray cluster there: {said}", _START) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Within it, stdout and stderr go nowhere: of deaths this program tells in its own words.

    Ray's libraries write there by themselves; all of it stands in Ray's logs too.
    """
    sys.stdout.flush()
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        for stream, one in zip((1, 2), kept, strict=True):
            os.dup2(one, stream)
        for one in (*kept, nowhere):
            os.close(one)


def _hall(ray: Any, desk: Desk, options: Any, spread: SpreadOptions, watcher: Watcher) -> Hall:
    needs, most = _needs(ray, options, spread, watcher)
    handed = replace(desk.handed, cores=int(needs.get("num_cpus", 0)))
    return Hall(ray, desk, ray.put(handed), needs, most)


def _needs(
    ray: Any, options: Any, spread: SpreadOptions, watcher: Watcher
) -> tuple[dict[str, float], int]:
    """What each worker takes of the cluster, and how many there may be."""
    here = ray.cluster_resources()
    gpus, cores = int(here.get("GPU", 0)), int(here.get("CPU", 1))
    on_gpu = options.device.startswith("cuda") or (options.device == "auto" and gpus > 0)
    usual = gpus if on_gpu else max(1, cores // _CORES)
    least, _, most = (spread.workers or "auto").replace("auto", str(max(1, usual))).partition("..")
    count = int(most or least)
    if on_gpu and not gpus:
        watcher.note("the cluster has no GPU yet: the run waits for one")
    needs = {"num_gpus": 1.0} if on_gpu else {"num_cpus": float(max(1, cores // int(least)))}
    watcher.note(f"Ray: {counted(count, 'worker')} at most, {cores} cores, {gpus} GPUs")
    return {**needs, "max_restarts": 0}, count


def _results(hall: Hall, desk: Desk, watcher: Watcher, stop: Stop) -> Iterator[Made]:
    """Each item's, whoever did it; on leaving, all workers have closed their books."""
    order = ordered(desk.items, desk.deaths, again=desk.retry)
    for item, reason in order.aside:
        yield _told(desk.put_aside(item, reason), watcher)
    hall.todo.extend([*_batches(order.together, desk.size), *map(_alone, order.alone)])
    while (hall.todo and stop.code is None) or any(h.batch for h in hall.busy.values()):
        if stop.code is None:
            hall.fill()
            hall.hand_out()
        ready, _ = hall.ray.wait([*hall.busy], timeout=_LOOK)
        for one in ready:
            for made in _returned(hall, one, watcher):
                yield _told(made, watcher)
    _close(hall)


def _returned(hall: Hall, reference: Any, watcher: Watcher) -> Iterable[Made]:
    """What a worker made; its batch is handed out again where it died."""
    hand = hall.busy.pop(reference)
    try:
        told = hall.ray.get(reference)
    except hall.ray.exceptions.RayActorError:
        return _lost(hall, hand, watcher)
    if isinstance(told, tuple):
        error = DseInvertError(told[0], told[1])
        error.exit_code = ExitCode(told[2])
        raise error
    hand.batch = None
    hall.idle.append(hand)
    if told:
        hall.barren = 0
    return told or ()


def _lost(hall: Hall, hand: Hand, watcher: Watcher) -> list[Made]:
    """Its items go to others; those that may have killed it by themselves, or nowhere."""
    hall.barren += 1
    items = () if hand.batch is None else hand.batch.items
    kept = hall.desk.kept(hand.number, items)
    items = tuple(item for item in items if item.name not in {one.name for one in kept})
    watcher.note(f"worker {hand.number} is lost; {counted(len(items), 'item')} to do again")
    if hall.barren > _BARREN:
        raise DeviceError(
            f"{hall.barren} workers died one after another", "see the logs of Ray for why"
        )
    deaths: dict[str, Deaths] = deaths_in(hall.desk.folder, hall.desk.own)
    order = ordered(items, deaths)
    hall.todo.extend([*map(_alone, order.alone)])
    hall.todo.extendleft(_batches(order.together, hall.desk.size))
    return [*kept, *(hall.desk.put_aside(item, reason) for item, reason in order.aside)]


def _batches(items: Sequence[Item], size: int) -> list[Batch]:
    return [Batch(tuple(items[k : k + size])) for k in range(0, len(items), size)]


def _alone(item: Item) -> Batch:
    return Batch((item,), alone=True)


def _told(made: Made, watcher: Watcher) -> Made:
    watcher.advance()
    if made.status != "done":
        watcher.problem(f"{made.shown}: {made.reason}")
    return made


def _close(hall: Hall) -> None:
    """The workers end their notes; those that are still being opened are let go."""
    closing = [hand.actor.close.remote() for hand in hall.idle]
    with suppress(hall.ray.exceptions.RayError):
        hall.ray.wait(closing, num_returns=max(1, len(closing)), timeout=10) if closing else None
