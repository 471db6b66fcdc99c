"""What `--log FILE` keeps of a run: every message, and a line for each thing done, as they come."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dseinvert.errors import DseInvertError, OutputError, UsageError
from dseinvert.media.atomic import open_in_place, shown
from dseinvert.media.formats import SUFFIXES, VIDEO_SUFFIXES
from dseinvert.names import printable
from dseinvert.progress import Count, Watcher

_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ")
_OTHERS = SUFFIXES | VIDEO_SUFFIXES | {".safetensors", ".html", ".csv", ".json", ".jsonl"}
Write = Callable[[str], None]


@dataclass(frozen=True)
class Logged:
    """A `Watcher` that writes down what it hears, and tells another."""

    inner: Watcher
    write: Write

    def begin(self, what: str, total: int) -> None:
        """See `Watcher`."""
        self.write(f"{what}: {total} to do")
        self.inner.begin(what, total)

    def advance(self) -> None:
        """See `Watcher`; the thing itself is logged by whoever did it."""
        self.inner.advance()

    def within(self, what: str, total: int | None) -> AbstractContextManager[Count]:
        """See `Watcher`."""
        return self.inner.within(what, total)

    def problem(self, line: str) -> None:
        """See `Watcher`."""
        self.write(f"problem: {line}")
        self.inner.problem(line)

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self.write(line)
        self.inner.note(line)


class _Handler(logging.Handler):
    def __init__(self, write: Write) -> None:
        super().__init__(logging.INFO)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage())


@contextmanager
def logged(watcher: Watcher, path: Path | None, command: str) -> Iterator[Watcher]:
    """The watcher, whose news are appended to a file too; None = there is no log.

    Raises:
        UsageError, OutputError: a file that is no log, or cannot be written.
    """
    if path is None:
        yield watcher
        return
    with _opened(path) as write, _records(write):
        write(f"begin: {command}")
        try:
            yield Logged(watcher, write)
        except DseInvertError as error:
            write(f"error: {error}")
            raise
        except KeyboardInterrupt:
            write("error: stopped")
            raise
        finally:
            write("end")


@contextmanager
def _opened(path: Path) -> Iterator[Write]:
    """What appends a line with the time; each is on its way to the disk when it returns."""
    if path.suffix.lower() in _OTHERS or path.is_dir():
        raise UsageError(f"--log {shown(path)}: not the name of a log", "such as run.log")
    try:
        descriptor = open_in_place(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"--log {shown(path)}: cannot write: {why}", "choose another") from error
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        head = os.read(descriptor, 20)
        if head and not _LINE.match(head):
            raise UsageError(f"--log {shown(path)}: holds something else", "name a new file")
        yield lambda line: _append(descriptor, line)
    finally:
        os.close(descriptor)


def _append(descriptor: int, line: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    os.write(descriptor, f"{now} {printable(line)}\n".encode(errors="backslashreplace"))


@contextmanager
def _records(write: Write) -> Iterator[None]:
    """What the program's own loggers say is written too."""
    logger, handler = logging.getLogger("dseinvert"), _Handler(write)
    before = logger.level
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
