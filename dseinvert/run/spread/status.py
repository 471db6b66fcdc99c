"""`dseinvert status OUT`: how far the processes of a run are, from what they write down."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dseinvert.errors import NoInputError, OutputError
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.names import number, open_regular
from dseinvert.run.spread.claim import SILENT
from dseinvert.run.spread.notes import Run, at_work, notes_path, read_notes
from dseinvert.run.spread.shelf import Told, runs

State = Literal["at work", "ended", "stopped", "died"]
_DONE = (b'"status":"done"', b'"status":"skipped"')
_NAME = re.compile(rb'{"format":"dseinvert-journal-1","name":("(?:[^"\\]|\\.)*")')
_MARKS = (b'"dseinvert-journal-1"', b'"dseinvert-item-1"')


@dataclass(frozen=True)
class Row:
    """One process's share."""

    name: str
    """`2-of-8`, `worker-3`, or `all` of a run by itself."""
    state: State
    done: int
    """Also of earlier runs of the same share."""
    failed: int
    left: int | None
    """None = its journal does not tell."""
    rate: float
    """Items a second of this run; 0 = none is done yet."""
    at: float
    """When it began, in seconds of the clock; 0 = unknown."""

    @property
    def seconds(self) -> float | None:
        """Until it is done; None = unknown."""
        if self.state != "at work" or not self.left or not self.rate:
            return 0.0 if self.left == 0 else None
        return self.left / self.rate


@dataclass(frozen=True)
class Progress:
    """All shares of a folder."""

    out: Path
    rows: tuple[Row, ...]

    @property
    def left(self) -> int:
        """Items, as far as the journals tell."""
        total = sum(row.left or 0 for row in self.rows if not row.name.startswith("worker-"))
        handed = sum(row.done + row.failed for row in self.rows if row.name.startswith("worker-"))
        return max(0, total - handed)

    @property
    def rate(self) -> float:
        """Items a second of all that are at work."""
        return sum(row.rate for row in self.rows if row.state == "at work")

    @property
    def seconds(self) -> float | None:
        """Until the last of them is done; None = unknown."""
        times = [row.seconds for row in self.rows if row.state == "at work" and row.left]
        known = [one for one in times if one is not None]
        if len(known) == len(times) and known:
            return max(known)
        return self.left / self.rate if self.left and self.rate else None

    def lines(self) -> list[str]:
        """A table for people, and a line of all."""
        head = f"{'shard':<14} {'state':<8} {'done':>8} {'failed':>7} {'left':>8} {'a minute':>9}"
        return [f"{head}  time left", *map(_line, self.rows), self.summary()]

    def summary(self) -> str:
        """One line for people."""
        done, failed = (sum(getattr(r, name) for r in self.rows) for name in ("done", "failed"))
        rate = f", {60 * self.rate:.3g} a minute" if self.rate else ""
        time = f", about {spoken(self.seconds)} left" if self.seconds else ""
        return f"{shown(self.out)}: {done} done, {failed} failed, {self.left} left{rate}{time}"

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "out": far(self.out) or str(self.out),
            "shards": [{**asdict(row), "seconds_left": row.seconds} for row in self.rows],
            "left": self.left,
            "rate": self.rate,
            "seconds_left": self.seconds,
        }


def status(out: Path) -> list[Progress]:
    """Of a folder, and of those below it that hold journals.

    Raises:
        NoInputError: there is no journal. OutputError: one cannot be read.
    """
    folders = [out] if far(out) else sorted({p.parent for p in out.rglob("journal*.jsonl")})
    found = [Progress(folder, rows) for folder in folders if (rows := _rows(folder))]
    if not found:
        raise NoInputError(f"{shown(out)}: no run has written here yet", "name the --out of a run")
    return found


def _rows(folder: Path) -> tuple[Row, ...]:
    """Those of the last run; of earlier ones with another number of shards, what is at work."""
    if far(folder):
        rows = [_of_store(one) for one in runs(folder)]
    else:
        rows = [_row(path) for path in sorted(folder.glob("journal*.jsonl"), key=_number)]
    newest = max(rows, key=lambda row: row.at, default=None)
    if newest is None:
        return ()
    kind = _kind(newest.name)
    return tuple(row for row in rows if _kind(row.name) == kind or row.state == "at work")


def _kind(name: str) -> str:
    """What shares of one run have in common: their count; workers go with who hands them items."""
    return re.sub(r"^\d+-of-|^worker-\d+$", "", name) or "all"


def _number(path: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", path.stem)))


def _row(journal: Path) -> Row:
    name = journal.stem.partition("-")[2] or "all"
    active = at_work(journal)
    runs = read_notes(notes_path(journal))
    if not runs:
        done, failed = _counted(journal)
        return Row(name, "at work" if active else "ended", done, failed, None, 0.0, 0.0)
    return _of(name, runs[-1], active=active)


def _of_store(one: Told) -> Row:
    """No lock tells that a process is at work: what it said last does."""
    run = Run(one.facts, counts=Counter(one.counts), ended=one.ended, last=one.last)
    active = not one.ended and time.time() - one.last < SILENT
    return _of(one.name.partition("-")[2] or "all", run, active=active)


def _of(name: str, run: Run, *, active: bool) -> Row:
    done = run.counts["done"] + run.counts["skipped"]
    count = sum(run.counts.values())
    left = max(0, run.number("total") - run.number("earlier") - count)
    began = _moment(run.about.get("at"))
    took = max(run.last - began, 1e-3)
    over: State = "died" if not run.ended else "stopped" if left else "ended"
    return Row(
        name,
        "at work" if active else over,
        done + run.number("earlier"),
        count - done,
        left,
        count / took if began else 0.0,
        began,
    )


def _moment(value: Any) -> float:
    try:
        return float(number(value))
    except ValueError:
        return 0.0


def _counted(journal: Path) -> tuple[int, int]:
    """What is done, and what is not, by the last line of each image."""
    last: dict[bytes | int, bool] = {}
    try:
        with open_regular(journal) as file:
            for line in filter(_ours, file):
                name = _NAME.match(line)
                last[name[1] if name else len(last)] = any(mark in line for mark in _DONE)
    except OSError as error:
        raise OutputError(f"{shown(journal)}: cannot read: {error.strerror}") from error
    done = sum(last.values())
    return done, len(last) - done


def _ours(line: bytes) -> bool:
    return any(mark in line for mark in _MARKS)


def _line(row: Row) -> str:
    left = "?" if row.left is None else str(row.left)
    rate = f"{60 * row.rate:.3g}" if row.rate else ""
    time = spoken(row.seconds) if row.seconds else ""
    return (
        f"{row.name:<14} {row.state:<8} {row.done:>8} {row.failed:>7} {left:>8} {rate:>9}  {time}"
    ).rstrip()


def spoken(seconds: float | None) -> str:
    """`40 s`, `12 min`, `3 h 20 min`."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
