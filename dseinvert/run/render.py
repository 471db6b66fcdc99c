"""The `edit` run: saved latents of one generator to pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from dseinvert.config import EditOptions
from dseinvert.errors import ExitCode, InputError, NoInputError
from dseinvert.export.backend import accelerated
from dseinvert.latent import Latent, concat, load_latent
from dseinvert.media.atomic import shown, sync_folder, write_bytes
from dseinvert.media.images import encode_png
from dseinvert.media.scan import scan
from dseinvert.models import Model, open_model, pick_device
from dseinvert.run.batchsize import BatchSize, auto_size, computing, in_batches, share
from dseinvert.run.compute import Edits, parse_all, render_edits
from dseinvert.run.names import assign, face_names, folded
from dseinvert.run.plan import Item
from dseinvert.run.prepare import Pixels, reason_of, unexpected
from dseinvert.run.progress import Watcher
from dseinvert.run.stream import ahead, regroup, threads
from dseinvert.run.write import make_folder
from dseinvert.stop import Stop, stoppable

_THREADS = 2
Shots = dict[str, Pixels]
"""The pictures of one latent by what they show."""


@dataclass(frozen=True)
class Loaded:
    """One latent file, read."""

    item: Item
    rows: tuple[Latent, ...] = ()
    """Its samples, each a batch of one."""
    reason: str = ""
    """Why it goes no further."""


@dataclass(frozen=True)
class Rendered:
    """What became of one latent file."""

    item: Item
    files: tuple[str, ...] = ()
    reason: str = ""
    """Why there are none."""


@dataclass(frozen=True)
class Renderings:
    """What came of an `edit` run."""

    out: Path
    done: tuple[Rendered, ...]
    problems: tuple[tuple[str, str], ...]
    """What was asked for and cannot be done: file and reason."""
    stopped: ExitCode | None = None
    """None = nobody asked the run to stop."""

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        if self.stopped is not None:
            return self.stopped
        if not self.problems:
            return ExitCode.OK
        return ExitCode.SOME_FAILED if self.done else ExitCode.NO_INPUT

    def summary(self) -> str:
        """One line for people."""
        pictures = sum(len(one.files) for one in self.done)
        failed = f", {len(self.problems)} failed" if self.problems else ""
        return f"{pictures} pictures from {len(self.done)} latent files{failed}"

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "out": str(self.out),
            "exit_code": int(self.exit_code),
            "items": [
                {"source": shown(one.item.source), "files": list(one.files)} for one in self.done
            ],
            "problems": [{"source": file, "reason": reason} for file, reason in self.problems],
        }


def run_edit(patterns: Sequence[str], options: EditOptions, watcher: Watcher) -> Renderings:
    """Render the latents that `patterns` mean, once for each edit, or as they are.

    Raises:
        DseInvertError: what stops a whole run; what stops one file only is in the result.
    """
    device = pick_device(options.device)
    found = scan(patterns, wanted=lambda path: path.suffix == ".safetensors")
    problems = [(shown(problem.path), problem.reason) for problem in found.problems]
    for problem in problems:
        watcher.problem(": ".join(problem))
    if not found.files:
        raise NoInputError("no latent files found", "name files that `dseinvert images` wrote")
    model = open_model(options.model, device)
    edits: Edits = parse_all(options.edits, model.directions) or {"recon": ()}
    shared = share(model.generator.resolution, model.generator.device)
    model = accelerated(model, options.backend, shared, len(found.files))
    make_folder(options.out)
    items = [Item(source, name) for source, name in assign(found.files, {}, ()).items()]
    watcher.begin("rendering", len(items))
    done = []
    with stoppable() as stop:
        for one in _rendered(items, model, edits, options, stop):
            watcher.advance()
            if one.reason:
                problems.append((shown(one.item.source), one.reason))
                watcher.problem(": ".join(problems[-1]))
            else:
                done.append(one)
    return Renderings(options.out, tuple(done), tuple(problems), stop.code)


def _rendered(
    items: Sequence[Item], model: Model, edits: Edits, options: EditOptions, stop: Stop
) -> Iterator[Rendered]:
    size = options.batch or auto_size(model.generator.resolution, model.generator.device)
    batch = BatchSize(size)
    work = partial(_render, model, edits)
    write = partial(_write, options.out, frozenset(folded(item.name) for item in items))
    generator = model.generator
    with (
        threads(_THREADS) as reading,
        computing(generator.resolution, generator.device) as workers,
        threads(_THREADS) as writing,
    ):
        loaded = ahead(reading, partial(_load, model), items, 2 * (size + _THREADS))
        shots = regroup(
            stop.until(loaded),
            parts=lambda one: one.rows,
            work=lambda rows: _in_kinds(work, rows, batch),
            size=lambda: batch.size,
            workers=workers,
        )
        yield from ahead(writing, write, stop.until(shots), 2 * _THREADS)


def _load(model: Model, item: Item) -> Loaded:
    try:
        latent = load_latent(item.source)
        _check(model, latent)
    except InputError as error:
        return Loaded(item, reason=reason_of(item, error))
    except Exception as error:  # the top of the batch loop: one file never stops the others
        return Loaded(item, reason=unexpected(error))
    return Loaded(item, tuple(latent[i : i + 1] for i in range(len(latent))))


def _check(model: Model, latent: Latent) -> None:
    spec = model.generator.spec
    theirs = latent.origin.get("generator_sha256")
    if theirs != model.sha256:
        whose = latent.origin.get("generator", "unnamed") if theirs else "unnamed"
        raise InputError(
            f"a latent of another generator ({whose}), not of {model.name}",
            "name its model with --model",
        )
    if latent.space != spec.space or latent.code.shape[1:] != (spec.layers, spec.dim):
        have, want = list(latent.code.shape[1:]), [spec.layers, spec.dim]
        raise InputError(f"{have} in {latent.space}, but {model.name} takes {want} in {spec.space}")


def _in_kinds(work: Any, rows: Sequence[Latent], batch: BatchSize) -> list[Shots]:
    """Batches hold latents of one kind only: with a feature at the same layer, or without."""
    return [
        shots for _, kind in groupby(rows, _kind) for shots in in_batches(work, list(kind), batch)
    ]


def _kind(latent: Latent) -> tuple[object, ...]:
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in latent.tensors().items()}
    return latent.layer, latent.skip, tuple(shapes.items())


def _render(model: Model, edits: Edits, rows: Sequence[Latent]) -> list[Shots]:
    pictures = render_edits(model.generator, concat(rows), edits)
    return [{label: pictures[label][i] for label in pictures} for i in range(len(rows))]


def _write(out: Path, taken: frozenset[str], work: tuple[Loaded, list[Shots]]) -> Rendered:
    loaded, shots = work
    if loaded.reason:
        return Rendered(loaded.item, reason=loaded.reason)
    files = []
    names = face_names(loaded.item.name, len(shots), taken)
    for name, pictures in zip(names, shots, strict=True):
        for label, pixels in pictures.items():
            files.append(f"{name}.{label}.png")
            write_bytes(out / files[-1], encode_png(pixels), sync=False)
    sync_folder(out)
    return Rendered(loaded.item, tuple(files))
