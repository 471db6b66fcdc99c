"""The journal of runs other than `images`: one JSON line for each latent, clip or picture done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_args

from dseinvert.errors import OutputError
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.names import file_name, json_value, open_regular, table, text
from dseinvert.run.images.journal import journals
from dseinvert.run.inputs import Status
from dseinvert.run.spread.shelf import lines as of_store

_FORMAT = "dseinvert-item-1"
_MARK = _FORMAT.encode()


@dataclass(frozen=True)
class Line:
    """What became of one item."""

    name: str
    shown: str
    """The path of its source, as the user wrote it."""
    key: str
    """Of source, settings and model together; "" = it could not be made."""
    status: Status
    reason: str = ""
    """Why it is not done."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of what was written, by name."""


def dumps(line: Line) -> bytes:
    """One line, ASCII whatever the file names are."""
    return json.dumps({"format": _FORMAT, **asdict(line)}, separators=(",", ":")).encode() + b"\n"


def read_ledgers(folder: Path) -> dict[str, Line]:
    """The last line of each name, of all processes; what is done stays done for its key."""
    known: dict[str, Line] = {}
    for data in of_store(folder) if far(folder) else _of_disk(folder):
        line = _parse(data) if _MARK in data else None
        before = None if line is None else known.get(line.name)
        if line and not (before and before.key == line.key and before.status == "done"):
            known[line.name] = line
    return known


def _of_disk(folder: Path) -> Iterator[bytes]:
    for path in journals(folder):
        try:
            with open_regular(path) as file:
                yield from file
        except OSError as error:
            raise OutputError(f"{shown(path)}: cannot read: {error.strerror}") from error


def _parse(data: bytes) -> Line | None:
    try:
        fields = json_value(data)
        if fields.pop("format") != _FORMAT or fields["status"] not in get_args(Status):
            return None
        line = Line(**fields)
        file_name(line.name)
        for plain in (line.shown, line.key, line.reason):
            text(plain)
        table(line.files, file_name, text)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return line
