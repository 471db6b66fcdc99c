"""The lock of a process's books in a store: an object that is made only where there is none.

The locks of one name are numbered. The one with the highest number counts; it says who made it, and
by and by that its owner is alive. One whose owner has ended or died is followed by the next number,
which only one process can make. Stores without such a PUT have no locks.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dseinvert.errors import InputError, OutputError
from dseinvert.media import stores
from dseinvert.names import json_value

SILENT = 600
"""Seconds after which a process that says nothing is taken for dead."""
_BEAT = 60
"""Seconds between signs of life."""
_TRIES = 5


@dataclass(frozen=True)
class Owner:
    """Who has a lock."""

    host: str
    pid: int
    token: str
    last: float
    ended: bool = False

    @property
    def gone(self) -> bool:
        """Whether it has ended, or is known to have died."""
        if self.ended or time.time() - self.last > SILENT:
            return True
        if self.host != socket.gethostname():
            return False
        return self.pid == os.getpid() or not _alive(self.pid)

    def dumps(self) -> bytes:
        """Its object."""
        return json.dumps({"format": "dseinvert-lock-1", **vars(self)}).encode() + b"\n"


@dataclass
class Claim:
    """A lock that this process has."""

    url: str
    owner: Owner
    over: threading.Event = field(default_factory=threading.Event)

    def beat(self) -> None:
        """Say now and then that this process is alive, until it ends."""
        while not self.over.wait(_BEAT):
            with suppress(OutputError):  # the run itself meets a store that is gone
                stores.put(self.url, replace(self.owner, last=time.time()).dumps())


@contextmanager
def claimed(folder: str, name: str) -> Iterator[None]:
    """The lock `name` of a folder of a store.

    Raises:
        OutputError: another process has it, or the store cannot be written to.
    """
    claim = _claim(folder, name)
    thread = threading.Thread(target=claim.beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        claim.over.set()
        thread.join()
        with suppress(OutputError):
            stores.put(claim.url, replace(claim.owner, last=time.time(), ended=True).dumps())


def _claim(folder: str, name: str) -> Claim:
    me = Owner(socket.gethostname(), os.getpid(), os.urandom(8).hex(), time.time())
    for _ in range(_TRIES):
        locks = _locks(folder, name)
        number, before = locks[-1] if locks else (0, "")
        if before and (owner := _owner(before)) is not None and not owner.gone:
            raise _taken(folder, before, owner)
        url = f"{folder}/{name}.lock-{number + 1:06d}.json"
        if stores.put_new(url, me.dumps()) and _locks(folder, name)[-1][1] == url:
            for _, old in locks:
                stores.remove(old)
            return Claim(url, me)
    raise OutputError(f"{folder}: other runs begin here all the time", "wait for them")


def _locks(folder: str, name: str) -> list[tuple[int, str]]:
    """Their numbers and URLs, the highest last."""
    pattern = re.compile(rf"{re.escape(name)}\.lock-(\d+)\.json")
    names = ((one.url, one.url.rpartition("/")[2]) for one in stores.below(folder))
    return sorted((int(m[1]), url) for url, last in names if (m := pattern.fullmatch(last)))


def _owner(url: str) -> Owner | None:
    """None = what is there is no lock of ours, or is gone."""
    try:
        told: dict[str, Any] = json_value(stores.read(url))
        ended = told["ended"] is True
        return Owner(
            *(str(told["host"]), int(told["pid"]), str(told["token"])), float(told["last"]), ended
        )
    except (InputError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _taken(folder: str, url: str, owner: Owner) -> OutputError:
    place = folder.rpartition("/")[0]
    ago = max(0, round(time.time() - owner.last))
    who = f"process {owner.pid} of {owner.host}"
    return OutputError(
        f"{place}: another run, {who}, is writing here; it was alive {ago} s ago",
        f"wait for it; if it died, wait {SILENT // 60} minutes from then or remove {url}",
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _defunct(pid)


def _defunct(pid: int) -> bool:
    """Whether it has died, and its parent has not looked yet; Linux alone tells."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    return False
