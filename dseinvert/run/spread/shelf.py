"""The books of a run whose --out is in a store: objects that are written once and read by listing.

Below `journal/` each process has one object for every few entries, which nobody writes again, and
one that says what its run is and how far; that one is replaced as the run goes on. See `claim` for
their locks. Two processes that do the same items write the same bytes.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.names import count, json_value, number, table, text
from dseinvert.run.spread.claim import SILENT, claimed
from dseinvert.run.spread.shard import Shard
from dseinvert.version import __version__

_PLACE = "journal"
_ENTRIES, _RUN = ".jsonl", ".run.json"
_FEW, _SECONDS = 32, 20.0
"""Entries that an object holds at most, and how long the first of them waits."""
_AT_ONCE = 16


@dataclass
class Shelf:
    """The open books of one process; threads may write at once."""

    url: str
    """Of the output folder."""
    name: str
    """Of the process's journal, without its suffix."""
    waiting: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    since: float = 0.0
    number: int = 0
    lock: Any = field(default_factory=Lock)

    def write(self, data: bytes) -> None:
        """An entry, which is in the store with the next few."""
        with self.lock:
            self.since = self.since if self.waiting else time.monotonic()
            self.waiting.append(data)

    def begin(self, name: str, *, alone: bool = False) -> None:
        """Nothing is noted of items in flight: that would be a request for each."""

    def made(self, name: str) -> None:
        """Nor of those that are not any more."""

    def done(self, name: str, status: str) -> None:
        """The entry of an item was written."""
        with self.lock:
            self.counts[status] += 1
            if len(self.waiting) >= _FEW or time.monotonic() - self.since > _SECONDS:
                self._put(ended=False)

    def about(self, **facts: Any) -> None:
        """What this run is."""
        self.facts = {"version": __version__, "at": time.time(), **facts}
        self._put(ended=False)

    def end(self) -> None:
        """What waits is put into the store."""
        if self.facts:
            self._put(ended=True)

    def _put(self, *, ended: bool) -> None:
        if self.waiting:
            self.number += 1
            made = f"{time.time_ns():020d}-{self.number:06d}-{os.urandom(4).hex()}{_ENTRIES}"
            stores.put(f"{self.url}/{_PLACE}/{self.name}/{made}", b"".join(self.waiting))
            self.waiting = []
        told = {"run": self.facts, "counts": self.counts, "ended": ended, "last": time.time()}
        stores.put(f"{self.url}/{_PLACE}/{self.name}{_RUN}", json.dumps(told).encode())


@dataclass(frozen=True)
class Told:
    """What a process said last of its run."""

    name: str
    """Of its journal, without the suffix."""
    facts: Mapping[str, Any]
    counts: Mapping[str, int]
    ended: bool
    last: float


@contextmanager
def open_shelf(folder: Path, shard: Shard) -> Iterator[Shelf]:
    """The books of a process, locked; a worker's go with those of who hands it items.

    Raises:
        OutputError: they cannot be written, or another process has them.
    """
    url, name = far(folder), shard.journal.removesuffix(_ENTRIES)
    shelf = Shelf(url, name)
    with claimed(f"{url}/{_PLACE}", name) if shard.hand is None else nullcontext():
        try:
            yield shelf
        finally:
            shelf.end()


def check_place(folder: Path) -> None:
    """OutputError where nothing can be written to a store; asked before a model is loaded."""
    if url := far(folder):
        stores.put(f"{url}/{_PLACE}/place.json", b'{"format":"dseinvert-place-1"}\n')


def lines(folder: Path) -> Iterator[bytes]:
    """The entries of all processes, oldest first; each object is read once."""
    urls = [one.url for one in _objects(folder) if one.url.endswith(_ENTRIES)]
    urls.sort(key=lambda url: url.rpartition("/")[2])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for data in pool.map(stores.read, urls):
            yield from data.splitlines()


def runs(folder: Path) -> list[Told]:
    """What each process said last; what is none of ours is passed over."""
    urls = sorted(one.url for one in _objects(folder) if one.url.endswith(_RUN))
    return [told for url in urls if (told := _told(url)) is not None]


def at_work_there(folder: Path, name: str) -> bool:
    """Whether a process, by the name of its journal, is at work, as far as it has told."""
    now = time.time()
    return any(
        one.name == name and not one.ended and now - one.last < SILENT for one in runs(folder)
    )


def names(folder: Path) -> set[str]:
    """The names of all that lies in an output folder."""
    return {one.url.rpartition("/")[2] for one in stores.below(far(folder))}


def _objects(folder: Path) -> list[stores.Stored]:
    return stores.below(f"{far(folder)}/{_PLACE}")


def _told(url: str) -> Told | None:
    try:
        told = json_value(stores.read(url))
        counts = table(told["counts"], text, count)
        name = url.rpartition("/")[2].removesuffix(_RUN)
        ended, last = told["ended"] is True, float(number(told["last"]))
        return Told(name, dict(told["run"]), counts, ended, last)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
