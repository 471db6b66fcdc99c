"""How long each stage of a run took, and on what it ran: what `--verbose` tells."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from dseinvert.progress import Count, Watcher
from dseinvert.version import __version__

_PACKAGES = {"torch": "torch", "cv2": "opencv-python", "av": "av"}
"""What decides about results, by the name that is imported."""


@dataclass
class Staged:
    """A `Watcher` that notes when each count begins, and tells another."""

    inner: Watcher
    began: list[tuple[str, float]] = field(default_factory=lambda: [("loading", time.monotonic())])
    """Stages and their moments."""

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""
        self.began.append((what, time.monotonic()))
        self.inner.begin(what, total)

    def advance(self) -> None:
        """See `Watcher`."""
        self.inner.advance()

    def within(self, what: str, total: int | None) -> AbstractContextManager[Count]:
        """See `Watcher`."""
        return self.inner.within(what, total)

    def problem(self, line: str) -> None:
        """See `Watcher`."""
        self.inner.problem(line)

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self.inner.note(line)

    def seconds(self) -> dict[str, float]:
        """How long each stage took, up to now."""
        ends = [at for _, at in self.began[1:]] + [time.monotonic()]
        took: dict[str, float] = {}
        for (what, at), end in zip(self.began, ends, strict=True):
            took[what] = took.get(what, 0.0) + end - at
        return took


@contextmanager
def staged(watcher: Watcher, wanted: bool) -> Iterator[Watcher]:
    """The watcher; if wanted, what runs is told first, and the seconds of each stage at the end."""
    if not wanted:
        yield watcher
        return
    watcher.note(versions())
    stages = Staged(watcher)
    try:
        yield stages
    finally:
        took = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in stages.seconds().items())
        watcher.note(f"{took}; {_threads()}")


def versions() -> str:
    """This program and what it stands on, in one line."""
    found = [f"{name} {_version(package)}" for name, package in _PACKAGES.items()]
    return ", ".join([f"dseinvert {__version__}", f"python {platform.python_version()}", *found])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _threads() -> str:
    torch = sys.modules.get("torch")
    used = torch.get_num_threads() if torch is not None else 0
    return f"{used} threads of torch on {os.cpu_count()} cores"
