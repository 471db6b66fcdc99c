"""The `directions learn` run: four ways to find what a model can be edited along."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import torch
from torch import Tensor

from dseinvert.config import DirectionsOptions
from dseinvert.editing.directions import Direction
from dseinvert.editing.discover import Score, calibrate, spread
from dseinvert.editing.ganspace import components_of_w, components_of_z
from dseinvert.editing.interfacegan import boundary, conditioned, split
from dseinvert.editing.scorer import open_scorer
from dseinvert.editing.sefa import sefa
from dseinvert.editing.stylespace import Channel, channels_of
from dseinvert.errors import InputError, UsageError
from dseinvert.generators.styles import styles
from dseinvert.latent import Latent
from dseinvert.models import Model, open_model, pick_device
from dseinvert.models.attach import check_may_change, give
from dseinvert.models.store import free_name
from dseinvert.progress import Watcher
from dseinvert.run.directions.change import Given, check_new, samples, strips
from dseinvert.run.directions.labelled import Labelled, attribute, gather, sampled

CALIBRATION = range(20_000_000, 20_000_300)
"""Samples that say what one deviation of a score is."""
_PICTURES = 300
"""So many inverted pictures say how far an edit moves the score."""
_SHOWN, _STRENGTHS = range(4), (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
_PREFIXES = {"ganspace": "pc", "sefa": "sefa"}
_ALONG = "one standard deviation of the generator's samples along it"
_ALONG_PICTURES = "one standard deviation of the inverted pictures along it"
_MOST = 100_000
FEW = 20
"""Codes that are held back below which a plane can hardly be judged."""


@dataclass(frozen=True)
class Job:
    """What is to be learned, checked."""

    options: DirectionsOptions
    model: Model
    score: Score | None
    """The scorer; None = there is none."""
    rows: tuple[int, int]
    """First and last row that the directions act on."""

    def direction(
        self, name: str, vector: Tensor, unit: str, learned: str, *, encoder: str = ""
    ) -> Direction:
        """A direction [L, D] of this model from the step [l, D] in the chosen rows."""
        spec, (first, last) = self.model.generator.spec, self.rows
        whole = torch.zeros(spec.layers, spec.dim)
        whole[first : last + 1] = vector
        part = self.rows if self.options.layers else None
        sha256 = self.model.sha256
        return Direction(name, whole, spec.space, unit, sha256, part, learned, encoder)

    def codes(self, latents: Latent) -> Tensor:
        """The chosen rows [N, l, D]."""
        return latents.code[:, self.rows[0] : self.rows[1] + 1].cpu().float()


def learn(options: DirectionsOptions, watcher: Watcher) -> Given:
    """Find directions and give them to the model, or to a copy of it.

    Raises:
        DseInvertError: options, tables, pictures or a model that do not do; nothing is changed.
    """
    job = _checked(options)
    names = _names(options)
    check_new(job.model, names, overwrite=options.overwrite)
    check_may_change(job.model, options.copy or "")
    if options.copy:
        free_name(options.copy, Path())
    found = _METHODS[options.method](job, names, watcher)
    own = {direction.name: direction for direction in found}
    name, folder = give(job.model, {**job.model.directions, **own}, options.copy or "")
    previews: list[Path] = []
    if options.preview is not None:
        shown = samples(job.model, _SHOWN, None, options.label)
        previews = strips(job.model, own, shown, _STRENGTHS, options.preview)
    return Given(name, folder, tuple(found), previews=tuple(previews))


def _checked(options: DirectionsOptions) -> Job:
    known = get_args(get_type_hints(DirectionsOptions)["method"])
    if options.method not in known:
        raise UsageError(f"--method {options.method!r}", ", ".join(known))
    supervised = options.method not in _PREFIXES
    if not supervised and (options.scorer or options.labels or options.without):
        raise UsageError(f"{options.method} takes no labels", "--method interfacegan does")
    if not 2 <= options.samples <= _MOST:
        raise UsageError(f"--samples {options.samples}", f"2 to {_MOST}")
    if not 0 <= options.seed <= 2**32 - options.samples:
        raise UsageError(f"--seed {options.seed}", f"0 to {2**32 - options.samples}")
    if not 0 < options.quantile <= 0.5:
        raise UsageError(f"--quantile {options.quantile:g}", "above 0, at most 0.5")
    if not 0 < options.area <= 1:
        raise UsageError(f"--area {options.area:g}", "above 0, at most 1")
    if options.count is not None and not 1 <= options.count <= 1000:
        raise UsageError(f"--count {options.count}", "1 to 1000")
    score: Score | None = None
    if options.scorer is not None:
        score = open_scorer(options.scorer, options.output, options.pixels)
    model = open_model(options.model, pick_device(options.device))
    if options.psi not in (None, 1) and not model.generator.truncates:
        raise UsageError(f"--psi {options.psi:g}: {model.name} has no truncation", "leave it out")
    model.check_label(options.label)
    return Job(options, model, score, _rows(options, model))


def _rows(options: DirectionsOptions, model: Model) -> tuple[int, int]:
    count, text = model.generator.spec.layers, options.layers
    if text is None:
        return 0, count - 1
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last < count:
        raise UsageError(f"--layers {text!r}", f"3 or 0-7, of rows 0-{count - 1}")
    if options.method == "stylespace":
        raise UsageError("--layers: a channel of stylespace is in one layer", "leave it out")
    return first, last


def _names(options: DirectionsOptions) -> list[str]:
    if options.method == "interfacegan":
        return [options.name or attribute(options)]
    if options.method == "stylespace":
        name, count = options.name or attribute(options), options.count or 1
        return [name] if count == 1 else [f"{name}{k}" for k in range(count)]
    prefix = options.name or _PREFIXES[options.method]
    return [f"{prefix}{k}" for k in range(options.count or 10)]


def _sefa(job: Job, names: list[str], watcher: Watcher) -> list[Direction]:
    limits = job.rows if job.options.layers else None
    vectors, _ = sefa(job.model.generator, len(names), limits)
    codes = _population(job)
    told = "SeFa: eigenvector {} of the first weights"
    return [
        job.direction(name, spread(codes, vector.expand(codes.shape[1:])), _ALONG, told.format(k))
        for k, (name, vector) in enumerate(zip(names, vectors, strict=True))
    ]


def _ganspace(job: Job, names: list[str], watcher: Watcher) -> list[Direction]:
    options, generator, count = job.options, job.model.generator, len(names)
    if generator.spec.space.startswith("w"):
        steps, of = components_of_w(_population(job), count), "w"
    else:
        seeds = range(options.seed, options.seed + options.samples)
        steps, of = components_of_z(generator, seeds, count, options.label), "its first features"
    told = f"GANSpace: component {{}} of {of} over {options.samples} samples"
    return [
        job.direction(name, step, _ALONG, told.format(k))
        for k, (name, step) in enumerate(zip(names, steps, strict=True))
    ]


def _interfacegan(job: Job, names: list[str], watcher: Watcher) -> list[Direction]:
    options, (name,) = job.options, names
    known = gather(options, job.model, job.score, watcher)
    codes = job.codes(known.latents)
    if not known.pictures and bool((codes == codes[:, :1]).all()):
        codes = codes[:, :1]  # the rows of a sample are alike, and so are those of the plane
    plane = boundary(codes, split(known.columns[attribute(options)], options.quantile))
    if plane.held < FEW:
        watcher.problem(
            f"{name}: judged on {plane.held} codes alone, so that its accuracy of "
            f"{plane.accuracy:.2f} says little; with {5 * FEW} labels there are {FEW}"
        )
    others = _others(job, known, codes)
    normal = conditioned(plane.normal, list(others.values()))
    # Samples hardly spread along a plane's normal that differs from row to row: theirs are alike.
    population = codes if known.pictures else _population(job)
    vector = spread(population, normal.expand(population.shape[1:]))
    what = "inverted pictures" if known.pictures else "samples"
    unit = _ALONG_PICTURES if known.pictures else _ALONG
    learned = (
        f"InterFaceGAN: plane between {plane.known} {what}; "
        f"balanced accuracy {plane.accuracy:.3f} on {plane.held} others"
    )
    learned += f"; without {', '.join(others)}" if others else ""
    made = job.direction(name, vector, unit, learned, encoder=_encoder(job, known))
    return [_calibrated(job, made, known)]


def _others(job: Job, known: Labelled, codes: Tensor) -> dict[str, Tensor]:
    """What is to stay: the normals of the table's columns, else the model's directions."""
    found = {}
    for name in [word.strip() for word in (job.options.without or "").split(",") if word.strip()]:
        if name in known.columns and name != attribute(job.options):
            sides = split(known.columns[name], job.options.quantile)
            found[name] = boundary(codes, sides).normal
        elif (
            old := job.model.directions.get(name)
        ) and old.space == job.model.generator.spec.space:
            rows = old.vector.expand(job.model.generator.spec.layers, -1)
            part = rows[job.rows[0] : job.rows[1] + 1]
            found[name] = part if codes.shape[1] == len(part) else part.mean(0, keepdim=True)
        else:
            have = sorted({*known.columns, *job.model.directions} - {attribute(job.options)})
            raise UsageError(f"--without {name!r}: unknown", f"there are: {', '.join(have)}")
    return found


def _stylespace(job: Job, names: list[str], watcher: Watcher) -> list[Direction]:
    options, generator = job.options, job.model.generator
    if not generator.style_layers:
        raise UsageError(f"a {generator.family} has no styles", "--method interfacegan")
    if options.without:
        raise UsageError("--without: channels of stylespace are single", "--area makes them local")
    known = gather(options, job.model, job.score, watcher)
    sides = split(known.columns[attribute(options)], options.quantile)
    seeds = range(options.seed, options.seed + options.samples)
    population = styles(generator, sampled(options, job.model, seeds)).cpu()
    channels = channels_of(generator, known.latents, sides, population, len(names), options.area)
    if not channels:
        raise InputError(f"no channel moves less than {options.area:g} of the picture", "--area 1")
    made = [_channel(job, one, population.shape[1]) for one in zip(names, channels, strict=False)]
    return [_calibrated(job, direction, known) for direction in made]


def _channel(job: Job, one: tuple[str, Channel], width: int) -> Direction:
    name, channel = one
    learned = (
        f"StyleSpace: channel {channel.name}; relevance {channel.relevance:.2f}, "
        f"moves {channel.area:.0%} of the picture"
    )
    sha256 = job.model.sha256
    return Direction(name, channel.vector(width), "s", _ALONG, sha256, learned=learned)


def _calibrated(job: Job, direction: Direction, known: Labelled) -> Direction:
    """The same with one deviation of the score as its unit, where there is a scorer."""
    if job.score is None:
        return direction
    factor = calibrate(
        job.model.generator,
        direction.vector,
        job.score,
        CALIBRATION,
        1.0 if job.options.psi is None else job.options.psi,
        inverted=known.latents[:_PICTURES] if known.pictures else None,
        space=direction.space,
    )
    if factor == 0:
        raise InputError(
            f"{direction.name}: what was found does not raise the scorer's score",
            "check --output and --pixels, or give more samples",
        )
    unit = f"one standard deviation of {attribute(job.options)} over the generator's samples"
    return replace(direction, vector=direction.vector * factor, unit=unit)


def _encoder(job: Job, known: Labelled) -> str:
    """Whose codes the rows were told apart on: those of samples are anybody's."""
    return job.model.encoder_sha256 if known.pictures else ""


def _population(job: Job) -> Tensor:
    options = job.options
    seeds = range(options.seed, options.seed + options.samples)
    return job.codes(sampled(options, job.model, seeds))


_METHODS: Mapping[str, Callable[[Job, list[str], Watcher], list[Direction]]] = {
    "sefa": _sefa,
    "ganspace": _ganspace,
    "interfacegan": _interfacegan,
    "stylespace": _stylespace,
}
