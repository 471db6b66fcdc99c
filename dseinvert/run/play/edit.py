"""The `edit` run: saved latents of one generator to pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch

from dseinvert.config import EditOptions
from dseinvert.editing.apply import apply_edits, check_edits
from dseinvert.editing.edits import (
    Edit,
    Edits,
    Step,
    label,
    parse_all,
    parse_strengths,
    parse_strip,
)
from dseinvert.editing.render import render_edits, settle_all, strengths
from dseinvert.errors import ExitCode, InputError, UsageError
from dseinvert.export.backend import accelerated
from dseinvert.faces.mask import Mask
from dseinvert.faces.regions import open_where
from dseinvert.importers.latents import Layout, dumps_foreign, not_carried
from dseinvert.latent import Latent, concat
from dseinvert.media.address import far
from dseinvert.media.animation import SUFFIXES, write_animation
from dseinvert.media.atomic import shown
from dseinvert.media.form import PNG, Form, form_of
from dseinvert.media.pixels import Pixels, rounded
from dseinvert.media.sheet import sheet
from dseinvert.models import Model, open_model, pick_device
from dseinvert.models.keeper import open_keeper
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import (
    BatchSize,
    auto_size,
    computing,
    in_kinds,
    share,
    torch_threads_kept,
)
from dseinvert.run.flow.keys import result_key
from dseinvert.run.flow.names import assign, face_names, folded
from dseinvert.run.flow.stream import ahead, regroup, threads
from dseinvert.run.flow.template import Claims, Template, check_names, parse_template
from dseinvert.run.inputs import Item, reason_of, unexpected
from dseinvert.run.play.crop import crop_beside, is_aligned
from dseinvert.run.play.latents import latent_sha256, left_out, read_latent, some_latent_files
from dseinvert.run.play.place import Place
from dseinvert.run.play.sliders import SUFFIX, Slider, slider_page
from dseinvert.run.spread.books import Books, intact, opened_books
from dseinvert.run.spread.ledger import Line
from dseinvert.run.spread.notes import Beginning, Order, noted
from dseinvert.run.spread.shard import ALL, Part
from dseinvert.run.spread.shelf import check_place
from dseinvert.run.spread.shelf import names as names_in
from dseinvert.stop import Stop, stoppable

_THREADS = 2
_log = logging.getLogger(__name__)
LEAST = 128  # pixels of a picture in a strip
# The strengths of moving pictures and of sliders; pixels at least and pictures a second of moving
# ones.
SWEEP, SLIDERS = "-3:3:25", "-3:3:13"
_SWEPT, _RATE = 192, Fraction(20)
RECON = "recon"


@dataclass(frozen=True)
class Shots:
    """What was drawn of one latent."""

    pictures: Mapping[str, Pixels]
    """By what they show."""
    strengths: Mapping[str, float]
    """What `auto` came to, by label."""
    codes: Mapping[str, bytes]
    """Files of other programs for the edited latents, by label; empty = none is wanted."""


@dataclass(frozen=True)
class Asked:
    """What is to be drawn of each latent."""

    edits: Edits
    """Empty = the reconstruction."""
    strips: Mapping[str, Sequence[str]]
    """The labels of the pictures in each strip, by its own label."""
    mask: Mask | None
    """None = edits show everywhere."""
    sweep: str | None = None
    """Suffix of the moving picture that each strip becomes; None = none is wanted."""
    sliders: bool = False
    """Whether the strips become a page."""
    form: Form = PNG
    """Of the pictures."""
    template: Template | None = None
    """Of the names of pictures; None = the usual ones."""
    layout: Layout | None = None
    """Of the files of latents beside them; None = none is wanted."""

    @property
    def labels(self) -> list[str]:
        """What the files of a latent show, as their names tell."""
        if self.sweep is not None or self.sliders:
            moving = [*self.strips] if self.sweep is not None else []
            return moving + [SUFFIX.partition(".")[0]] * self.sliders
        return [*(self.edits or (RECON,)), *self.strips]

    def file(self, item: Item, name: str, n: int, label: str, suffix: str) -> str:
        """The name of a file of sample `n`, which is otherwise called `name`."""
        if self.template is None:
            return f"{name}.{label}.{suffix}"
        return f"{self.template.name(item.source, label, n)}.{suffix}"

    @property
    def drawn(self) -> Edits:
        """The edits, and what else is needed."""
        plain: Edits = {} if self.edits and self.mask is None else {RECON: ()}
        return {**plain, **self.edits}


@dataclass(frozen=True)
class Loaded:
    """One latent file, read."""

    item: Item
    rows: tuple[Latent, ...] = ()
    """Its samples, each a batch of one."""
    original: Pixels | None = None
    """The crop it was inverted from; None = not asked for."""
    aligned: bool = True
    """Whether that is framed as FFHQ frames a face."""
    reason: str = ""
    """Why it goes no further."""
    notes: tuple[str, ...] = ()
    """What was left out; a line each."""


@dataclass(frozen=True)
class Rendered:
    """What became of one latent file."""

    item: Item
    files: tuple[str, ...] = ()
    reason: str = ""
    """Why there are none."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """What `auto` came to, by file."""
    notes: tuple[str, ...] = ()
    """What was left out of what was read, or written; a line each."""


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
        codes = [f".{layout}" for layout in get_args(Layout)]
        pictures = sum(Path(file).suffix not in codes for one in self.done for file in one.files)
        failed = f", {len(self.problems)} failed" if self.problems else ""
        done = counted(len(self.done), "latent file")
        return f"{counted(pictures, 'picture')} from {done}{failed}"

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "out": far(self.out) or str(self.out),
            "exit_code": int(self.exit_code),
            "items": [
                {"source": shown(one.item.source), "files": list(one.files)}
                | ({"strengths": dict(one.strengths)} if one.strengths else {})
                for one in self.done
            ],
            "problems": [{"source": file, "reason": reason} for file, reason in self.problems],
        }


def run_edit(
    patterns: Sequence[str], options: EditOptions, watcher: Watcher, part: Part = ALL
) -> Renderings:
    """Render the latents that `patterns` mean, once for each edit, or as they are.

    Raises:
        DseInvertError: what stops a whole run; what stops one file only is in the result.
    """
    device = pick_device(options.device)
    found = some_latent_files(patterns)
    check_place(options.out)
    problems = [(shown(problem.path), problem.reason) for problem in found.problems]
    for problem in problems:
        watcher.problem(": ".join(problem))
    model = open_model(options.model, device).moving_features(options.feature_edit)
    asked = _asked(options, model)
    if asked.template is not None:
        check_names(asked.template, found.files, asked.labels)
    shared = share(model.generator.resolution, model.generator.device)
    model = accelerated(model, options.backend, shared, len(found.files), watcher.note)
    before = bool(far(options.out)) or options.out.exists()
    names = assign(found.files, {}, ())
    items = [Item(source, name, found.contents.get(source)) for source, name in names.items()]
    settings = _settings(options, model)
    done = []
    with (
        torch_threads_kept(),
        opened_books(options.out, part, settings) as books,
        stoppable(watcher.problem) as stop,
    ):
        place = Place.made(options.out, "" if books is None else books.mark)
        drawing = _Drawing(items, model, asked, options, stop, place)
        for one in _all(drawing, settings, books, watcher):
            watcher.advance()
            if one.reason:
                problems.append((shown(one.item.source), one.reason))
                watcher.problem(": ".join(problems[-1]))
            else:
                done.append(one)
                _log.info("%s: %s", shown(one.item.source), ", ".join(one.files))
                for file, strength in one.strengths.items():
                    watcher.note(f"{file}: {strength:+.2f}")
                for note in one.notes:
                    watcher.note(note)
    if not (done or before):
        with suppress(OSError):
            options.out.rmdir()
    for line in place.told():
        watcher.note(line)
    return Renderings(options.out, tuple(done), tuple(problems), stop.code)


def _asked(options: EditOptions, model: Model) -> Asked:
    """Raises UsageError: an edit or mask that cannot be."""
    form = form_of(options.format, options.quality)
    named = options.name_template
    template = None if named is None else parse_template(named)
    mask = open_where(options.mask, options.region, model.generator.resolution)
    if mask is not None and not options.edits:
        raise UsageError("--mask needs an --edit to show", "add --edit NAME=STRENGTH")
    moving = options.sweep is not None or options.sliders
    if moving and options.latents is not None:
        raise UsageError("--latents is of pictures", "leave --sweep and --sliders out")
    if options.sweep is not None and f".{options.sweep}" not in SUFFIXES:
        known = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise UsageError(f"--sweep {options.sweep}: not a kind of moving picture", known)
    if options.strengths is None and not moving:
        keeper = open_keeper(options.edits, options.identity, options.identity_floor, model)
        classes = model.generator.spec.classes
        return Asked(
            parse_all(options.edits, model.directions, classes, keeper),
            {},
            mask,
            form=form,
            template=template,
            layout=options.latents,
        )
    texts = options.edits or (sorted(model.directions) if moving else ())
    if not texts:
        raise UsageError("--strengths needs a direction to show", "add --edit NAME")
    steps = parse_strengths(options.strengths or (SLIDERS if options.sweep is None else SWEEP))
    edits: dict[str, Sequence[Step]] = {}
    strips: dict[str, Sequence[str]] = {}
    for text in texts:
        own = {label(one): one for one in parse_strip(text, steps, model.directions)}
        name, at, rows = text.strip().partition("@")
        strips[f"{name}{steps[0]:+g}to{steps[-1]:+g}{at}{rows}"] = [*own]
        edits |= own
    return Asked(
        edits, strips, mask, options.sweep, options.sliders, form, template, options.latents
    )


_CHANGES_NOTHING = frozenset({"out", "device", "backend", "batch", "model", "feature_edit"})
"""Or is told by the hashes of what is opened."""


@dataclass(frozen=True)
class _Drawing:
    """What all items of a run share."""

    items: Sequence[Item]
    """All, of which this process may have a share."""
    model: Model
    asked: Asked
    options: EditOptions
    stop: Stop
    place: Place
    claims: Claims = field(default_factory=Claims)
    """Whose file is whose."""


def _settings(options: EditOptions, model: Model) -> dict[str, Any]:
    """All that decides about the pictures, JSON-ready."""
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    told = {name: str(value) for name, value in given.items() if name not in _CHANGES_NOTHING}
    return {"verb": "edit", "generator": model.sha256, **model.decisive(), **told}


def _all(
    drawing: _Drawing, settings: Mapping[str, Any], books: Books | None, watcher: Watcher
) -> Iterator[Rendered]:
    """The items, or those of this process's share, each of which it then writes down."""
    if books is None:
        watcher.begin("rendering", len(drawing.items))
        yield from _rendered(drawing, drawing.items)
        return
    out = drawing.options.out
    there = names_in(out) if far(out) else None

    def is_done(item: Item, line: Line) -> bool:
        return line.key == _key(item, settings) and intact(out, line, there)

    order = books.order(drawing.items, is_done)
    todo = [*order.together, *order.alone, *(item for item, _ in order.aside)]
    books.about("edit", settings, drawing.items, len(todo))
    watcher.begin("rendering", len(todo))
    for one in _in_order(drawing, order, books.notes):
        line = _line(one, drawing.place, settings)
        if there is not None:
            drawing.place.replaced.extend(_replaced(line, books.known.get(line.name), there))
        books.record(line)
        yield one


def _replaced(line: Line, before: Line | None, there: Container[str]) -> Iterator[str]:
    """Files in a store that were there with other contents, which nobody fetches to compare."""
    earlier = {} if before is None else before.files
    for name, digest in line.files.items():
        if name in there and earlier.get(name, digest) not in (digest, ""):
            yield name


def _in_order(drawing: _Drawing, order: Order[Item], notes: Beginning) -> Iterator[Rendered]:
    for item, reason in order.aside:
        yield Rendered(item, reason=reason)
    yield from _rendered(drawing, noted(order.together, notes))
    for item in drawing.stop.until(order.alone):
        yield from _rendered(drawing, noted([item], notes, alone=True))


def _key(item: Item, settings: Mapping[str, Any]) -> str:
    """Of the latent's bytes under these settings; "" = it cannot be read.

    Of one in a store, what that says of its version stands for them.
    """
    try:
        return result_key(_version(item), settings)
    except InputError:
        return ""


def _version(item: Item) -> str:
    if item.content is None:
        return latent_sha256(item.source)
    stamp = "" if item.content.stamp is None else item.content.stamp()
    return stamp or sha256(item.content.read()).hexdigest()


def _line(one: Rendered, place: Place, settings: Mapping[str, Any]) -> Line:
    """What the journal keeps of it."""
    return Line(
        name=one.item.name,
        shown=shown(one.item.source),
        key=_key(one.item, settings),
        status="failed" if one.reason else "done",
        reason=one.reason,
        files={name: place.sha256(name) for name in one.files},
    )


def _rendered(drawing: _Drawing, items: Iterable[Item]) -> Iterator[Rendered]:
    model, asked, options = drawing.model, drawing.asked, drawing.options
    stop, place = drawing.stop, drawing.place
    size = options.batch or auto_size(model.generator.resolution, model.generator.device)
    batch = BatchSize(size)
    work = partial(_render, model, asked)
    taken = frozenset(folded(item.name) for item in drawing.items)
    write = partial(_write, place, drawing.claims, taken, asked, {"model": model.name})
    generator = model.generator
    with (
        threads(_THREADS) as reading,
        computing(generator.resolution, generator.device) as workers,
        threads(_THREADS) as writing,
    ):
        loaded = ahead(reading, partial(_load, model, asked), items, 2 * (size + _THREADS))
        shots = regroup(
            stop.until(loaded),
            parts=lambda one: one.rows,
            work=lambda rows: in_kinds(_kind, work, rows, batch),
            size=lambda: batch.size,
            workers=workers,
        )
        yield from ahead(writing, write, stop.until(shots), 2 * _THREADS)


def _load(model: Model, asked: Asked, item: Item) -> Loaded:
    side = model.generator.resolution
    try:
        latent = read_latent(item.source, model, item.content)
        for steps in asked.edits.values():
            check_edits(latent, steps, model.generator)
        original = None if asked.mask is None else crop_beside(item.source, latent, side)
    except InputError as error:
        return Loaded(item, reason=reason_of(item, error))
    except Exception as error:  # the top of the batch loop: one file never stops the others
        return Loaded(item, reason=unexpected(error))
    rows = tuple(latent[i : i + 1] for i in range(len(latent)))
    aligned = is_aligned(latent, side)
    return Loaded(item, rows, original, aligned, notes=_notes(item, latent, asked))


def _notes(item: Item, latent: Latent, asked: Asked) -> tuple[str, ...]:
    """What of a file, and of the files beside its pictures, is left out; a line each."""
    lost = not_carried(latent) if asked.layout is not None else ()
    what = f"{shown(item.source)}: .{asked.layout} files hold no {' and no '.join(lost)}"
    said = [f"{what}: they draw other pictures"] if lost else []
    return (*left_out(item.source, latent), *said)


def _kind(latent: Latent) -> tuple[object, ...]:
    """What latents of one batch share: space, layer of a feature or none, BigGAN's truncation."""
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in latent.tensors().items()}
    drawn = latent.origin.get("truncation")
    return latent.space, latent.layer, latent.skip, drawn, tuple(shapes.items())


def _render(model: Model, asked: Asked, rows: Sequence[Latent]) -> list[Shots]:
    edits, latent = asked.drawn, concat(rows).to(model.generator.device)
    settled = settle_all(model.generator, latent, edits)
    pictures = render_edits(model.generator, latent, settled)
    codes = _codes(model, asked, latent, settled)
    return [
        Shots({name: pictures[name][i] for name in edits}, strengths(edits, settled, i), codes[i])
        for i in range(len(rows))
    ]


@torch.inference_mode()
def _codes(model: Model, asked: Asked, latent: Latent, settled: Edits) -> list[dict[str, bytes]]:
    """The files of each latent, by label; without the parts that they have no place for."""
    if asked.layout is None:
        return [{} for _ in range(len(latent))]
    bare = replace(latent, feature=None, layer=None, tuning={})
    made = {
        name: apply_edits(bare, settled[name], model.generator) for name in asked.edits or (RECON,)
    }
    return [
        {
            name: dumps_foreign(one[i : i + 1], model.generator, asked.layout)
            for name, one in made.items()
        }
        for i in range(len(latent))
    ]


def _write(
    place: Place,
    claims: Claims,
    taken: frozenset[str],
    asked: Asked,
    facts: Mapping[str, str],
    work: tuple[Loaded, list[Shots]],
) -> Rendered:
    loaded, shots = work
    if loaded.reason:
        return Rendered(loaded.item, reason=loaded.reason)
    files: list[str] = []
    found: dict[str, float] = {}
    names = face_names(loaded.item.name, len(shots), taken)
    named = [partial(asked.file, loaded.item, name, n) for n, name in enumerate(names, 1)]
    suffix = asked.form.format
    try:
        if asked.template is not None:
            every = [of(label, "") for of in named for label in asked.labels]
            claims.claim(every, str(loaded.item.source))
    except InputError as error:
        return Rendered(loaded.item, reason=reason_of(loaded.item, error))
    for of, name, one in zip(named, names, shots, strict=True):
        made = _masked(asked, loaded, one.pictures)
        if asked.sweep is not None or asked.sliders:
            files += _moving(place, of, name, asked, made, facts)
        else:
            for shown_as, pixels in (made | _strips(asked, made)).items():
                files.append(of(shown_as, suffix))
                place.write(files[-1], asked.form.encode(pixels))
            for shown_as, code in one.codes.items():
                files.append(of(shown_as, asked.layout or ""))
                place.write(files[-1], code)
        found |= {of(given, suffix): strength for given, strength in one.strengths.items()}
    place.sync()
    return Rendered(loaded.item, tuple(files), strengths=found, notes=loaded.notes)


def _masked(asked: Asked, loaded: Loaded, pictures: Mapping[str, Pixels]) -> dict[str, Pixels]:
    """The pictures that were asked for, by their labels, under the mask."""
    made = {name: pictures[name] for name in asked.edits or (RECON,)}
    if asked.mask is not None and loaded.original is not None:
        mask, original, recon = asked.mask, loaded.original, pictures[RECON]
        shown_in = partial(mask, original, recon=recon, aligned=loaded.aligned)
        made = {name: rounded(shown_in(edited=one)) for name, one in made.items()}
    return made


def _strips(asked: Asked, made: Mapping[str, Pixels]) -> dict[str, Pixels]:
    """The pictures of each direction side by side."""
    strips = {}
    for strip, labels in asked.strips.items():
        across = [f"{float(_edit(asked.edits[name]).strength):+g}" for name in labels]
        strips[strip] = sheet([[made[name] for name in labels]], across, LEAST)
    return strips


def _moving(
    place: Place,
    of: Callable[[str, str], str],
    name: str,
    asked: Asked,
    made: Mapping[str, Pixels],
    facts: Mapping[str, str],
) -> list[str]:
    """Write the page or the moving pictures of one latent; returns their names."""
    files, sliders = [], []
    for strip, labels in asked.strips.items():
        pictures = [_enlarged(made[one]) for one in labels]
        if asked.sweep is not None:
            files.append(of(strip, asked.sweep))
            write_animation(place.path(files[-1]), [*pictures, *pictures[-2:0:-1]], _RATE)
        edits = [_edit(asked.edits[one]) for one in labels]
        direction, rows = edits[0].direction, strip.partition("@")
        shown_as = direction.name + "".join(rows[1:])
        strengths = [float(edit.strength) for edit in edits]
        sliders.append(Slider(shown_as, direction.unit, strengths, pictures))
    if asked.sliders:
        files.append(of(*SUFFIX.split(".")))
        place.write(files[-1], slider_page(name, sliders, facts))
    return files


def _enlarged(picture: Pixels) -> Pixels:
    size = 2 * (max(len(picture), _SWEPT),)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _edit(steps: Sequence[Step]) -> Edit:
    (step,) = steps
    assert isinstance(step, Edit)
    return step
