"""The `images` run: reading, computing and writing overlap, and the journal grows line by line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path

from dseinvert.config import ImagesOptions
from dseinvert.errors import NoInputError, UsageError
from dseinvert.export.backend import backend_of
from dseinvert.inversion.asked import UNLIMITED, Refining
from dseinvert.media.atomic import make_folder, remove_stale_parts, shown
from dseinvert.media.scan import Scan
from dseinvert.models import open_model, pick_device
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import computing, in_batches, torch_threads_kept
from dseinvert.run.flow.names import folded
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.flow.template import Claims, Template, check_names, parse_template
from dseinvert.run.images.compute import InvertedFace, Watching, invert_faces
from dseinvert.run.images.job import ImagesJob, open_job
from dseinvert.run.images.journal import NAME, Entry, Journal, open_journal, read
from dseinvert.run.images.outcome import Outcome
from dseinvert.run.images.plan import Plan, make_plan
from dseinvert.run.images.report import write_report
from dseinvert.run.images.roles import USUAL
from dseinvert.run.images.write import Target
from dseinvert.run.inputs import Prepared, look, preparer
from dseinvert.stop import Stop, stoppable

_log = logging.getLogger(__name__)
_READERS = 4
_NAMED = 5  # outputs that a note lists
_WRITERS = 4  # they mostly wait for the disk


def run_images(patterns: Sequence[str], options: ImagesOptions, watcher: Watcher) -> Outcome:
    """Invert, edit and render the faces of all images that `patterns` mean.

    Raises:
        DseInvertError: what stops a whole run; what stops one input only is in the outcome.
    """
    return run_part(*open_run(patterns, options, watcher), watcher)


def open_run(
    patterns: Sequence[str], options: ImagesOptions, watcher: Watcher
) -> tuple[ImagesJob, Scan]:
    """The model with all that is asked of it, and the images; nothing is written.

    Raises:
        DseInvertError: as `run_images`.
    """
    device = pick_device(options.device)
    found = look(patterns, watcher)
    if not found.files:
        raise NoInputError("no images found", "name image files, folders or globs")
    _check_named(found, options)
    opened = open_model(options.model, device)
    return open_job(options, opened, len(found.files), watcher.note), found


def _check_named(found: Scan, options: ImagesOptions) -> None:
    """UsageError where --name-template gives one name to two images of a folder of outputs."""
    if options.name_template is None:
        return
    template = parse_template(options.name_template)
    for _, files in groupby(found.files, lambda path: options.keep_folders and path.parent):
        check_names(template, files, USUAL)


def run_part(job: ImagesJob, found: Scan, watcher: Watcher) -> Outcome:
    """Do these images, into the folder that the job names.

    Raises:
        DseInvertError: as `run_images`.
    """
    options = job.options
    if options.dry_run:
        plan = _plan(job, found, read(options.out / NAME))
        return Outcome(options.out, plan, plan.settled, dry=True)
    make_folder(options.out)
    with (
        torch_threads_kept(),
        open_journal(options.out) as journal,
        stoppable(watcher.problem) as stop,
    ):
        remove_stale_parts(options.out)
        known = read(journal.path)
        plan = _plan(job, found, known)
        _tell_of_others(job, plan, watcher)
        _tell_of_left(plan, watcher)
        _tell_of_refused(plan, watcher)
        fresh = _run(job, plan, journal, watcher, stop)
        outcome = Outcome(options.out, plan, (*plan.settled, *fresh), stop.code)
        known |= {entry.name: entry for entry in fresh}
        write_report(options.out, known.values(), outcome.undone, job.settings)
    return outcome


def _plan(job: ImagesJob, found: Scan, known: dict[str, Entry]) -> Plan:
    plan = make_plan(found, job.options.out, known, job.settings, job.options.overwrite)
    if not (plan.todo or plan.settled):
        raise NoInputError("all images found are outputs of this program", "name other inputs")
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


def _run(job: ImagesJob, plan: Plan, journal: Journal, watcher: Watcher, stop: Stop) -> list[Entry]:
    """Do what is to be done; every entry returned is in the journal."""
    watcher.begin("inverting", len(plan.todo))
    entries = []
    with ThreadPoolExecutor(1) as recording:  # waits for the disk while this thread computes
        entries_made = _entries(job, plan, stop, watcher)
        for entry in ahead(recording, journal.append, entries_made, 2 * _WRITERS):
            entries.append(entry)
            _tell(watcher, entry)
    return entries


def _entries(job: ImagesJob, plan: Plan, stop: Stop, watcher: Watcher) -> Iterator[Entry]:
    """scan -> [readers] -> crops -> [workers] -> faces -> [writers] -> entries, in order."""
    readers = min(_READERS, os.cpu_count() or 1)
    asked = job.wanted, job.options.max_pixels
    prepare = preparer(job.model.generator.resolution, job.detector, *asked)
    invert = partial(
        invert_faces,
        job.inverter,
        job.model.sha256,
        job.edits,
        refining=_shown(job.refining, watcher),
    )
    by = backend_of(job.model)
    target = Target(
        job.options.out,
        plan,
        job.settings,
        job.options.paste,
        by,
        job.mask,
        job.form,
        job.options.keep_gps,
        job.options.max_pixels,
        job.template,
        Claims({folded(file): e.name for e in plan.settled for file in e.files}),
        blend=job.options.blend,
    )
    generator = job.model.generator
    with (
        threads(readers) as reading,
        computing(generator.resolution, generator.device) as workers,
        threads(_WRITERS) as writing,
    ):
        window = 2 * (job.batch.size * workers.count + readers)
        prepared = ahead(reading, prepare, plan.todo, window)
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


def _tell(watcher: Watcher, entry: Entry) -> None:
    watcher.advance()
    _log.info("%s: %s, %s", entry.shown, entry.status, counted(len(entry.faces), "face"))
    for warning in entry.warnings:
        watcher.note(f"{entry.shown}: {warning}")
    if entry.status != "done":
        watcher.problem(f"{entry.shown}: {entry.reason}")
