"""The `evaluate` run: methods of inversion compared on a folder of images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dseinvert.config import EvaluateOptions
from dseinvert.editing.directions import Direction
from dseinvert.editing.grammar import scorer_of
from dseinvert.editing.scorer import OnnxScorer, open_scorer
from dseinvert.errors import ExitCode, MissingError, NoInputError, UsageError
from dseinvert.evaluation.compare import Method, Result, compare
from dseinvert.evaluation.curves import STRENGTHS, Curve, curve
from dseinvert.evaluation.frechet import open_features
from dseinvert.evaluation.panel import Panel
from dseinvert.evaluation.plots import plots
from dseinvert.evaluation.portion import SHOWN, Faces, Portion
from dseinvert.evaluation.prior import prior
from dseinvert.evaluation.protocols import parse_protocol
from dseinvert.evaluation.published import Beside, beside
from dseinvert.evaluation.tables import Row, as_csv, as_markdown, curve_rows, each, summary
from dseinvert.faces.crops import Wanted
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.inversion.asked import parse_refining
from dseinvert.inversion.asked_baselines import WITH_ENCODER, Baseline, parse_baselines
from dseinvert.inversion.baselines import ABOUT, open_baseline
from dseinvert.inversion.inverter import Inversion, Inverter
from dseinvert.inversion.optimise import LatentOptions
from dseinvert.inversion.refining import open_refining
from dseinvert.latent import concat
from dseinvert.media.atomic import make_folder, within, write_bytes
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.media.sheet import sheet
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import auto_size
from dseinvert.run.flow.names import assign, face_names, folded
from dseinvert.run.inputs import Item, read_faces
from dseinvert.run.sources import Found, pictures_of
from dseinvert.run.spread.measured import Measured, check_share, keep
from dseinvert.run.spread.shard import ALL, WHOLE, Part, Shard
from dseinvert.similarity.identity import open_identity
from dseinvert.similarity.losses import Distance
from dseinvert.similarity.perceptual import open_distance, trunk_file
from dseinvert.version import __version__

MEAN, ENCODER = "mean latent", "encoder"
LEAST = 96


@dataclass(frozen=True)
class Evaluation:
    """What came of a comparison."""

    results: tuple[Result, ...]
    curves: tuple[Curve, ...]
    protocol: str
    out: Path | None
    sets: str = "Fréchet"
    """The name of the distance between sets."""
    beside: Beside | None = None
    """The numbers of a paper; None = none was asked for."""

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        return ExitCode.OK

    @property
    def markdown(self) -> str:
        """The tables for people."""
        own = as_markdown(self.results, self.curves, self.protocol, self.sets).decode()
        return own if self.beside is None else f"{own}\n{self.beside.markdown}"

    def asdict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "exit_code": 0,
            "images": len(self.results[0].seconds),
            "protocol": self.protocol,
            "summary": summary(self.results, self.sets),
            "curves": curve_rows(self.curves, self.sets),
            **({} if self.beside is None else {"beside": list(self.beside.rows)}),
            "out": None if self.out is None else str(self.out),
        }


def run_evaluate(
    patterns: Sequence[str], options: EvaluateOptions, watcher: Watcher, part: Part = ALL
) -> Evaluation | Measured:
    """Compare methods on all faces of the images that `patterns` mean, or on a share of them.

    Raises:
        DseInvertError: what cannot be compared, in one line.
    """
    device = pick_device(options.device)
    with pictures_of(patterns, watcher) as found:
        if not found:
            raise NoInputError("no images found", "name image files, folders or globs")
        return _evaluated(found, options, device, watcher, part)


def _evaluated(
    found: Sequence[Found],
    options: EvaluateOptions,
    device: torch.device,
    watcher: Watcher,
    part: Part,
) -> Evaluation | Measured:
    asked, options = parse_protocol(options.protocol), _by_protocol(options)
    model = open_model(options.model, device)
    directions = _directions(model, options)
    panel = replace(open_panel(model, options), part=not part.shard.whole)
    methods = methods_of(model, options, panel.perceptual)
    settings = _settings(options, model)
    if not part.shard.whole:
        check_share(options, part.shard, settings)
    faces = faces_of(found, model, options, watcher, part.shard)
    if not faces.crops:
        return keep(options, part.shard, Portion(faces, settings=settings))
    images = to_tensor(faces.crops)
    size = options.batch or auto_size(model.generator.resolution, device)
    batches = len(images.split(size))
    watcher.begin("inverting", batches * len(methods))
    results = compare(methods, images, panel, size, lambda _: watcher.advance())
    watcher.begin("editing", len(results) * len(directions) * len(STRENGTHS))
    curves = [
        curve(model.generator, result, one, images, panel, size, watcher.advance)
        for one in directions
        for result in results
        if result.name != MEAN
    ]
    protocol = (
        f"images at {model.generator.resolution} px, {model.name}; {panel.protocol}; "
        f"seconds: an image's share of a batch of {size}, {torch.get_num_threads()} threads, "
        f"{device}; peak: of the process (on a GPU: of torch)" + _recipes(model, options, panel)
    )
    name = "Fréchet" if panel.sets is None else panel.sets.name
    portion = Portion(
        faces,
        tuple(results),
        tuple(curves),
        panel.kept(panel.crowd(images)) if panel.part else None,
        protocol,
        name,
        settings,
    )
    if not part.shard.whole:
        return keep(options, part.shard, portion)
    lpips = panel.perceptual[1] if panel.perceptual and panel.perceptual[0] == "lpips" else None
    their: Beside | None = None
    if asked is not None:
        their = beside(asked, results, curves, images, model.generator, lpips, name)
    return tabled(portion, options.out, their)


def tabled(portion: Portion, out: Path | None, their: Beside | None = None) -> Evaluation:
    """The tables of what was measured; in a folder, where one is named."""
    protocol = f"{len(portion.faces.names)} {portion.protocol}"
    done = Evaluation(portion.results, portion.curves, protocol, out, portion.sets, their)
    if out is not None:
        _write(out, done, portion.faces.names, portion.faces.crops)
    return done


_CHANGES_NOTHING = frozenset({"out", "device", "batch", "model"})


def _settings(options: EvaluateOptions, model: Model) -> dict[str, Any]:
    """All that decides about the numbers, JSON-ready."""
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    told = {name: str(value) for name, value in given.items() if name not in _CHANGES_NOTHING}
    encoder = "" if model.encoder is None else model.encoder_sha256
    return {"generator": model.sha256, "encoder": encoder, **told, "version": __version__}


def _by_protocol(options: EvaluateOptions) -> EvaluateOptions:
    """The options with what a paper's comparison asks for where nothing else is given."""
    asked = parse_protocol(options.protocol)
    if asked is None:
        return options
    given = bool(options.refine) or options.baselines != "none"
    count = asked.protocol.count if options.count is None else options.count
    if given:
        return replace(options, count=count)
    return replace(options, refine=asked.refine, baselines=asked.baselines, count=count)


def methods_of(
    model: Model, options: EvaluateOptions, perceptual: tuple[str, Distance] | None
) -> list[Method]:
    """The mean latent, the model's encoder, its refinements, baselines, and other encoders.

    A bare GAN has no encoder, and of `--baselines all` those that need none.

    Raises:
        UsageError: a model of another generator, or --loss perceptual without such a measure.
        MissingError: one without an encoder.
    """
    if not (options.against or options.baselines != "none"):
        model.require_encoder()
    mean = model.generator.mean_latent()

    @torch.inference_mode()
    def average(images: Tensor) -> Inversion:
        latent = concat([mean] * len(images))
        return Inversion(latent, model.generator.synthesize(latent).clamp(-1, 1))

    distance = _distance(options, perceptual)
    methods = [Method(MEAN, average)]
    if model.encoder is not None:
        methods.append(Method(ENCODER, _inverter(model, model).invert))
    baselines = _baselines(model, options)
    taken = {one.text for one in baselines}  # a SAM is both, from other starts
    for text in options.refine:
        name = f"{ENCODER}, {text}" if text in taken else text
        methods.append(Method(name, _refined(model, text, distance).invert))
    for one in baselines:
        invert = open_baseline(one, model.generator, model.encoder, distance)
        methods.append(Method(one.text, invert))
    for name in options.against:
        other = open_model(name, model.generator.device)
        methods.append(Method(other.name, _inverter(model, other).invert))
    return methods


def _baselines(model: Model, options: EvaluateOptions) -> list[Baseline]:
    asked = parse_baselines(options.baselines)
    every = re.search(r"\ball\b", options.baselines) is not None
    bare = model.encoder is None and every
    return [one for one in asked if not (bare and one.name in WITH_ENCODER)]


def _distance(options: EvaluateOptions, perceptual: tuple[str, Distance] | None) -> Distance | None:
    """The perceptual term of all that is optimised."""
    if options.loss == "mse":
        return None
    if perceptual is None:
        raise UsageError("--loss perceptual: there is no perceptual measure", "leave it out")
    return perceptual[1]


def _recipes(model: Model, options: EvaluateOptions, panel: Panel) -> str:
    """How what is optimised was, after what else the protocol says."""
    baselines = _baselines(model, options)
    if not options.refine and not baselines:
        return ""
    term = "" if options.loss == "mse" or panel.perceptual is None else f" + {panel.perceptual[0]}"
    about = dict.fromkeys(f"{one.name} = {ABOUT[one.name]}" for one in baselines)
    rate = f"Adam, {LatentOptions().lr:g} deviations of the space a step"
    shared = f"optimised: squared error{term} (encoder: the image loss of DSE{term}), best kept"
    return f"; {'; '.join([shared, f'codes and F by {rate}', *about])}"


def _refined(model: Model, text: str, distance: Distance | None) -> Inverter:
    """The model's encoder followed by `latent:100@f/z+`."""
    encoder = model.require_encoder()
    what, at, space = text.partition("@")
    asked = parse_refining(what, space if at else None)
    refine = open_refining(asked, model.generator, encoder, distance)
    return Inverter(model.generator, encoder, refine=refine)


def _inverter(model: Model, other: Model) -> Inverter:
    encoder = other.require_encoder()
    if other.sha256 != model.sha256:
        raise UsageError(
            f"--against {other.name}: it has another generator than {model.name}",
            "compare encoders of one generator",
        )
    return Inverter(other.generator, encoder)


def _directions(model: Model, options: EvaluateOptions) -> list[Direction]:
    if options.edit and options.identity is None:
        raise UsageError("--edit needs an --identity network to say who is left")
    for name in options.edit:
        if name not in model.directions:
            known = ", ".join(sorted(model.directions)) or "none"
            raise UsageError(f"--edit {name}: no such direction", f"this model has: {known}")
    return [model.directions[name] for name in options.edit]


def open_panel(model: Model, options: EvaluateOptions) -> Panel:
    """The judges that are wanted and to be had.

    Raises:
        MissingError: one that was asked for is not here.
    """
    if options.scorer and not options.edit:
        raise UsageError("--scorer without --edit has nothing to score", "--edit age with it")
    device = model.generator.device
    identity = None if options.identity is None else open_identity(options.identity)
    scorers = [_scorer(text) for text in options.scorer]
    sets = open_features(options.sets, options.inception, device)
    judge = prior(model.generator)
    return Panel(judge, _perceptual(options, device), identity, dict(scorers), sets)


def _scorer(text: str) -> tuple[str, OnnxScorer]:
    """FILE[:OUTPUT[:PIXELS]] -> the score's name and the scorer."""
    named, output, pixels = scorer_of(text)
    file = Path(named)
    name = file.stem if output is None else f"{file.stem}-{output}"
    return name, open_scorer(file, output or 0, pixels or "-1..1")


def _perceptual(options: EvaluateOptions, device: torch.device) -> tuple[str, Distance] | None:
    wanted = options.perceptual
    if wanted == "auto":
        wanted = "lpips" if trunk_file().is_file() else "features"
        with suppress(MissingError):
            distance = open_distance(wanted, device)
            return None if distance is None else (wanted, distance)
        return None
    distance = open_distance(wanted, device)
    return None if distance is None else (wanted, distance)


def faces_of(
    found: Sequence[Found],
    model: Model,
    options: EvaluateOptions,
    watcher: Watcher,
    shard: Shard = WHOLE,
) -> Faces:
    """All faces of a share of the images, of at most `count` of the whole run.

    Raises:
        NoInputError: there is none in the whole.
    """
    content = {one.source: one.content for one in found}
    named = assign(content, {}, ())
    items = [Item(source, name, content[source]) for source, name in named.items()]
    faces = _cut(items, model, options, watcher, shard)
    if shard.whole and not faces.crops:
        raise NoInputError("no faces to compare on", "name image files, folders or globs")
    return faces


def _cut(
    items: Sequence[Item], model: Model, options: EvaluateOptions, watcher: Watcher, shard: Shard
) -> Faces:
    """The faces, file by file until there are `count`, of which those of the share are kept.

    Where `count` ends the run, all files before that are looked at, for they decide where it is.
    """
    side, detector = model.generator.resolution, model.detector(align=options.align)
    taken = frozenset(folded(item.name) for item in items)
    most = None if options.count is None else max(0, options.count)
    numbers = {item.name: number for number, item in enumerate(items)}
    own = [item for item in items if shard.has(item.name)]
    read = own if most is None else items
    watcher.begin("reading", len(read))
    found: list[tuple[str, tuple[int, int], Pixels]] = []
    for one in read_faces(read, side, detector, watcher, wanted=Wanted(options.rotate)):
        names = face_names(one.item.name, len(one.crops), taken)
        place = numbers[one.item.name]
        found += [(names[k], (place, k), crop.pixels) for k, crop in enumerate(one.crops)]
        if most is not None and len(found) >= most:
            break
    mine = {numbers[item.name] for item in own}
    kept = [one for one in found[:most] if one[1][0] in mine]
    return Faces(
        tuple(name for name, _, _ in kept),
        tuple(place for _, place, _ in kept),
        tuple(crop for _, _, crop in kept),
        tuple(sorted(mine)),
        len(items),
        hashlib.sha256("\n".join(map(repr, numbers)).encode()).hexdigest(),
    )


def _write(out: Path, done: Evaluation, names: Sequence[str], crops: Sequence[Pixels]) -> None:
    """Tables, plots and a grid; plots come first, for they may lack their package."""
    made = plots(done.results, done.curves)
    make_folder(out)
    made["summary.csv"] = as_csv(summary(done.results, done.sets), done.protocol)
    made["images.csv"] = as_csv(each(done.results, names), done.protocol)
    if done.beside is not None:
        made["beside.csv"] = as_csv(_filled(done.beside.rows), " ".join(done.beside.notes))
    if done.curves:
        made["curves.csv"] = as_csv(curve_rows(done.curves, done.sets), done.protocol)
    made["report.md"] = done.markdown.encode()
    made["grid.png"] = encode_png(_grid(done.results, crops))
    for name, data in made.items():
        write_bytes(within(out, name), data)


def _filled(rows: Sequence[Row]) -> list[Row]:
    """With a cell in every column."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]


def _grid(results: Sequence[Result], crops: Sequence[Pixels]) -> Pixels:
    """A row a face: the source and what each method made of it."""
    pictures = [list(crops[:SHOWN]), *(to_pixels(one.drawn[:SHOWN]) for one in results)]
    rows = [list(row) for row in zip(*pictures, strict=True)]
    return sheet(rows, across=["source", *(one.name for one in results)], least=LEAST)
