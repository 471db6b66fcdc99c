"""The `images` run: reading, computing and writing overlap, and the journal grows line by line."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from dseinvert.config import ImagesOptions
from dseinvert.errors import NoInputError, UsageError
from dseinvert.export.backend import backend_of
from dseinvert.inversion.asked import UNLIMITED, Refining
from dseinvert.media.address import far
from dseinvert.media.atomic import make_folder, remove_stale_parts, shown
from dseinvert.media.scan import Scan
from dseinvert.models import open_model, pick_device
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import computing, cores, in_batches, torch_threads_kept
from dseinvert.run.flow.names import folded
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.flow.template import Claims, Template, check_names, parse_template
from dseinvert.run.images.compute import InvertedFace, Watching, invert_faces
from dseinvert.run.images.job import ImagesJob, open_job
from dseinvert.run.images.journal import Entry, Journal, dumps, journals, open_journal, read_all
from dseinvert.run.images.kept import check_kept
from dseinvert.run.images.outcome import Outcome
from dseinvert.run.images.packed import check_packed, next_number, settle_dead
from dseinvert.run.images.packing import Packer, packing
from dseinvert.run.images.plan import Plan, make_plan
from dseinvert.run.images.report import write_report
from dseinvert.run.images.roles import USUAL
from dseinvert.run.images.write import Target
from dseinvert.run.inputs import Item, Prepared, preparer
from dseinvert.run.sources import gathered
from dseinvert.run.spread.notes import Notes, Order, deaths_in, noted, open_notes, ordered
from dseinvert.run.spread.others import check_others
from dseinvert.run.spread.shard import ALL, Part
from dseinvert.run.spread.shelf import Shelf, check_place, open_shelf
from dseinvert.stop import Stop, stoppable

_log = logging.getLogger(__name__)
_READERS = 4
_NAMED = 5  # outputs that a note lists
_WRITERS = 4  # they mostly wait for the disk
_STALE = 3600  # seconds: no file is written for so long


def run_images(
    patterns: Sequence[str], options: ImagesOptions, watcher: Watcher, part: Part = ALL
) -> Outcome:
    """Invert, edit and render the faces of all images that `patterns` mean.

    Raises:
        DseInvertError: what stops a whole run; what stops one input only is in the outcome.
    """
    with open_run(patterns, options, watcher) as (job, found):
        return run_part(job, found, watcher, part)


@contextmanager
def open_run(
    patterns: Sequence[str], options: ImagesOptions, watcher: Watcher
) -> Iterator[tuple[ImagesJob, Scan]]:
    """The model with all that is asked of it, and the images; nothing is written.

    Raises:
        DseInvertError: as `run_images`.
    """
    device = pick_device(options.device)
    with gathered(patterns, watcher) as found:
        if not found.files:
            raise NoInputError("no images found", "name image files, folders or globs")
        _check_named(found, options)
        if not options.dry_run:
            check_place(options.out)
        opened = open_model(options.model, device)
        yield open_job(options, opened, len(found.files), watcher.note), found


def _check_named(found: Scan, options: ImagesOptions) -> None:
    """UsageError where --name-template gives one name to two images of a folder of outputs."""
    if options.name_template is None:
        return
    template = parse_template(options.name_template)
    for _, files in groupby(found.files, lambda path: options.keep_folders and path.parent):
        check_names(template, files, USUAL)


@dataclass(frozen=True)
class Books:
    """Where a process writes down what it does."""

    part: Part
    journal: Journal | Shelf
    notes: Notes | Shelf
    mark: str
    """Of its temporary files."""
    packer: Packer | None = None
    """None = each input has files of its own."""

    def record(self, entry: Entry) -> Entry:
        """The entry, now on disk; in a store, with the next few. Of a packed one, see `finish`."""
        if self.packer is None:
            self.write([entry])
            return entry
        entry = self.packer.add(entry)
        self.notes.made(entry.name)
        if self.packer.full:
            self.finish()
        return entry

    def finish(self) -> None:
        """What was recorded since a shard was full is now on disk."""
        if self.packer is not None:
            self.write(self.packer.finish())

    def write(self, entries: Sequence[Entry]) -> None:
        """Entries of what is on the disk, at once."""
        if entries:
            self.journal.write(b"".join(map(dumps, entries)))
        for entry in entries:
            self.notes.done(entry.name, entry.status)


def run_part(job: ImagesJob, found: Scan, watcher: Watcher, part: Part = ALL) -> Outcome:
    """Do these images, into the folder that the job names.

    Raises:
        DseInvertError: as `run_images`.
    """
    options = job.options
    if options.dry_run:
        plan = plan_of(job, found, read_all(options.out), part)
        return Outcome(options.out, plan, plan.settled, dry=True)
    make_folder(options.out)
    with (
        torch_threads_kept(),
        opened_books(options.out, part, options.pack) as books,
        stoppable(watcher.problem) as stop,
    ):
        check_others(options.out, part.shard, job.settings, anew=options.overwrite)
        known = settled(options, part, books, read_all(options.out))
        plan = plan_of(job, found, known, part)
        _tell_of_others(job, plan, watcher)
        _tell_of_left(plan, watcher)
        _tell_of_broken(plan, watcher)
        _tell_of_refused(plan, watcher)
        deaths = {} if options.overwrite else deaths_in(options.out, part.shard.journal)
        order = ordered(plan.todo, deaths, again=part.retry)
        books.notes.about(
            verb="images",
            settings=job.settings,
            total=len(plan.todo) + len(plan.settled),
            earlier=len(plan.settled),
        )
        fresh = _run(job, plan, order, books, watcher, stop)
        outcome = Outcome(options.out, plan, (*plan.settled, *fresh), stop.code)
        known |= {entry.name: entry for entry in fresh}
        if part.shard.whole:
            write_report(options.out, known.values(), outcome.undone, job.settings)
    return outcome


def settled(
    options: ImagesOptions, part: Part, books: Books, known: dict[str, Entry]
) -> dict[str, Entry]:
    """What is known, with what killed processes had in whole shards and not yet in a journal."""
    if options.pack is None:
        return known
    check_packed(options.out, known, options.pack)
    adopted = settle_dead(options.out, part.shard, known)
    books.write(adopted)
    return known | {entry.name: entry for entry in adopted}


@contextmanager
def opened_books(out: Path, part: Part, pack: int | None = None) -> Iterator[Books]:
    """The journal and notes of a process, locked; what killed ones left half-written is gone.

    pack: inputs of a shard. None = each has files of its own.
    """
    shard = part.shard
    begin = partial(next_number, out, shard)
    with (
        _opened_books(out, part) as books,
        packing(out, pack, shard.prefix, begin, books.mark) as packer,
    ):
        yield replace(books, packer=packer)


@contextmanager
def _opened_books(out: Path, part: Part) -> Iterator[Books]:
    shard = part.shard
    if far(out):
        with open_shelf(out, shard) as shelf:
            yield Books(part, shelf, shelf, shard.mark)
        return
    with (
        open_journal(out, shard.journal) as journal,
        open_notes(journal.path, keep=not shard.whole, faults=shard.hand is not None) as notes,
    ):
        others = [path for path in journals(out) if path.name != shard.journal]
        remove_stale_parts(out, _STALE if others or not shard.whole else 0)
        yield Books(part, journal, notes, shard.mark)


def plan_of(job: ImagesJob, found: Scan, known: dict[str, Entry], part: Part) -> Plan:
    """What of a part is to be done.

    Raises:
        NoInputError: all that was found is of this program.
        OutputError: results of other options would be replaced, and nobody said --overwrite.
    """
    plan = make_plan(found, job.options.out, known, job.settings, job.options.overwrite, part)
    if not plan.taken:
        raise NoInputError("all images found are outputs of this program", "name other inputs")
    if not job.options.overwrite:
        check_kept(job.options.out, plan.todo, known, job.settings)
    if job.template is not None:
        _check_template(job, job.template, plan)
    return plan


def _check_template(job: ImagesJob, template: Template, plan: Plan) -> None:
    """UsageError where names collide, or a later run could not tell pictures from photos."""
    if plan.protected:
        what = f"--name-template: there are inputs in {shown(job.options.out)}"
        raise UsageError(what, "choose another --out, or leave --name-template out")
    sources = [item.source for item in plan.todo] + [Path(e.source) for e in plan.settled]
    check_names(template, sources, [*USUAL, *job.edits])


def _run(
    job: ImagesJob,
    plan: Plan,
    order: Order[Item],
    books: Books,
    watcher: Watcher,
    stop: Stop,
) -> list[Entry]:
    """Do what is to be done; every entry returned is in the journal, packed or not."""
    watcher.begin("inverting", len(plan.todo))
    entries = []
    with ThreadPoolExecutor(1) as recording:  # waits for the disk while this thread computes
        entries_made = _entries(job, plan, order, books, stop, watcher)
        for entry in ahead(recording, books.record, entries_made, 2 * _WRITERS):
            entries.append(entry)
            _tell(watcher, entry)
    books.finish()
    return entries


def _entries(
    job: ImagesJob,
    plan: Plan,
    order: Order[Item],
    books: Books,
    stop: Stop,
    watcher: Watcher,
) -> Iterator[Entry]:
    """What may have killed a process comes last, item by item; `record` ends each."""
    target = target_of(job, plan, books.mark, books.packer)
    for item, reason in order.aside:
        yield target.write((Prepared(item, status="failed", reason=reason), []))
    yield from made(job, target, noted(order.together, books.notes), stop, watcher)
    for item in stop.until(order.alone):
        yield from made(job, target, noted([item], books.notes, alone=True), stop, watcher)


def target_of(job: ImagesJob, plan: Plan, mark: str, packer: Packer | None = None) -> Target:
    """Where the files go. mark: of temporary ones; packer: see `Target`."""
    return Target(
        job.options.out,
        plan,
        job.settings,
        job.options.paste,
        backend_of(job.model),
        job.mask,
        job.form,
        job.options.keep_gps,
        job.options.max_pixels,
        job.template,
        Claims({folded(file): e.name for e in plan.settled for file in e.files}),
        mark,
        packer,
        blend=job.options.blend,
    )


def made(
    job: ImagesJob, target: Target, items: Iterable[Item], stop: Stop, watcher: Watcher
) -> Iterator[Entry]:
    """items -> [readers] -> crops -> [workers] -> faces -> [writers] -> entries, in order."""
    readers = min(_READERS, cores())
    asked = job.wanted, job.options.max_pixels, job.options.paste
    prepare = preparer(job.model.generator.resolution, job.detector, *asked)
    invert = partial(
        invert_faces,
        job.inverter,
        job.model.sha256,
        job.edits,
        refining=_shown(job.refining, watcher),
        exact=job.options.paste,
    )
    generator = job.model.generator
    with (
        threads(readers) as reading,
        computing(generator.resolution, generator.device) as workers,
        threads(_WRITERS) as writing,
    ):
        window = 2 * (job.batch.size * workers.count + readers)
        prepared = ahead(reading, prepare, items, window)
        computed: Iterator[tuple[Prepared, list[InvertedFace]]] = regroup(
            stop.until(prepared),
            parts=lambda one: one.crops,
            work=lambda crops: in_batches(invert, crops, job.batch),
            size=lambda: job.batch.size,
            workers=workers,
        )
        yield from ahead(writing, target.write, stop.until(computed), 2 * _WRITERS)


def _shown(asked: Refining, watcher: Watcher) -> Watching | None:
    """None = nothing is refined."""
    if not asked.stages:
        return None
    total = None if asked.steps >= UNLIMITED else asked.steps
    return Watching(asked.text, partial(watcher.within, "refining", total))


def _tell_of_others(job: ImagesJob, plan: Plan, watcher: Watcher) -> None:
    """Pictures that another backend made count as done, but not without a word."""
    others = {entry.backend for entry in plan.settled} - {"", backend_of(job.model)}
    if plan.todo and others:
        names = ", ".join(sorted(others))
        watcher.note(f"earlier ones are by {names}, within 1 of 255; --overwrite makes them anew")


def _tell_of_refused(plan: Plan, watcher: Watcher) -> None:
    """Of the files that an earlier run refused; nobody opens them again."""
    for entry in plan.settled:
        if entry.status == "refused":
            watcher.problem(f"{entry.shown}: {entry.reason}")


def _tell_of_left(plan: Plan, watcher: Watcher) -> None:
    if plan.left:
        more = f" and {len(plan.left) - _NAMED} more" if len(plan.left) > _NAMED else ""
        names = ", ".join(plan.left[:_NAMED]) + more
        watcher.note(f"inputs are gone whose outputs stay, {len(plan.left)} in all: {names}")


def _tell_of_broken(plan: Plan, watcher: Watcher) -> None:
    if plan.broken:
        names = ", ".join(plan.broken[:_NAMED]) + ", ..." * (len(plan.broken) > _NAMED)
        watcher.note(f"done again, for shards are not whole: {names}; remove what is left of them")


def _tell(watcher: Watcher, entry: Entry) -> None:
    watcher.advance()
    _log.info("%s: %s, %s", entry.shown, entry.status, counted(len(entry.faces), "face"))
    for warning in entry.warnings:
        watcher.note(f"{entry.shown}: {warning}")
    if entry.status != "done":
        watcher.problem(f"{entry.shown}: {entry.reason}")
