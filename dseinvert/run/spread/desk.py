"""What is to be handed out to the workers of a cluster, and the books of whoever does so."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dseinvert.config import ImagesOptions, SpreadOptions
from dseinvert.errors import ExitCode, NoInputError, UsageError
from dseinvert.media.atomic import make_folder, shown
from dseinvert.media.scan import Scan
from dseinvert.models import open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.images.job import ImagesJob, open_job
from dseinvert.run.images.journal import read_all
from dseinvert.run.images.packed import settle_dead
from dseinvert.run.images.plan import Plan
from dseinvert.run.images.run import Books, opened_books, plan_of, settled, target_of
from dseinvert.run.inputs import Item, Prepared
from dseinvert.run.sources import gathered
from dseinvert.run.spread.hands import Handed, Made
from dseinvert.run.spread.notes import Deaths, deaths_in
from dseinvert.run.spread.others import check_others
from dseinvert.run.spread.shard import WHOLE, Part, Shard
from dseinvert.run.spread.shelf import check_place
from dseinvert.version import __version__

_AT_ONCE = 2
"""Batches of the model that a worker is handed together."""


@dataclass(frozen=True)
class Desk:
    """The open books of a run whose items others do."""

    folder: Path
    own: str
    """The name of its journal."""
    what: str
    items: tuple[Item, ...]
    """To be done."""
    size: int
    """Of a batch that is handed out."""
    retry: bool
    deaths: Mapping[str, Deaths]
    handed: Handed
    job: ImagesJob
    plan: Plan
    books: Books
    again: frozenset[str] = frozenset()
    """Items that were done before, and are no more."""

    def kept(self, hand: int, items: Sequence[Item]) -> list[Made]:
        """What a worker that is lost had of these in a whole shard, now in a journal."""
        options, names = self.job.options, {item.name for item in items} - self.again
        if options.pack is None:
            return []
        known = read_all(options.out)
        prefix = Shard(hand=hand).prefix
        adopted = settle_dead(options.out, WHOLE, known, [prefix])
        self.books.write(adopted)
        known |= {entry.name: entry for entry in adopted}
        done = (known[name] for name in sorted(names & {*known}))
        return [Made(one.name, one.shown, one.status, one.reason) for one in done]

    def put_aside(self, item: Item, reason: str) -> Made:
        """An item that nobody is to try again, written down as failed."""
        prepared = Prepared(item, status="failed", reason=reason)
        entry = target_of(self.job, self.plan, "").write((prepared, []))
        self.books.record(entry)
        return Made(entry.name, entry.shown, entry.status, entry.reason)

    def exit_code(self, results: Sequence[Made]) -> ExitCode:
        """The code the process should end with."""
        statuses = [one.status for one in results] + [one.status for one in self.plan.settled]
        if {*statuses} <= {"done"} and not self.plan.problems:
            return ExitCode.OK
        usable = any(status != "refused" for status in statuses)
        return ExitCode.SOME_FAILED if usable else ExitCode.NO_INPUT


@contextmanager
def open_desk(
    patterns: Sequence[str], options: ImagesOptions, spread: SpreadOptions, watcher: Watcher
) -> Iterator[Desk]:
    """What of the inputs is still to be done; the output folder is locked.

    Raises:
        DseInvertError: what stops a whole run.
    """
    part = Part(WHOLE, spread.retry_failed)
    with gathered(patterns, watcher) as found, ExitStack() as stack:
        check_place(options.out)
        job, count = _opened(found, options)
        make_folder(options.out)
        books = stack.enter_context(opened_books(options.out, part))
        check_others(options.out, WHOLE, job.settings, anew=options.overwrite)
        known = settled(options, part, books, read_all(options.out))
        plan = plan_of(job, found, known, part)
        names = replace(plan, todo=(), settled=(), problems=(), left=())
        handed = Handed(options, job.settings, __version__, count, names)
        total, earlier = len(plan.todo) + len(plan.settled), len(plan.settled)
        books.notes.about(verb="images", settings=job.settings, total=total, earlier=earlier)
        yield Desk(
            folder=options.out,
            own=WHOLE.journal,
            what="inverting",
            items=plan.todo,
            size=options.pack or _AT_ONCE * job.batch.size,
            retry=spread.retry_failed,
            deaths={} if options.overwrite else deaths_in(options.out, WHOLE.journal),
            handed=handed,
            job=job,
            plan=plan,
            books=books,
            again=frozenset(item.name for item in plan.todo if item.name in known),
        )


def _opened(found: Scan, options: ImagesOptions) -> tuple[ImagesJob, int]:
    """The model's settings, without any of its networks being made fast, and how many images."""
    if not found.files:
        raise NoInputError("no images found", "name image files, folders or globs")
    _check_sent(found)
    model = open_model(options.model, pick_device("cpu"))
    job = open_job(replace(options, dry_run=True), model, len(found.files))
    return job, len(found.files)


def _check_sent(found: Scan) -> None:
    """UsageError for pictures of sets that no other process can be told how to read."""
    for path, content in found.contents.items():
        try:
            pickle.dumps(content)
        except TypeError:
            what = f"--engine ray: {shown(path.parent)}: only plain tars and single files are sent"
            raise UsageError(what, "--shard K/N reads every set") from None
