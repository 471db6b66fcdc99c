"""`dseinvert report OUT`: page, tables and what failed, from all journals of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dseinvert.errors import ExitCode, NoInputError
from dseinvert.evaluation.portion import join
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import remove_stale_parts, shown, write_bytes
from dseinvert.media.scan import natural
from dseinvert.media.tables import Cell, table_bytes
from dseinvert.names import counted
from dseinvert.run.images.journal import Entry, journals, read_all
from dseinvert.run.images.page import NAME as PAGE
from dseinvert.run.images.report import write_report
from dseinvert.run.spread.ledger import Line, read_ledgers
from dseinvert.run.spread.measured import PATTERN, shares
from dseinvert.run.spread.notes import at_work

FAILED = "failed.csv"
_FACTS = ("crop", "model", "resolution", "generator", "encoder", "edits")
"""Settings of which the page speaks."""


@dataclass(frozen=True)
class Report:
    """What the journals of a folder tell."""

    out: Path
    done: int
    """Inputs."""
    faces: int
    failed: tuple[tuple[str, str], ...]
    """Files and reasons."""
    bare: int
    """Inputs without a face."""
    made: tuple[str, ...]
    """Files that were written."""

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        return ExitCode.SOME_FAILED if self.failed or self.bare else ExitCode.OK

    def summary(self) -> str:
        """One line for people."""
        faces = f"{counted(self.faces, 'face')} from " if self.faces else ""
        parts = [f"{faces}{counted(self.done, 'input')}"]
        parts += [f"{self.bare} without a face"] * bool(self.bare)
        parts += [f"{len(self.failed)} failed"] * bool(self.failed)
        where = ", ".join(shown(self.out / name) for name in self.made)
        return ", ".join(parts) + (f"; see {where}" if where else "")

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "out": far(self.out) or str(self.out),
            "exit_code": int(self.exit_code),
            "done": self.done,
            "faces": self.faces,
            "without_face": self.bare,
            "failed": [{"source": file, "reason": reason} for file, reason in self.failed],
            "made": list(self.made),
        }


def report(out: Path) -> list[Report]:
    """Make them of a folder, and of the folders below it that hold journals.

    Raises:
        NoInputError: there is no journal. OutputError: the folder cannot be written to.
    """
    folders = [out] if far(out) else _folders(out, "journal*.jsonl")
    made = [one for folder in folders if (one := report_folder(folder)) is not None]
    made += [] if far(out) else map(_tables, _folders(out, PATTERN))
    if not made:
        raise NoInputError(f"{shown(out)}: no run has written here yet", "name the --out of a run")
    return made


def _folders(out: Path, pattern: str) -> list[Path]:
    return sorted({path.parent for path in out.rglob(pattern)})


def _tables(folder: Path) -> Report:
    """Those of `evaluate`, joined from its shares."""
    from dseinvert.run.evaluate import tabled

    whole = join(shares(folder), folder)
    tabled(whole, folder)
    return Report(folder, whole.faces.total, len(whole.faces.names), (), 0, ("report.md",))


def report_folder(folder: Path) -> Report | None:
    """The report of one folder; None = its journals are empty."""
    entries, lines = read_all(folder), read_ledgers(folder)
    if not entries and not lines:
        return None
    if not far(folder) and not any(at_work(path) for path in journals(folder)):
        remove_stale_parts(folder)
    made = _images(folder, list(entries.values())) if entries else []
    everything: list[Entry | Line] = [*entries.values(), *lines.values()]
    undone = _undone(everything)
    made += _failed(folder, undone)
    return Report(
        folder,
        done=sum(one.status == "done" for one in everything),
        faces=sum(len(one.faces) for one in entries.values() if one.status == "done"),
        failed=tuple((one.shown, one.reason) for one in undone if one.status != "skipped"),
        bare=sum(one.status == "skipped" for one in everything),
        made=tuple(made),
    )


def _images(folder: Path, entries: Sequence[Entry]) -> list[str]:
    """Page and table, as one process writes them."""
    undone = [(one.shown, one.reason) for one in _undone(entries)]
    settings = _settings(entries)
    if settings is None:
        return []
    write_report(folder, entries, undone, settings)
    return [PAGE]


def _settings(entries: Sequence[Entry]) -> Mapping[str, Any] | None:
    """Of the last entry that tells all that a page says; None = there is none."""
    told = (one.settings for one in reversed(entries))
    return next((one for one in told if all(name in one for name in _FACTS)), None)


def _undone(entries: Iterable[Entry | Line]) -> list[Any]:
    found = [entry for entry in entries if entry.status != "done"]
    return sorted(found, key=lambda entry: natural(Path(entry.shown)))


def _failed(folder: Path, undone: Sequence[Entry | Line]) -> list[str]:
    """The list of what is not done; where all is, an older list goes."""
    path = folder / FAILED
    if not undone:
        if far(path):
            stores.remove(far(path))
        else:
            path.unlink(missing_ok=True)
        return []
    rows: list[list[Cell]] = [["source", "name", "status", "reason"]]
    rows += [[one.shown, one.name, one.status, one.reason] for one in undone]
    write_bytes(path, table_bytes(rows))
    return [FAILED]
