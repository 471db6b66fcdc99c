"""The table of a clip's outputs, which is also how a later run knows what is done."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dseinvert.media.atomic import is_inside, write_bytes
from dseinvert.media.tables import Cell, plain, table_bytes
from dseinvert.names import count, file_name, open_regular, text, word
from dseinvert.run.video.measure import NAMES
from dseinvert.run.video.plan import Output, Task
from dseinvert.run.video.unfinished import identity, intended

METRICS = ("psnr", "ssim", *NAMES)
TABLE = ".metrics.csv"
"""The end of the name of a table."""
_MOST_COLUMNS = 1000


@dataclass(frozen=True)
class Record:
    """A finished output."""

    video: str
    """Its name in the folder."""
    edit: str
    key: str
    source: str
    """sha256 of the source."""
    clip: str
    """Tells apart the parts of a source that were cut out."""
    sha256: str
    frames: int
    without_face: int
    faces: int
    """Tracks that were edited."""
    lost: int
    look: str = ""
    """Tells apart pictures, however they are encoded; "" = of an earlier version."""
    settings: str = ""
    """All that decided about it besides the source, as JSON; "" = of an earlier version."""
    metrics: dict[str, float] = field(default_factory=dict)


_PLAIN: dict[str, Callable[[str], Any]] = {
    "video": file_name,
    "edit": word,
    **dict.fromkeys(("key", "source", "clip", "sha256"), text),
    **dict.fromkeys(("frames", "without_face", "faces", "lost"), lambda cell: count(int(cell))),
}
"""What each column of a record may hold."""
_LATER = ("look", "settings")
"""Columns that tables of earlier versions lack."""


@dataclass
class Books:
    """The outputs of a clip, and the records of those that are done."""

    task: Task
    records: dict[str, Record]
    """By file name; also of outputs of other runs on this clip."""
    earlier: tuple[Output, ...]
    """What was done before this run."""

    @property
    def todo(self) -> list[Output]:
        """What this run writes."""
        return [output for output in self.task.outputs if output not in self.earlier]

    @property
    def moved_now(self) -> list[Output]:
        """What this run makes again, since a run before it only added what an edit changed."""
        found = ((output, self.records.get(output.path.name)) for output in self.todo)
        return [o for o, had in found if had is not None and had.key == o.added != o.key]

    @property
    def unmeasured(self) -> list[Output]:
        """What was written by this run, or by one that was killed before it could measure it."""
        todo = self.todo
        return [o for o in self.task.outputs if o in todo or not self.of(o).frames]

    def of(self, output: Output) -> Record:
        """The record of an output that is done."""
        return self.records[output.path.name]

    def enter(self, record: Record) -> None:
        """Keep a record, in place of an older one."""
        self.records[record.video] = record

    def in_order(self) -> list[Record]:
        """Those of other runs, then this one's, in whatever order they were made before a kill."""
        names = [output.path.name for output in self.task.outputs]
        others = [record for name, record in self.records.items() if name not in names]
        return [*others, *(self.records[name] for name in names)]


def open_books(task: Task, *, anew: bool) -> Books:
    """What is done of a clip. anew: do all of it again."""
    records = read_records(task)
    _adopt(task, records)
    earlier = [output for output in task.outputs if not anew and is_done(output, records)]
    return Books(task, records, tuple(earlier))


def table_path(task: Task) -> Path:
    """Where the records of a clip are."""
    return task.folder / f"{task.name}{TABLE}"


def read_records(task: Task) -> dict[str, Record]:
    """The records of a clip by video; rows that are not ours are passed over."""
    try:
        held = open_regular(table_path(task))
        with io.TextIOWrapper(held, "utf-8", errors="backslashreplace", newline="\n") as file:
            lines = (line.rstrip("\n") for line in file)
            rows = csv.DictReader(line for line in lines if not line.startswith("#"))
            if len(rows.fieldnames or ()) > _MOST_COLUMNS:
                return {}
            records = (_record(row, task.folder) for row in rows)
            return {record.video: record for record in records if record is not None}
    except (OSError, csv.Error):
        return {}


def output_sha256(path: Path) -> str:
    """Of a video's bytes, or of the names and bytes of a folder of frames."""
    digest = hashlib.sha256()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.name.encode(errors="surrogateescape") if path.is_dir() else b"")
        with open_regular(file) as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def is_done(output: Output, records: Mapping[str, Record]) -> bool:
    """Whether an output is there, made from the same source in the same way, and intact."""
    record = records.get(output.path.name)
    if record is None or record.key != output.key or not output.path.exists():
        return False
    try:
        return output_sha256(output.path) == record.sha256
    except OSError:
        return False


def write_table(task: Task, records: Iterable[Record], facts: Mapping[str, str]) -> None:
    """All records, below `#` lines that say how the numbers were made."""
    names = [f.name for f in fields(Record) if f.name != "metrics"]
    rows: list[list[Cell]] = [[*names, *METRICS]]
    for record in records:
        values = [float(record.metrics[n]) if n in record.metrics else "" for n in METRICS]
        rows.append([*(asdict(record)[name] for name in names), *values])
    write_bytes(table_path(task), table_bytes(rows, facts))


def _adopt(task: Task, records: dict[str, Record]) -> None:
    """Record what a run finished that was killed before it could."""
    for output in task.outputs:
        note, now = intended(task).get(output.path.name, {}), identity(output.path)
        if note.get("key") == output.key and now not in (None, note.get("before")):
            sha256 = output_sha256(output.path)
            records[output.path.name] = Record(
                *(output.path.name, output.label, output.key, task.sha256, "", sha256),
                *(0, 0, 0, 0, output.look, output.settings),
            )


def _record(row: Mapping[str, str], folder: Path) -> Record | None:
    """None = no record of an output in that folder."""
    try:
        told: dict[str, Any] = {name: check(plain(row[name])) for name, check in _PLAIN.items()}
        told |= {name: text(plain(row.get(name) or "")) for name in _LATER}
        metrics = {name: float(row[name]) for name in METRICS if row.get(name)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not is_inside(folder, folder / told["video"]):
        return None
    return Record(**told, metrics={n: v for n, v in metrics.items() if math.isfinite(v)})
