"""What a run of several processes takes: seconds of CPU and memory of each, read from /proc."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dseinvert.media.atomic import write_bytes

_TICKS = os.sysconf("SC_CLK_TCK")
ALL = "journal.jsonl"
"""Of who does a run by itself, or hands it out."""


@dataclass
class Seen:
    """What one process took."""

    name: str
    journal: str = ""
    """That it has open; "" = it does no photos."""
    before: int = 0
    """Lines that were in there already."""
    photos: int = 0
    """That it did, or handed out."""
    cpu: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    """MiB at most until so many photos were done."""
    peak: float = 0.0
    """MiB at most."""

    def count(self, counts: Mapping[str, int]) -> None:
        """Photos by the lines of each journal."""
        done = sum(counts.values()) if self.journal == ALL else counts.get(self.journal, 0)
        self.photos = max(self.photos, done - (0 if self.journal == ALL else self.before))


@dataclass
class Taken:
    """What a run took, over all the commands that it took to the end."""

    wall: float = 0.0
    killed: int = 0
    resumed: int = 0
    load: float = 0.0
    """Of the machine, before."""
    processes: dict[str, Seen] = field(default_factory=dict)
    """By their numbers, and how often the run had been gone on with."""

    @property
    def cpu(self) -> float:
        """Seconds of all processes."""
        return sum(one.cpu for one in self.processes.values())

    def workers(self) -> Iterator[Seen]:
        """Those that did photos, or handed them out."""
        return (one for one in self.processes.values() if one.journal and one.photos)

    def look(
        self,
        root: int,
        first: Mapping[str, int],
        counts: Mapping[str, int],
        marks: tuple[int, ...],
    ) -> None:
        """Add what the descendants of a process have taken up to now.

        Args:
            root: its number.
            first: lines of each journal before the first of them began.
            counts: lines of each journal.
            marks: photos of a process at which its memory is kept.
        """
        for pid, name, ticks in below(root):
            key = f"{self.resumed}:{pid}"
            seen = self.processes.setdefault(key, Seen(name))
            seen.name, seen.cpu = name, ticks / _TICKS
            if not seen.journal and (journal := _journal(pid)):
                held = any(one.journal == journal for one in self.processes.values())
                seen.journal, seen.before = journal, (counts if held else first).get(journal, 0)
            seen.peak = max(seen.peak, _peak(pid))
            seen.count(counts)
            for mark in marks:
                if seen.photos <= mark or str(mark) not in seen.peaks:
                    seen.peaks[str(mark)] = seen.peak

    def end(self, counts: Mapping[str, int]) -> None:
        """All have ended: what the last of them did with each journal is there."""
        now = (one for key, one in self.processes.items() if key.startswith(f"{self.resumed}:"))
        for one in {one.journal: one for one in now if one.journal}.values():
            one.count(counts)

    def alive(self, name: str) -> list[int]:
        """The numbers of processes whose names begin so, and which live."""
        now = (key for key in self.processes if key.startswith(f"{self.resumed}:"))
        pids = (int(key.partition(":")[2]) for key in now if self.processes[key].name[:9] == name)
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def save(self, path: Path) -> None:
        """Keep it, all or nothing."""
        write_bytes(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load_from(cls, path: Path) -> Taken:
        """What was kept; nothing, where there is none."""
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        seen = {key: Seen(**one) for key, one in told.pop("processes", {}).items()}
        return cls(**told, processes=seen)


def below(root: int) -> list[tuple[int, str, int]]:
    """The living descendants of a process: number, name, ticks of CPU."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            cells = rest.split()
            ticks = int(cells[11]) + int(cells[12])
            found[int(path.parent.name)] = int(cells[1]), name, ticks
    kept = {root}
    while more := {pid for pid, one in found.items() if one[0] in kept} - kept:
        kept |= more
    return [(pid, *found[pid][1:]) for pid in kept - {root}]


def _journal(pid: int) -> str:
    """The journal that a process has open; "" = none."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                name = link.readlink().name
                if name.startswith("journal") and name.endswith(".jsonl"):
                    return name
    return ""


def _peak(pid: int) -> float:
    """MiB."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
