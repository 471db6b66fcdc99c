"""The journal and notes of a process that does a share of an `edit` or `video` run."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dseinvert.media.address import far
from dseinvert.media.atomic import make_folder
from dseinvert.media.digest import file_sha256
from dseinvert.run.images.journal import Journal, open_journal
from dseinvert.run.inputs import Item
from dseinvert.run.spread.ledger import Line, dumps, read_ledgers
from dseinvert.run.spread.notes import ASIDE, Notes, Order, deaths_in, open_notes, ordered
from dseinvert.run.spread.others import check_others
from dseinvert.run.spread.shard import Part
from dseinvert.run.spread.shelf import Shelf, open_shelf


@dataclass(frozen=True)
class Books:
    """What is open while a share is done."""

    folder: Path
    part: Part
    journal: Journal | Shelf
    notes: Notes | Shelf
    known: Mapping[str, Line]
    """What all processes wrote so far, by name."""
    mark: str
    """Of temporary files."""

    def order(self, items: Sequence[Item], done: Callable[[Item, Line], bool]) -> Order[Item]:
        """The items of this share that are to be done; `done` says of an earlier one that it is."""
        own = [item for item in items if self.part.shard.has(item.name)]
        if self.part.retry:
            failed = [item for item in own if self._failed(item)]
            return ordered(failed, {}, again=True)
        todo = [item for item in own if not self._settled(item, done)]
        return ordered(todo, deaths_in(self.folder, self.part.shard.journal))

    def about(
        self, verb: str, settings: Mapping[str, Any], items: Sequence[Item], todo: int
    ) -> None:
        """Note what this run is."""
        total = sum(self.part.shard.has(item.name) for item in items)
        earlier = total - todo
        self.notes.about(verb=verb, settings=settings, total=total, earlier=earlier)

    def record(self, line: Line) -> None:
        """What became of an item, now on disk."""
        self.journal.write(dumps(line))
        self.notes.done(line.name, line.status)

    def _failed(self, item: Item) -> bool:
        line = self.known.get(item.name)
        return line is not None and line.status in ("failed", "refused")

    def _settled(self, item: Item, done: Callable[[Item, Line], bool]) -> bool:
        line = self.known.get(item.name)
        if line is None:
            return False
        return line.reason.startswith(ASIDE) or (line.status == "done" and done(item, line))


@contextmanager
def opened_books(
    folder: Path, part: Part, settings: Mapping[str, Any], *, anew: bool | None = None
) -> Iterator[Books | None]:
    """The books of a process, locked; None = it does all of a run on a disk, and keeps none.

    anew: as in `check_others`.

    Raises:
        OutputError: another process has them, or does something else here.
    """
    shard = part.shard
    if far(folder):
        with open_shelf(folder, shard) as shelf:
            check_others(folder, shard, settings, anew=anew)
            yield Books(folder, part, shelf, shelf, read_ledgers(folder), shard.mark)
        return
    if shard.whole and not part.retry:
        yield None
        return
    make_folder(folder)
    with (
        open_journal(folder, shard.journal) as journal,
        open_notes(journal.path, keep=not shard.whole) as notes,
    ):
        check_others(folder, shard, settings, anew=anew)
        yield Books(folder, part, journal, notes, read_ledgers(folder), shard.mark)


def intact(folder: Path, line: Line, there: Container[str] | None = None) -> bool:
    """Whether all files of a line are there as they were written.

    `there`: the names of what lies in a store, whose objects are whole. None = a folder.
    """
    if there is not None:
        return all(name in there for name in line.files)
    return all(
        (folder / name).is_file() and file_sha256(folder / name) == sha256
        for name, sha256 in line.files.items()
    )
