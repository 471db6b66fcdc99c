"""The `video` run: each clip tracked, inverted, edited and written, going on where one was killed.

Three passes read a clip: faces, latents, pictures. What each made is on disk before the next one
begins, so that a killed run loses little, and a further edit needs the third pass only.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dseinvert.config import VideoOptions
from dseinvert.errors import InputError, NoInputError, OutsideError, UsageError
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import shown, write_bytes
from dseinvert.media.scan import Problem
from dseinvert.models import open_model, pick_device
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import torch_threads_kept
from dseinvert.run.flow.keys import result_key
from dseinvert.run.flow.stream import threads
from dseinvert.run.inputs import Item
from dseinvert.run.spread.books import intact, opened_books
from dseinvert.run.spread.ledger import Line
from dseinvert.run.spread.shard import ALL, Part
from dseinvert.run.spread.shelf import check_place, names
from dseinvert.run.video.faces import see
from dseinvert.run.video.invert import invert_clip, latents_of
from dseinvert.run.video.kept import refuse_replacing, refuse_replacing_stored
from dseinvert.run.video.keys import CHANGES_NOTHING
from dseinvert.run.video.measure import measured, moments, seams
from dseinvert.run.video.nobody import no_face_in
from dseinvert.run.video.outcome import Result, VideoOutcome, Written
from dseinvert.run.video.people import chosen
from dseinvert.run.video.plan import (
    Output,
    Task,
    check_options,
    check_room,
    find_sources,
    make_task,
    name_tasks,
    nothing_found,
    open_source,
)
from dseinvert.run.video.records import (
    TABLE,
    Books,
    Record,
    open_books,
    output_sha256,
    table_path,
    write_table,
)
from dseinvert.run.video.render import Pictured, pictured, render
from dseinvert.run.video.report import facts_of, reconstruction, write_page
from dseinvert.run.video.studio import Studio, open_studio, run_by_backend
from dseinvert.run.video.times import beyond, idle, refuse_idle
from dseinvert.run.video.tune import forget, tuned_to_faces
from dseinvert.run.video.unfinished import intend, working
from dseinvert.run.video.work import Seen, Stopped, Work
from dseinvert.stop import stoppable

_log = logging.getLogger(__name__)


def run_video(
    patterns: Sequence[str], options: VideoOptions, watcher: Watcher, part: Part = ALL
) -> VideoOutcome:
    """Edit the faces of all videos and folders of frames that `patterns` mean.

    Raises:
        DseInvertError: what stops a whole run; what stops one clip only is in the outcome.
    """
    device = pick_device(options.device)
    sources, problems = find_sources(patterns)
    if not sources:
        raise nothing_found(problems)
    check_options(options, len(sources))
    check_place(options.out or Path())
    studio = open_studio(options, open_model(options.model, device))
    if options.out is not None and far(options.out) and not options.dry_run:
        return _stored(studio, sources, problems, watcher, part)
    if part != ALL:
        return _shared(studio, sources, problems, watcher, part)
    alone = len(sources) == 1
    tasks, results = _plan(studio, name_tasks(sources), alone=alone)
    results = [Result(shown(p.path), reason=p.reason, status="refused") for p in problems] + results
    if not tasks and len(results) == 1:
        raise NoInputError(f"{results[0].source}: {results[0].reason}")
    for result in results:
        watcher.problem(f"{result.source}: {result.reason}")
    for task in () if options.overwrite else tasks:
        refuse_replacing(task)
    if options.dry_run:
        return VideoOutcome(tuple(tasks), tuple(results), dry=True)
    studio = run_by_backend(studio, sum(task.frames for task in tasks), watcher.note)
    with torch_threads_kept(), stoppable(watcher.problem, "segment") as stop:
        for task in tasks:
            if stop.code is not None:
                break
            with suppress(Stopped):
                results.append(_result(studio, Work(task, watcher, stop), alone=alone))
    return VideoOutcome(tuple(tasks), tuple(results), stop.code)


def _stored(
    studio: Studio,
    sources: Sequence[Path],
    problems: Sequence[Problem],
    watcher: Watcher,
    part: Part,
) -> VideoOutcome:
    """As `_shared`, into a store: a clip is made on this disk, and put there when it is whole."""
    out = studio.options.out
    assert out is not None
    with tempfile.TemporaryDirectory(prefix="dseinvert-") as folder:
        here = replace(studio, options=replace(studio.options, out=Path(folder)))
        return _shared(here, sources, problems, watcher, part, out)


def _put(folder: Path, out: Path) -> None:
    """All files of a clip, which are then gone from this disk."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        stores.put(far(out / path.relative_to(folder)), path.read_bytes())
        path.unlink()


def _moved(result: Result, folder: Path, out: Path) -> Result:
    """With its files where they were put."""
    outputs = (replace(o, path=out / o.path.relative_to(folder)) for o in result.outputs)
    return replace(result, outputs=tuple(outputs))


def _shared(
    studio: Studio,
    sources: Sequence[Path],
    problems: Sequence[Problem],
    watcher: Watcher,
    part: Part,
    store: Path | None = None,
) -> VideoOutcome:
    """The clips of this process's share, each of which it then writes down.

    store: where their files are put; None = they stay where they are made.
    """
    options = studio.options
    there = None if store is None else names(store)

    def is_done(item: Item, line: Line) -> bool:
        if line.key != _key(item, settings) or (store is not None and options.overwrite):
            return False
        return there is None or intact(store or Path(), line, there)

    if options.out is not None and options.out.suffix and not options.out.is_dir():
        raise UsageError(f"--out {options.out} is one file", "let --out name a folder")
    settings = _settings(studio) | ({} if store is None else {"out": far(store)})
    named = name_tasks(sources)
    items = [Item(source, name) for source, name in named.items()]
    results = [Result(shown(p.path), reason=p.reason, status="refused") for p in problems]
    tasks: list[Task] = []
    with (
        torch_threads_kept(),
        opened_books(
            store or options.out or Path(), part, settings, anew=options.overwrite
        ) as books,
        stoppable(watcher.problem, "segment") as stop,
    ):
        assert books is not None
        order = books.order(items, is_done)
        todo = [*order.together, *order.alone]
        if not options.overwrite:
            _refuse_others(studio, todo, store, there)
        books.about("video", settings, items, len(todo) + len(order.aside))
        for item, reason in order.aside:
            results.append(Result(shown(item.source), item.name, "failed", reason))
            books.record(_line(results[-1], item, ""))
        watcher.begin("clips", len(todo))
        studio = run_by_backend(studio, _frames(studio, named), watcher.note)
        for item in stop.until(todo):
            books.notes.begin(item.name)
            own, refused = _plan(studio, {item.source: item.name})
            tasks += own
            with suppress(Stopped):
                for task in () if options.overwrite else own:
                    refuse_replacing(task)
                if store is not None:
                    for task in own:
                        _bring_records(task, store, there or ())
                made = [_result(studio, Work(task, watcher, stop)) for task in own]
                if store is not None and options.out is not None:
                    _put(options.out, store)
                    made = [_moved(one, options.out, store) for one in made]
                for result in (*refused, *made):
                    results.append(result)
                    books.record(_line(result, item, _key(item, settings)))
            watcher.advance()
    return VideoOutcome(tuple(tasks), tuple(results), stop.code)


def _refuse_others(
    studio: Studio, todo: Sequence[Item], store: Path | None, there: Collection[str] | None
) -> None:
    """OutputError where videos of other options would be replaced, before any clip is decoded.

    there: the names of what lies in the store. Clips of which nothing is recorded are not opened.
    """
    out = studio.options.out or Path()
    for item in todo:
        table = f"{item.name}{TABLE}"
        if not ((out / table).exists() if there is None else table in there):
            continue
        for task in _plan(studio, {item.source: item.name})[0]:
            if store is None:
                refuse_replacing(task)
            else:
                _bring_records(task, store, there or ())
                refuse_replacing_stored(task, store, there or ())
                table_path(task).unlink(missing_ok=True)


def _bring_records(task: Task, store: Path, there: Collection[str]) -> None:
    """What runs before this one recorded of a clip in a store, onto this disk."""
    path = table_path(task)
    if path.name in there:
        write_bytes(path, stores.read(far(store / path.name)))


def _frames(studio: Studio, named: Mapping[Path, str]) -> int:
    """Of all clips, for which a backend is chosen: every process has to choose the same."""
    count = 0
    for path, name in named.items():
        with suppress(InputError):
            count += _opened(studio, path, name, sha256="").frames
    return count


def _settings(studio: Studio) -> dict[str, Any]:
    """All that decides about the videos of every clip, JSON-ready."""
    given = {f.name: getattr(studio.options, f.name) for f in fields(studio.options)}
    told = {name: str(value) for name, value in given.items() if name not in CHANGES_NOTHING}
    return {**told, "verb": "video", **studio.decisive(), "edits": dict(studio.fingerprints())}


def _key(item: Item, settings: Mapping[str, Any]) -> str:
    """By which a later process knows that a clip is done: its place, size and time, and these.

    Its bytes are many; whoever does it again finds by them that all is there.
    """
    about = item.source.stat()
    return result_key(f"{about.st_size} {about.st_mtime_ns}", settings)


def _line(result: Result, item: Item, key: str) -> Line:
    """What the journal keeps of a clip."""
    return Line(
        name=item.name,
        shown=shown(item.source),
        key=key,
        status=result.status,
        reason=result.reason,
        files={one.path.name: one.sha256 for one in result.outputs},
    )


def _plan(
    studio: Studio, named: Mapping[Path, str], *, alone: bool = False
) -> tuple[list[Task], list[Result]]:
    """Tasks, and what became of the clips that cannot be opened.

    alone: whether there is no other clip, so that a time or a number that it lacks is an error
        of the whole.
    """
    tasks, results = [], []
    for path, name in named.items():
        try:
            tasks.append(_task(studio, path, name))
        except InputError as error:
            if isinstance(error, OutsideError) and alone:
                raise
            reason = str(error).removeprefix(f"{shown(path)}: ")
            results.append(Result(shown(path), name, "refused", reason))
    for task in tasks if alone else ():
        refuse_idle(studio.for_clip(task.clip).edits, task.clip)
    inputs = {path.resolve() for path in named}
    for task in tasks:
        for output in task.outputs:
            if output.path.resolve() in inputs:
                raise UsageError(f"{shown(output.path)}: is an input, and would be overwritten")
    return tasks, results


def _task(studio: Studio, path: Path, name: str) -> Task:
    task = _opened(studio, path, name)
    check_room(task, studio.bytes_per_frame())
    return task


def _opened(studio: Studio, path: Path, name: str, sha256: str | None = None) -> Task:
    """sha256: see `make_task`."""
    clip = open_source(path, studio.options.fps, deinterlace=studio.options.deinterlace)
    decisive, of_clip = studio.decisive(), studio.for_clip(clip)
    edits = of_clip.fingerprints()
    task = make_task(clip, name, studio.options, decisive, edits, sha256=sha256)
    return replace(task, notes=(*task.notes, *idle(of_clip.edits, clip)))


def _result(studio: Studio, work: Work, *, alone: bool = False) -> Result:
    """Do one clip; what is wrong with it alone does not stop the others.

    alone: see `_plan`.
    """
    source = shown(work.clip.path)
    for note in (*work.clip.notes, *work.task.notes):
        work.watcher.note(f"{source}: {note}")
    try:
        with working(work.task):
            result = _do(studio.for_clip(work.clip), work)
    except InputError as error:
        if isinstance(error, OutsideError) and alone:
            raise
        result = Result(source, work.task.name, "failed", str(error).removeprefix(f"{source}: "))
    _log.info("%s: %s, %s", source, result.status, counted(result.frames, "frame"))
    if result.reason:
        work.watcher.problem(f"{result.source}: {result.reason}")
    for problem in result.problems:
        work.watcher.problem(f"{result.source}: {problem}")
    return result


def _do(studio: Studio, work: Work) -> Result:
    """All that is still to do for a clip, pass after pass."""
    books = open_books(work.task, anew=studio.options.overwrite)
    for output in books.moved_now:
        work.watcher.note(
            f"{output.path.name}: is made again, moved with the edit; --blend difference keeps it"
        )
    seen = inverted(studio, work)
    if seen is None:
        source, error = shown(work.clip.path), no_face_in(work.clip, studio.options)
        return Result(source, work.task.name, "skipped", str(error).removeprefix(f"{source}: "))
    work, problems = work.knowing(seen), list[str]()
    if books.todo:
        intend(work.task, books.todo)
        _say_what_lacks(studio, work)
        problems = render(studio, work, books.todo)
    if books.unmeasured:
        _report(studio, work, books)
    return _done(work, books, problems)


def _say_what_lacks(studio: Studio, work: Work) -> None:
    lacks = list(beyond(studio.edits, len({0, *work.seen.starts})))
    if _lacks_covers(work):
        what = "its latents are of an earlier version: what covers a face is painted over"
        lacks.append(f"{what}; --overwrite makes them anew")
    for phrase in lacks:
        work.watcher.note(f"{shown(work.clip.path)}: {phrase}")


def _lacks_covers(work: Work) -> bool:
    """Whether its latents were made before covers were told apart."""
    with work.latents() as latents:
        return not latents.holds("seen")


def inverted(studio: Studio, work: Work) -> Seen | None:
    """What is known once the latents are on disk, as they may be already; None = nobody is there.

    Raises Stopped.
    """
    seen = latents_of(work.task)
    if seen is None or (studio.options.overwrite and _lacks_covers(work)):
        return _inverted(studio, work)
    return seen


def _inverted(studio: Studio, work: Work) -> Seen | None:
    """The first two passes."""
    options = studio.options
    work = work.knowing(see(work, studio.detector, options.segment, options.rotate))
    if not work.seen.tracks:
        return None
    crops, people = chosen(studio, work)
    if not crops:
        return None
    own = tuned_to_faces(studio, work, crops)
    own = replace(own, origin={**own.origin, **people})
    invert_clip(studio, work, crops, own)
    forget(work.task)
    return latents_of(work.task)


def _report(studio: Studio, work: Work, books: Books) -> None:
    """Measure what is new, and write page and table."""
    unmeasured = books.unmeasured
    with threads(1) as drawing:
        work.begin("measuring", len(unmeasured))
        # The pictures of the page are drawn while the videos are read back.
        drawn = drawing.submit(_pictured, studio, work)
        for output in unmeasured:
            books.enter(_recorded(studio, work, output, drawn))
            work.advance()
        pictures, facts = drawn.result(), facts_of(work, studio.facts())
    write_page(work, books.in_order(), pictures, facts)
    write_table(work.task, books.in_order(), facts)


def _pictured(studio: Studio, work: Work) -> dict[int, Pictured]:
    """The pictures of the page."""
    with work.latents() as latents:
        places = moments(latents)
    return pictured(studio, work, places)


def _recorded(
    studio: Studio, work: Work, output: Output, pictures: Future[dict[int, Pictured]]
) -> Record:
    """A new output with its measures; those of a preview would say little."""
    with work.latents() as latents:
        numbers = reconstruction(latents)
        faces = {*latents.read("track").tolist()}
        bare = work.count - len({*latents.read("frame").tolist()})
    scaled = studio.options.preview or studio.options.height is not None
    steadiness = {} if scaled else measured(work, output, studio.detector)
    seen_at_rim = seams(pictures.result().values(), output.label)
    return Record(
        video=output.path.name,
        edit=output.label,
        key=output.key,
        source=work.task.sha256,
        clip=work.task.tracks_key,
        sha256=output_sha256(output.path),
        frames=work.count,
        without_face=bare,
        faces=len(faces),
        lost=work.seen.lost,
        look=output.look,
        settings=output.settings,
        metrics={**numbers, **seen_at_rim, **steadiness},
    )


def _done(work: Work, books: Books, problems: Sequence[str]) -> Result:
    """What became of the clip. problems: of writing it."""
    outputs, seen = work.task.outputs, work.seen
    one = books.of(outputs[0])
    return Result(
        source=shown(work.clip.path),
        name=work.task.name,
        status="done",
        frames=one.frames,
        without_face=one.without_face,
        faces=one.faces,
        lost=seen.lost,
        partial=seen.partial,
        problems=(*seen.problems, *(p for p in problems if p not in seen.problems)),
        outputs=tuple(
            Written(o.label, o.path, books.of(o).sha256, o in books.earlier) for o in outputs
        ),
        metrics={o.path.name: books.of(o).metrics for o in outputs},
    )
