"""The journal of an output folder: one JSON line per input, appended when all of it is on disk."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from dseinvert.errors import OutputError
from dseinvert.media.address import far
from dseinvert.media.atomic import is_inside, open_in_place, shown
from dseinvert.media.form import FORMATS
from dseinvert.media.lock import lock
from dseinvert.names import each, file_name, json_value, number, open_regular, table, text, word
from dseinvert.run.inputs import Status
from dseinvert.run.spread.shelf import lines

NAME = "journal.jsonl"
FORMAT = "dseinvert-journal-1"
_MARK = FORMAT.encode()
_CALLED = re.compile(rb'"name":("(?:[^"\\]|\\.)*")')
"""The first such in a line is the name of its entry."""
_TRIES, _PAUSE = 10, 0.1  # another process may hold the lock while it looks whether it is held


@dataclass(frozen=True)
class FaceEntry:
    """One face of a finished input."""

    name: str
    crop: list[float]
    """The affine map [2, 3] from photo to crop pixels, row by row."""
    metrics: dict[str, float]
    """Of the reconstruction against the input crop."""
    pictures: dict[str, str]
    """File names by what they show; see `roles`."""


@dataclass(frozen=True)
class Entry:
    """What became of one input."""

    name: str
    source: str
    """Absolute path."""
    shown: str
    """The path as the user wrote it."""
    sha256: str
    """Of the source's bytes; "" = it could not be read."""
    key: str
    """Of source, settings and model together: an equal key means an equal result."""
    status: Status
    reason: str = ""
    """Why it is not done."""
    warnings: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    faces: list[FaceEntry] = field(default_factory=list)
    photos: dict[str, str] = field(default_factory=dict)
    """File names of whole photos with the edit pasted in, by label."""
    files: dict[str, str] = field(default_factory=dict)
    """The sha256 of every file written."""
    backend: str = ""
    """Who ran the networks, "torch" or "onnx 1.20"; no part of `key`, for their results agree."""
    stamp: str = ""
    """What a store said of the version of the source; "" = it lies in none."""
    pack: str = ""
    """The name of the shard that the files are in; "" = they are files by themselves."""

    @property
    def model(self) -> str:
        """The name of the model; "" = it was not told."""
        return str(self.settings.get("model", ""))


def dumps(entry: Entry) -> bytes:
    """One line, ASCII whatever the file names are."""
    fields = {"format": FORMAT, **asdict(entry)}
    for later in ("stamp", "pack"):  # which other versions of this program do not know
        if not fields[later]:
            del fields[later]
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def read(path: Path) -> dict[str, Entry]:
    """The last entry of each name; lines cut short by a crash, or not ours, are passed over."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{shown(path)}: is not a regular file", "remove it")
    try:
        entries = _entries(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _unreadable(path, error) from error
    return entries


def journals(folder: Path) -> list[Path]:
    """Those of all processes that wrote into a folder, the last written one last."""
    named = (path for path in folder.glob("journal*.jsonl") if path.exists())  # no link to nowhere
    found = [path for path in named if path.is_file() or path.name == NAME]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_all(folder: Path) -> dict[str, Entry]:
    """As `read`, of all processes: what is done is done, by whom it may be."""
    known: dict[str, Entry] = {}
    for found in _of_store(folder) if far(folder) else map(read, journals(folder)):
        for name, entry in found.items():
            if not _is_better(known.get(name), entry):
                known[name] = entry
    return known


def every_entry(folder: Path) -> Iterator[Entry]:
    """All that was ever told, of all processes; what was done again comes more than once."""
    return _sharing(parse(line, folder) for line in _lines_of(folder))


def tells_twice(folder: Path) -> bool:
    """Whether an input is told of more than once; a glance, which makes nothing of its lines."""
    seen: set[bytes] = set()
    for line in _lines_of(folder):
        found = _CALLED.search(line)
        if found is not None:
            if found[1] in seen:
                return True
            seen.add(found[1])
    return False


def _lines_of(folder: Path) -> Iterator[bytes]:
    """Those with entries."""
    if far(folder):
        yield from (line for line in lines(folder) if _MARK in line)
        return
    for path in journals(folder):
        try:
            with open_regular(path) as file:
                yield from (line for line in file if _MARK in line)
        except OSError as error:
            raise _unreadable(path, error) from error


def _of_store(folder: Path) -> Iterator[dict[str, Entry]]:
    for entry in _sharing(parse(line, folder) for line in lines(folder) if _MARK in line):
        yield {entry.name: entry}


def _is_better(one: Entry | None, later: Entry) -> bool:
    """Whether an entry outdoes a later one: it tells of the same, and that it was done."""
    if one is None or one.sha256 != later.sha256 or one.settings != later.settings:
        return False
    return one.status == "done" != later.status


def _entries(path: Path) -> dict[str, Entry]:
    """By name; lines without our mark are not looked into, there may be millions."""
    with path.open("rb") as file:
        found = (parse(line, path.parent) for line in file if _MARK in line)
        return {entry.name: entry for entry in _sharing(found)}


def _sharing(entries: Iterable[Entry | None]) -> Iterator[Entry]:
    """Those that there are; equal settings are one table, for there may be millions of entries."""
    usual: dict[str, Any] = {}
    for entry in filter(None, entries):
        if entry.settings != usual:
            usual = entry.settings
        yield replace(entry, settings=usual)


def parse(line: bytes, folder: Path) -> Entry | None:
    """The entry in a line of the journal of a folder; None = there is none of ours."""
    try:
        fields = json_value(line)
        if fields.pop("format") != FORMAT or fields["status"] not in get_args(Status):
            return None
        faces = each(fields.pop("faces"), lambda face: FaceEntry(**face))
        return _checked(Entry(**fields, faces=faces), folder)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _checked(entry: Entry, folder: Path) -> Entry:
    """The entry; ValueError where it holds what this program does not write."""
    file_name(entry.name)
    for plain in (entry.source, entry.shown, entry.sha256, entry.key, entry.reason):
        text(plain)
    text(entry.backend), text(entry.stamp), entry.pack and file_name(entry.pack)
    each(entry.warnings, text)
    text(table(entry.settings, text, lambda value: value).get("model", ""))
    table(entry.files, file_name, text)
    for face in entry.faces:
        file_name(face.name)
        each(face.crop, number)
        table(face.metrics, word, number)
    for pictures in (entry.photos, *(face.pictures for face in entry.faces)):
        table(pictures, word, lambda file: _picture(folder, file))
    return entry


def _picture(folder: Path, file: Any) -> str:
    """The name of a picture of that folder; ValueError where it is none."""
    path = folder / file_name(file)
    if path.suffix[1:] not in FORMATS or (path.is_symlink() and not is_inside(folder, path)):
        raise ValueError(f"not a picture of {folder}: {file}")
    return path.name


class Journal:
    """An open journal; `append` returns when the line is on disk."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def append(self, entry: Entry) -> Entry:
        """The entry, now on disk; raises as `write`."""
        self.write(dumps(entry))
        return entry

    def write(self, data: bytes) -> None:
        """A line, which is then on disk; OutputError when that is full and the file as it was."""
        length = os.fstat(self._descriptor).st_size
        line = memoryview(data)
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, length)
            raise _unwritable(self.path, error) from error


@contextmanager
def open_journal(folder: Path, name: str = NAME) -> Iterator[Journal]:
    """A journal of `folder`, locked against a second run at the same time."""
    path = folder / name
    try:
        descriptor = open_in_place(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        if not _locked(descriptor):
            what = "another run" if name == NAME else f"another run, of {path.stem[8:]},"
            raise OutputError(f"{path.parent}: {what} is writing here", "wait for it")
        _end_torn_line(descriptor, path)
        yield Journal(path, descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock was had; those who only look give it back at once."""
    for _ in range(_TRIES):
        if lock(descriptor):
            return True
        time.sleep(_PAUSE)
    return False


def _end_torn_line(descriptor: int, path: Path) -> None:
    """Give a line that a crash cut short its newline, so that the next one stands alone."""
    length = os.fstat(descriptor).st_size
    try:
        os.lseek(descriptor, max(0, length - 1), os.SEEK_SET)
        if length and os.read(descriptor, 1) != b"\n":
            os.write(descriptor, b"\n")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unreadable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{shown(path)}: cannot read the journal: {error.strerror}")


def _unwritable(path: Path, error: OSError) -> OutputError:
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return OutputError(f"{path}: cannot write: {why}", "free some space or choose another --out")
