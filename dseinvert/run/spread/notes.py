"""What a process notes of its run beside its journal: how much there is, what is in flight.

A note that an item begins is on its way to the disk before any of it is done. What was in flight
when a process died is known to the next one by that; where the process could still say why it
died (a segmentation fault), Python's fault handler wrote that into the same file.
"""

from __future__ import annotations

import faulthandler
import json
import os
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from dseinvert.errors import OutputError
from dseinvert.media.address import far
from dseinvert.media.atomic import open_in_place, output_error
from dseinvert.media.lock import lock
from dseinvert.names import count, json_value, number, open_regular
from dseinvert.version import __version__

_CRASH = b"Fatal Python error: "
_PROVEN, _UNEXPLAINED = 2, 3
"""Deaths after which an item is put aside: by a fault of the process; by no known cause, alone."""
ASIDE = "put aside: "
"""How the reason of such an item begins."""


@dataclass
class Run:
    """One run of one process, as far as its notes go."""

    about: Mapping[str, Any]
    """version, settings, total, earlier, verb, at."""
    begun: dict[str, bool] = field(default_factory=dict)
    """In flight; whether alone."""
    counts: Counter[str] = field(default_factory=Counter)
    """Of what is done, by status."""
    fault: str = ""
    """What the process died of, as far as it could say."""
    ended: bool = False
    last: float = 0.0
    """When the file was last written; of a run before the last one, 0."""

    @property
    def at(self) -> float:
        """When it began; 0 = it does not say."""
        try:
            return float(number(self.about.get("at", 0)))
        except ValueError:
            return 0.0

    def number(self, name: str) -> int:
        """A count that its first note holds."""
        try:
            return count(self.about.get(name, 0))
        except ValueError:
            return 0


@dataclass
class Deaths:
    """The deaths of processes that had an item in flight."""

    faults: int = 0
    killed: int = 0
    killed_alone: int = 0
    fault: str = ""
    """The last one."""

    @property
    def suspect(self) -> bool:
        """Whether it is to be done with nothing else in flight."""
        return self.faults > 0 or self.killed > 1

    @property
    def reason(self) -> str:
        """Why it is put aside; "" = it is not."""
        if self.faults >= _PROVEN:
            return f"{ASIDE}killed its worker {self.faults} times: {self.fault}"
        if self.killed_alone >= _UNEXPLAINED:
            return f"{ASIDE}its worker died {self.killed} times while at it (out of memory?)"
        return ""


_NONE = Deaths()


class Named(Protocol):
    """An item of a run."""

    @property
    def name(self) -> str:
        """Of its outputs."""


Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True)
class Order(Generic[Item]):
    """How the items of a run are worked on."""

    together: tuple[Item, ...]
    alone: tuple[Item, ...]
    """Then, with nothing else in flight."""
    aside: tuple[tuple[Item, str], ...] = ()
    """Not at all, and why."""


def ordered(
    items: Sequence[Item], deaths: Mapping[str, Deaths], *, again: bool = False
) -> Order[Item]:
    """What killed its worker twice is put aside; what may have is done by itself.

    again: whatever it did before, all of it is done, item by item.
    """
    if again:
        return Order((), tuple(items))
    suspects = [item for item in items if deaths.get(item.name, _NONE).suspect]
    aside = tuple((item, deaths[item.name].reason) for item in suspects if deaths[item.name].reason)
    kept = [item for item in suspects if not deaths[item.name].reason]
    seen = {item.name for item in suspects}
    return Order(tuple(item for item in items if item.name not in seen), tuple(kept), aside)


class Notes:
    """The open notes of a run; threads may write at once."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        self._lock = Lock()
        self._open = False

    def begin(self, name: str, *, alone: bool = False) -> None:
        """An item is about to be worked on; alone: with nothing else in flight."""
        self._write({"begun": name, **({"alone": True} if alone else {})})

    def made(self, name: str) -> None:
        """It is in flight no more, and waits for others before it is in the journal."""
        self._write({"made": name})

    def done(self, name: str, status: str) -> None:
        """It is in the journal."""
        self._write({"done": name, "as": status, "at": round(time.time(), 3)})

    def about(self, **facts: Any) -> None:
        """The first note: what this run is."""
        self._open = True
        here = {"version": __version__, "at": time.time(), "pid": os.getpid()}
        self._write({"run": {**here, **facts}})

    def end(self) -> None:
        """The process goes on living: what is in flight was only given up."""
        if self._open:
            with suppress(OutputError):
                self._write({"end": True})

    def _write(self, note: Mapping[str, Any]) -> None:
        line = json.dumps(note, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                os.write(self._descriptor, line)
        except OSError as error:
            raise output_error(self._path, error) from error


class Beginning(Protocol):
    """Where it is noted that an item begins."""

    def begin(self, name: str, *, alone: bool = False) -> None:
        """See `Notes`."""


def noted(items: Iterable[Item], notes: Beginning, *, alone: bool = False) -> Iterator[Item]:
    """The items, of each of which it is noted that it begins."""
    for item in items:
        notes.begin(item.name, alone=alone)
        yield item


def notes_path(journal: Path) -> Path:
    """The file of notes beside a journal; hidden, so that no folder scan sees it."""
    return journal.with_name(f".{journal.stem}.notes")


@contextmanager
def open_notes(journal: Path, *, keep: bool, faults: bool = False) -> Iterator[Notes]:
    """The notes of a run, whose journal is locked.

    Args:
        journal: its path.
        keep: also when the run has ended.
        faults: what the process dies of is noted here, also where others hear of it so far.

    Raises:
        OutputError: they cannot be written.
    """
    path = notes_path(journal)
    try:
        descriptor = open_in_place(path)
    except OSError as error:
        raise output_error(path, error) from error
    notes = Notes(descriptor, path)
    ours = faults or not faulthandler.is_enabled()
    try:
        _end_torn_line(descriptor)
        if ours:
            faulthandler.enable(descriptor, all_threads=False)
        yield notes
    finally:
        if ours:
            faulthandler.disable()
        notes.end()
        os.close(descriptor)
        if not keep:
            path.unlink(missing_ok=True)


def _end_torn_line(descriptor: int) -> None:
    with suppress(OSError):  # on a full disk: the next note says so
        os.write(descriptor, b"\n" if os.fstat(descriptor).st_size else b"")


def read_notes(path: Path) -> list[Run]:
    """The runs of a file of notes, oldest first; lines that are cut short are passed over."""
    runs: list[Run] = []
    try:
        with open_regular(path) as file:
            for line in file:
                _read(line, runs)
            written = os.fstat(file.fileno()).st_mtime
    except OSError:
        return []
    for run in runs[-1:]:
        run.last = written
    return runs


def _read(line: bytes, runs: list[Run]) -> None:
    if line.startswith(_CRASH) and runs:
        runs[-1].fault = line[len(_CRASH) :].decode(errors="replace").strip()[:200]
        return
    try:
        note = json_value(line)
        if "run" in note:
            runs.append(Run(dict(note["run"])))
        elif "begun" in note:
            runs[-1].begun[str(note["begun"])] = note.get("alone") is True
        elif "done" in note:
            runs[-1].begun.pop(str(note["done"]), None)
            runs[-1].counts[str(note["as"])] += 1
        elif "made" in note:
            runs[-1].begun.pop(str(note["made"]), None)
        elif "end" in note:
            runs[-1].ended = True
    except (ValueError, TypeError, IndexError, AttributeError, KeyError):
        return


def deaths_in(folder: Path, own: str) -> dict[str, Deaths]:
    """By item: what is told of it by the notes of all processes that are not at work.

    What happened before it was last done, by whom it may be, is forgotten. `own` is the name of
    the caller's journal, which the caller has locked.
    """
    found: dict[str, Deaths] = {}
    if far(folder):  # where nothing is noted of what is in flight
        return found
    paths = sorted(folder.glob(".journal*.notes"))
    dead = [run for path in paths for run in _dead(path, own)]
    survived = _survived(paths, {name for run in dead for name in run.begun})
    for run in dead:
        _count(run, survived, found)
    return found


def _dead(path: Path, own: str) -> list[Run]:
    """The runs of a file of notes that died, each with when that was at the latest."""
    journal, runs = journal_of(path), read_notes(path)
    for run, following in pairwise(runs):
        run.last = following.at
    if journal.name != own and at_work(journal):
        runs = runs[:-1]
    return [run for run in runs if not run.ended]


def _survived(paths: Iterable[Path], names: Container[str]) -> dict[str, float]:
    """When items of these names were last worked on to the end; of none, nothing is read."""
    last: dict[str, float] = {}
    for path in paths if names else ():
        with suppress(OSError), open_regular(path) as file:
            for line in file:
                name, at = _end(line)
                if name in names:
                    last[name] = max(at, last.get(name, 0.0))
    return last


def _end(line: bytes) -> tuple[str, float]:
    """The item that a note says was done, skipped or refused, and when; "" = it says no such."""
    try:
        note = json_value(line) if b'"done"' in line else {}
        if note["as"] != "failed":  # which is also said of what is put aside
            return str(note["done"]), float(number(note["at"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return "", 0.0


def journal_of(notes: Path) -> Path:
    """The journal that a file of notes belongs to."""
    return notes.with_name(f"{notes.stem[1:]}.jsonl")


def _count(run: Run, survived: Mapping[str, float], found: dict[str, Deaths]) -> None:
    for name, alone in run.begun.items():
        if survived.get(name, -1.0) >= run.last:
            continue
        deaths = found.setdefault(name, Deaths())
        if run.fault:
            deaths.faults += 1
            deaths.fault = run.fault
        else:
            deaths.killed += 1
            deaths.killed_alone += alone


def at_work(journal: Path) -> bool:
    """Whether a process has a journal locked; False where the file system has no locks."""
    descriptor = _opened(journal)
    if descriptor is None:
        return False
    try:
        return not lock(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int | None:
    """For writing, which network file systems want for a lock, or for reading; None = neither."""
    for flags in (os.O_RDWR, os.O_RDONLY):
        with suppress(OSError):
            return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    return None
