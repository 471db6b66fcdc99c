"""The `video` run: each clip tracked, inverted, edited and written, going on where one was killed.

Three passes read a clip: faces, latents, pictures. What each made is on disk before the next one
begins, so that a killed run loses little, and a further edit needs the third pass only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dseinvert.config import VideoOptions
from dseinvert.editing.edits import Edits, fingerprint, parse_all
from dseinvert.errors import InputError, NoInputError, OutputError, UsageError
from dseinvert.export.backend import accelerated, backend_of
from dseinvert.export.exporting import Told
from dseinvert.faces.detect import Detector
from dseinvert.inversion.inverter import Inverter
from dseinvert.media.atomic import make_folder, shown, write_bytes
from dseinvert.media.lock import locked
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import BatchSize, auto_size, share
from dseinvert.run.flow.stream import threads
from dseinvert.run.video.faces import Seen, Stopped, crops_of, see
from dseinvert.run.video.invert import Job, invert_clip, latents_of
from dseinvert.run.video.measure import measured, moments, seams
from dseinvert.run.video.outcome import Result, VideoOutcome, Written
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
from dseinvert.run.video.render import AUTO, RECON, Drawing, Pictured, pictured, render
from dseinvert.run.video.report import (
    Record,
    facts_of,
    is_done,
    output_sha256,
    read_records,
    reconstruction,
    write_page,
    write_table,
)
from dseinvert.run.video.store import Rows
from dseinvert.run.video.tune import forget, tuned_to_faces
from dseinvert.stop import Stop, stoppable

_INTENT = "outputs.json"
_ROW_BYTES = 1200  # of what is kept for each face beside its code


@dataclass(frozen=True)
class Studio:
    """What all clips share."""

    job: Job
    drawing: Drawing

    @property
    def detector(self) -> Detector:
        """Of faces."""
        return self.job.detector

    @property
    def options(self) -> VideoOptions:
        """What was asked for."""
        return self.job.options


def run_video(patterns: Sequence[str], options: VideoOptions, watcher: Watcher) -> VideoOutcome:
    """Edit the faces of all videos and folders of frames that `patterns` mean.

    Raises:
        DseInvertError: what stops a whole run; what stops one clip only is in the outcome.
    """
    device = pick_device(options.device)
    sources, problems = find_sources(patterns)
    if not sources:
        raise nothing_found(problems)
    check_options(options, len(sources))
    studio = open_studio(options, open_model(options.model, device))
    tasks, results = _plan(studio, sources)
    results = [Result(shown(p.path), reason=p.reason, status="refused") for p in problems] + results
    if not tasks and len(results) == 1:
        raise NoInputError(f"{results[0].source}: {results[0].reason}")
    for result in results:
        watcher.problem(f"{result.source}: {result.reason}")
    for task in tasks:
        _refuse_strangers(task, options.overwrite)
    if options.dry_run:
        return VideoOutcome(tuple(tasks), tuple(results), dry=True)
    studio = run_by_backend(studio, tasks, watcher.note)
    with stoppable() as stop:
        for task in tasks:
            if stop.code is not None:
                break
            with suppress(Stopped):
                results.append(_result(studio, task, watcher, stop))
    return VideoOutcome(tuple(tasks), tuple(results), stop.code)


def open_studio(options: VideoOptions, model: Model) -> Studio:
    """Check the options against the model; refuses what cannot be honoured before work starts."""
    encoder, detector = model.require_encoder(), model.detector()
    if detector is None:
        raise UsageError(f"{model.name} draws no aligned faces", "use `images` on frames of it")
    edits = parse_all(options.edits, model.directions)
    size = options.batch or auto_size(model.generator.resolution, model.generator.device)
    batch = BatchSize(size)
    inverter = Inverter(model.generator, encoder)
    job = Job(options, model, inverter, detector, batch, inverter)
    smooth = AUTO if options.smooth == "auto" else options.smooth
    paste = options.paste or ("difference" if edits else "replace")
    drawing = Drawing(
        model, edits or {RECON: ()}, paste, smooth, options.side_by_side, options.segment, batch
    )
    return Studio(job, drawing)


def run_by_backend(studio: Studio, tasks: Sequence[Task], told: Told) -> Studio:
    """The studio with its networks run as --backend asks, which changes no key of any output.

    `told` hears of work that is done once.
    """
    options, generator = studio.options, studio.job.model.generator
    shared = share(generator.resolution, generator.device)
    count = sum(task.frames for task in tasks)
    model = accelerated(studio.job.model, _backend(options, told), shared, count, told)
    inverter = Inverter(model.generator, model.require_encoder())
    return Studio(
        replace(studio.job, model=model, inverter=inverter), replace(studio.drawing, model=model)
    )


def _backend(options: VideoOptions, told: Told) -> str:
    """Who encodes and draws what is not tuned to a person."""
    if options.refine == "none" or options.backend == "torch":
        return options.backend
    if options.backend != "auto":
        told(f"what --refine tunes runs in PyTorch, the rest by --backend {options.backend}")
        return options.backend
    return "torch"


def _plan(studio: Studio, sources: Sequence[Path]) -> tuple[list[Task], list[Result]]:
    """Tasks, and what became of the clips that cannot be opened."""
    tasks, results = [], []
    for path, name in name_tasks(sources).items():
        try:
            clip = open_source(path, studio.options.fps)
            task = make_task(clip, name, studio.options, _settings(studio), _edits(studio))
            check_room(task, _bytes_per_frame(studio.job.model))
            tasks.append(task)
        except InputError as error:
            reason = str(error).removeprefix(f"{shown(path)}: ")
            results.append(Result(shown(path), name, "refused", reason))
    inputs = {path.resolve() for path in sources}
    for task in tasks:
        for output in task.outputs:
            if output.path.resolve() in inputs:
                raise UsageError(f"{shown(output.path)}: is an input, and would be overwritten")
    return tasks, results


def _settings(studio: Studio) -> dict[str, Any]:
    model = studio.job.model
    return {
        "generator": model.sha256,
        "encoder": model.encoder_sha256,
        "detector": studio.detector.name,
    }


def _edits(studio: Studio) -> dict[str, str]:
    edits: Edits = studio.drawing.edits
    return {name: fingerprint(steps) for name, steps in edits.items() if steps}


def _bytes_per_frame(model: Model) -> int:
    spec = model.generator.spec
    return 4 * spec.layers * spec.dim + _ROW_BYTES


def _refuse_strangers(task: Task, overwrite: bool) -> None:
    """OutputError for a file in the way that is not of an earlier run on the same source."""
    if overwrite:
        return
    records, intent = read_records(task), _intent(task)
    for output in task.outputs:
        record = records.get(output.path.name)
        ours = record is not None and record.source == task.sha256
        if output.path.exists() and not ours and output.path.name not in intent:
            raise OutputError(
                f"{shown(output.path)}: is there already, made of something else",
                "choose another --out, or --overwrite",
            )


def _result(studio: Studio, task: Task, watcher: Watcher, stop: Stop) -> Result:
    """Do one clip; what is wrong with it alone does not stop the others."""
    for note in task.clip.notes:
        watcher.note(f"{shown(task.clip.path)}: {note}")
    try:
        with _working(task):
            result = _do(studio, task, watcher, stop)
    except InputError as error:
        reason = str(error).removeprefix(f"{shown(task.clip.path)}: ")
        result = Result(shown(task.clip.path), task.name, "failed", reason)
    if result.reason:
        watcher.problem(f"{result.source}: {result.reason}")
    for problem in result.problems:
        watcher.problem(f"{result.source}: {problem}")
    return result


def _do(studio: Studio, task: Task, watcher: Watcher, stop: Stop) -> Result:
    overwrite = studio.options.overwrite
    records = read_records(task)
    _adopt(task, records)
    earlier = [o for o in task.outputs if not overwrite and is_done(o, records)]
    todo = [output for output in task.outputs if output not in earlier]
    seen = latents_of(task)
    if seen is None:
        seen = _inverted(studio, task, watcher, stop)
        if seen is None:
            return Result(shown(task.clip.path), task.name, "skipped", "no face found in any frame")
    fresh: list[str] = []
    if todo:
        _intend(task, todo)
        fresh = render(studio.drawing, task, todo, seen, watcher, stop)
    return _reported(studio, task, seen, todo, earlier, records, fresh, watcher)


def _inverted(studio: Studio, task: Task, watcher: Watcher, stop: Stop) -> Seen | None:
    """The first two passes; None = nobody is there."""
    seen = see(task, studio.detector, studio.options.segment, watcher, stop)
    crops = crops_of(seen, studio.options)
    if not crops:
        return None
    own = tuned_to_faces(studio.job, task, seen, crops, watcher, stop)
    invert_clip(studio.job, task, seen, crops, own, watcher, stop)
    forget(task)
    return latents_of(task)


def _reported(
    studio: Studio,
    task: Task,
    seen: Seen,
    todo: Sequence[Output],
    earlier: Sequence[Output],
    records: dict[str, Record],
    fresh: Sequence[str],
    watcher: Watcher,
) -> Result:
    """Measure what is new, write table and page, and say what became of the clip."""
    names = [output.path.name for output in task.outputs]
    missing = [o for o in task.outputs if o in todo or not records[o.path.name].frames]
    with Rows(task.latents) as rows, threads(1) as drawing:
        if missing:
            watcher.begin(f"{task.name}: measuring", len(missing))
            shots = drawing.submit(_shots, studio, task, seen)
            for output in missing:
                records[output.path.name] = _recorded(studio, task, seen, rows, output, shots)
                watcher.advance()
            pictures = shots.result()
            facts = facts_of(task, _about(studio), json.loads(rows.header["origin"]))
            # In one order, whichever of them was finished before a run was killed.
            others = [record for name, record in records.items() if name not in names]
            ordered = [*others, *(records[name] for name in names)]
            write_page(task, seen, rows, ordered, pictures, facts)
            write_table(task, ordered, facts)
    one = records[names[0]]
    return Result(
        source=shown(task.clip.path),
        name=task.name,
        status="done",
        frames=one.frames,
        without_face=one.without_face,
        faces=one.faces,
        lost=seen.lost,
        partial=seen.partial,
        problems=(*seen.problems, *(p for p in fresh if p not in seen.problems)),
        outputs=tuple(
            Written(o.label, o.path, records[o.path.name].sha256, o in earlier)
            for o in task.outputs
        ),
        metrics={name: records[name].metrics for name in names},
    )


def _shots(studio: Studio, task: Task, seen: Seen) -> dict[int, Pictured]:
    """The pictures of the report; reads the latents for itself, beside whoever else does."""
    with Rows(task.latents) as rows:
        return pictured(studio.drawing, task, seen, rows, moments(rows))


def _recorded(
    studio: Studio,
    task: Task,
    seen: Seen,
    rows: Rows,
    output: Output,
    shots: Future[dict[int, Pictured]],
) -> Record:
    """A new output with its measures; those of a preview would say little."""
    bare = len(seen.pts) - len({*rows.read("frame").tolist()})
    preview = studio.options.preview
    steadiness = {} if preview else measured(task, output, seen, rows, studio.detector)
    seen_at_rim = seams(shots.result().values(), output.label)
    numbers = {**reconstruction(rows), **seen_at_rim, **steadiness}
    return Record(
        video=output.path.name,
        edit=output.label,
        key=output.key,
        source=task.sha256,
        clip=task.tracks_key,
        sha256=output_sha256(output.path),
        frames=len(seen.pts),
        without_face=bare,
        faces=len({*rows.read("track").tolist()}),
        lost=seen.lost,
        metrics=numbers,
    )


def _about(studio: Studio) -> dict[str, str]:
    model = studio.job.model
    return {
        "model": f"{model.name} ({model.generator.resolution} px)",
        "generator": f"sha256 {model.sha256}",
        "encoder": f"sha256 {model.encoder_sha256}",
        "paste": studio.drawing.paste,
        "backend": backend_of(model),
    }


@contextmanager
def _working(task: Task) -> Iterator[None]:
    """The folder for unfinished work, locked; gone when the work is done."""
    made = [f for f in (task.folder, *task.folder.parents) if not f.exists()]
    make_folder(task.work)
    try:
        with _locked(task.work):
            _drop_other_work(task)
            yield
            shutil.rmtree(task.work, ignore_errors=True)
    finally:
        for folder in (task.work, *made):  # where nothing was written, nothing stays
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with locked(folder) as alone:
        if not alone:
            raise OutputError(f"{shown(folder)}: another run is working here", "wait for it")
        yield


def _drop_other_work(task: Task) -> None:
    """Remove what was left by runs with other settings."""
    ours = (f"tracks-{task.tracks_key}", f"latents-{task.latents_key}", _INTENT)
    keys = tuple(output.key for output in task.outputs)
    for path in task.work.iterdir():
        if path.name.startswith(ours) or path.name.endswith(keys):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _intend(task: Task, outputs: Sequence[Output]) -> None:
    """Note what is going to be written, and what lies under those names now."""
    notes = {o.path.name: {"key": o.key, "before": _identity(o.path)} for o in outputs}
    write_bytes(task.work / _INTENT, json.dumps(notes).encode())


def _intent(task: Task) -> dict[str, dict[str, Any]]:
    try:
        notes = json.loads((task.work / _INTENT).read_bytes())
        return notes if isinstance(notes, dict) else {}
    except (OSError, ValueError):
        return {}


def _adopt(task: Task, records: dict[str, Record]) -> None:
    """Record what a run finished that was killed before it could."""
    for output in task.outputs:
        note = _intent(task).get(output.path.name, {})
        identity = _identity(output.path)
        if note.get("key") == output.key and identity not in (None, note.get("before")):
            sha256 = output_sha256(output.path)
            records[output.path.name] = Record(
                output.path.name, output.label, output.key, task.sha256, "", sha256, 0, 0, 0, 0
            )


def _identity(path: Path) -> list[int] | None:
    """What changes when a file is replaced; None = there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return [about.st_ino, about.st_size, about.st_mtime_ns]
