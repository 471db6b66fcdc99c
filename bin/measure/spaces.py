"""What each space of `--refine latent` reconstructs, and what strong edits leave of the person.

Paper: F/Z+ (Katsumata et al., 2024), Table 1 and Figure 5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators import Generator
from dseinvert.inversion.names import SPACES, SpaceName
from dseinvert.inversion.optimise import LatentOptions, latent_refinement
from dseinvert.inversion.refinement import Budget
from dseinvert.inversion.spaces import SpaceOptions, ZStart, inside
from dseinvert.latent import Latent, Skip, concat
from dseinvert.models import Model
from dseinvert.similarity.metrics import PROTOCOL
from dseinvert.similarity.perceptual import open_distance
from dseinvert.similarity.weights import Perceptual
from measure import asked
from measure.asked import Verb
from measure.inversion import quality
from measure.sets import SCORES, Judges, cosine, inverting, judges, opened, photos, samples
from measure.tables import Cell, Table, watched

EDITED = ("age", "smile", "pose")
LESSONS = 8192
"""Samples that directions in z are learned from."""
MANNERS = ("in w", "in w, F as it is", "in z", "in z, F as it is")
STRENGTHS = (1.5, 3.0)
STARTS = ("encoder", "mean")
Marks = dict[tuple[str, str], dict[str, list[tuple[float, float, float]]]]
"""By space and manner, then by direction: effects, and identities to source and reconstruction."""
WORDS = {"skip": get_args(Skip), "z_start": get_args(ZStart)}


@dataclass(frozen=True)
class Way:
    """A space, and how a latent enters and moves in it."""

    name: str
    space: SpaceName
    options: LatentOptions
    start: str = "encoder"


def spaces(given: argparse.Namespace) -> list[Table]:
    """Reconstruction in every space from two starts; then edits of what came from the encoder."""
    model, panel = opened(given), judges(given.data)
    images = photos(given, model.generator.resolution)
    what = "real photos"
    if images is None:
        images, what = samples(model, given.count or 24), "fresh samples"
    found = {way.name: refined(model, way, images, given) for way in ways(model, given)}
    title = f"by {model.name}: {len(images)} {what}, {given.steps} steps"
    tables = [Table(f"Spaces {title}", reconstructed(model, images, found, panel), note(given))]
    if panel is not None and model.directions and model.generator.spec.space == "w+":
        kept = {name: one[0] for name, one in found.items() if "start=mean" not in name}
        marks: Marks = {}
        rows = edited(model, images, kept, panel, given, marks)
        tables.append(Table(f"Edits {title}", rows, EDIT_NOTE))
        tables.append(Table(f"Edits of equal effect {title}", alike(marks), EQUAL_NOTE))
    return tables


def ways(model: Model, given: argparse.Namespace) -> list[Way]:
    """Every space from every start, and what --also adds from the encoder's."""
    named: Sequence[SpaceName] = given.space or SPACES
    if model.generator.spec.space == "z":
        named = [space for space in named if space == "z"]
    options = options_of(given)
    plain = [
        Way(space if start == "encoder" else f"{space}, start=mean", space, options, start)
        for start in given.start or STARTS
        for space in named
    ]
    return plain + [variant(text, options) for text in given.also or ()]


def options_of(given: argparse.Namespace) -> LatentOptions:
    """The defaults with what the command line changes."""
    changed = {name: getattr(given, name) for name in ("lr", "hold", "dense")}
    return replace(LatentOptions(), **{k: v for k, v in changed.items() if v is not None})


def variant(text: str, options: LatentOptions) -> Way:
    """`f/w+:hold=0.1,skip=drop` -> a way of that name."""
    space, _, rest = text.partition(":")
    enter: dict[str, object] = {}
    own: dict[str, float] = {}
    start = "encoder"
    for part in rest.split(","):
        name, _, value = part.partition("=")
        if name == "start" and value in STARTS:
            start = value
        elif name in ("lr", "hold", "dense", "perceptual"):
            own[name] = float(value)
        elif name in ("psi", "layer", "cutoff"):
            enter[name] = float(value) if name == "psi" else int(value)
        elif value in WORDS.get(name, ()):
            enter[name] = value
        else:
            raise UsageError(f"--also {text!r}: {part!r}", "as in f/w+:hold=0.1,skip=drop")
    if space not in SPACES:
        raise UsageError(f"--also {text!r}: no space {space!r}", f"one of {', '.join(SPACES)}")
    settings = replace(options, enter=SpaceOptions(**enter), **own)  # type: ignore[arg-type]
    return Way(f"{space}, {rest}", space, settings, start)


def refined(
    model: Model, way: Way, images: Tensor, given: argparse.Namespace
) -> tuple[Latent, Tensor, float]:
    """The latents, their pictures on the CPU, and the processor's seconds an image."""
    inverter = inverting(model)
    distance = open_distance(given.perceptual, model.generator.device)
    refine = latent_refinement(model.generator, way.space, way.options, distance)
    latents, drawn, began = [], [], time.process_time()
    for part in watched(way.name, images.split(given.batch)):
        latent = inverter.invert(part).latent
        if way.start == "mean":
            latent = concat([model.generator.mean_latent()] * len(part))
        done = refine(part, latent, Budget(given.steps))
        latents.append(done.latent.with_origin(generator_sha256=model.sha256))
        drawn.append(done.images.cpu())
    return concat(latents), torch.cat(drawn), (time.process_time() - began) / len(images)


def reconstructed(
    model: Model,
    images: Tensor,
    found: dict[str, tuple[Latent, Tensor, float]],
    panel: Judges | None,
) -> list[dict[str, Cell]]:
    """A row a way, and one of the encoder alone."""
    encoder = inverting(model)
    plain = torch.cat([encoder.invert(part).images.cpu() for part in images.split(16)])
    drawn = {"encoder alone": (plain, None)} | {n: (d, s) for n, (_, d, s) in found.items()}
    return [
        {"space": name, **quality(images, pictures, panel), "processor s/image": seconds}
        for name, (pictures, seconds) in drawn.items()
    ]


def edited(
    model: Model,
    images: Tensor,
    latents: dict[str, Latent],
    panel: Judges,
    given: argparse.Namespace,
    marks: Marks,
) -> list[dict[str, Cell]]:
    """A row for each latent and way of editing it: means over edits and faces; fills `marks`."""
    names = [name for name in EDITED if name in model.directions]
    if not names:
        raise MissingError(f"{model.name} has none of the directions {', '.join(EDITED)}")
    in_w = {name: model.directions[name] for name in names}
    in_z = {name: direction_in_z(model.generator, direction) for name, direction in in_w.items()}
    people, table = panel.who(images), []
    for name, latent in watched("editing", list(latents.items())):
        recon = panel.who(pictures(model, latent))
        for manner, strength in product(manners(latent), given.strength or STRENGTHS):
            along = in_z if manner.startswith("in z") else in_w
            row: dict[str, Cell] = {"space": name, "edited": f"±{strength:g} {manner}"}
            seen: list[Tensor] = []
            for direction in names:
                drawn = [
                    pictures(model, changed(model, latent, Edit(along[direction], step), manner))
                    for step in (strength, -strength)
                ]
                seen += [panel.who(one) for one in drawn]
                unit = SCORES[direction]
                up, down = (panel.scores(one)[unit] for one in drawn)
                effect = row[f"{direction}: {unit}"] = float((up - down).mean()) / 2
                places = marks.setdefault((name, manner), {}).setdefault(direction, [])
                here = seen[-2:]
                places += [(effect, mean_likeness(people, here), mean_likeness(recon, here))]
                places += [(0.0, mean_likeness(people, [recon]), 1.0)]
            row["identity to reconstruction"] = mean_likeness(recon, seen)
            row["to source"] = mean_likeness(people, seen)
            row["reconstruction to source"] = mean_likeness(people, [recon])
            table.append(row)
    return table


def alike(marks: Marks) -> list[dict[str, Cell]]:
    """Identity where each direction does as much in every space: what the weakest can do."""
    ways = {way: points for way, points in marks.items() if way[1] == MANNERS[0]}
    weakest = {
        direction: min(max(one[0] for one in points[direction]) for points in ways.values())
        for direction in next(iter(ways.values()))
    }
    table = []
    for (space, manner), points in ways.items():
        row: dict[str, Cell] = {"space": space, "edited": manner}
        found = []
        for direction, effect in weakest.items():
            x, *identities = zip(*sorted(points[direction]), strict=True)
            row[f"{direction}: {SCORES[direction]}"] = effect
            found.append([float(np.interp(effect, x, one)) for one in identities])
        source, recon = np.mean(found, axis=0).tolist()
        table.append({**row, "identity to reconstruction": recon, "to source": source})
    return table


def mean_likeness(people: Tensor, seen: list[Tensor]) -> float:
    """Of every face to each of its pictures."""
    return float(torch.stack([cosine(people, one) for one in seen]).mean())


def manners(latent: Latent) -> list[str]:
    """Which of MANNERS mean something for a latent."""
    has_f, in_z = latent.feature is not None, latent.space in ("z", "z+")
    return [
        manner
        for manner in MANNERS
        if (has_f or "F as it is" not in manner) and (in_z or not manner.startswith("in z"))
    ]


def changed(model: Model, latent: Latent, edit: Edit, manner: str) -> Latent:
    """The latent after an edit; see EDIT_NOTE."""
    if "F as it is" not in manner:
        return apply_edits(latent, (edit,), model.generator)
    plain = replace(latent, feature=None, layer=None)
    moved = apply_edits(plain, (edit,), model.generator)
    return replace(moved, feature=latent.feature, layer=latent.layer)


@torch.no_grad()
def direction_in_z(generator: Generator, direction: Direction) -> Direction:
    """By least squares over samples: along it, w goes one unit along `direction` on average."""
    source = torch.Generator().manual_seed(1)
    z = inside(torch.randn(LESSONS, 1, generator.z_dim, generator=source).to(generator.device))
    wanted = direction.vector.to(z)
    rows = generator.rows(Latent(z, "z"))
    score = ((rows - rows.mean(0)) * wanted).sum((1, 2)) / wanted.square().sum()
    slope: Tensor = torch.linalg.lstsq(z[:, 0], (score - score.mean())[:, None]).solution[:, 0]
    return replace(direction, vector=(slope / slope.square().sum())[None].cpu(), space="z+")


@torch.inference_mode()
def pictures(model: Model, latent: Latent) -> Tensor:
    """On the CPU."""
    inverter = inverting(model)
    parts = (latent[i : i + 16] for i in range(0, len(latent), 16))
    return torch.cat([inverter.render(part).cpu() for part in parts])


def note(given: argparse.Namespace) -> str:
    """How the reconstructions were made and measured."""
    options = options_of(given)
    return (
        f"Medians. {PROTOCOL}; ST-LPIPS and identity as in `bin/bench inversion`. Loss: MSE, "
        f"perceptual term: {given.perceptual}; rate {options.lr:g}, weight of F {options.hold:g}, "
        f"of P_N {options.dense:g}. From the encoder unless a row says otherwise. Batches of "
        f"{given.batch}, {torch.get_num_threads()} CPU threads."
    )


EQUAL_NOTE = (
    "Of equal effect: the effect of each direction is the largest that the weakest space reaches; "
    "identities in between are interpolated, from the reconstruction on, and averaged."
)
EDIT_NOTE = (
    f"Means over the faces and the edits {', '.join(EDITED)} to either side. Years, yaw and mouth "
    "are half the difference between the two sides, by the scorers of `bin/bench edits`: compare "
    "identities at equal effect. In w: rows of z mapped to w+ first, F by the difference rule; F "
    "as it is: as in the paper. In z: a walk on the sphere along the direction's regression on z."
)


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.photos(parser, batch=16)
    add = parser.add_argument
    add("--steps", type=int, default=100, help="of optimisation")
    add("--space", action="append", choices=SPACES, help="default: all")
    add("--start", action="append", choices=STARTS, help="default: both")
    add("--also", action="append", metavar="SPACE:OPTION=VALUE[,...]")
    add("--lr", type=float, help="in deviations a step")
    add("--hold", type=float, help="weight that keeps F where it began")
    add("--dense", type=float, help="weight of P_N")
    add("--perceptual", choices=get_args(Perceptual), default="none")
    add("--strength", type=float, action="append", help="of edits; default: 1.5 and 3")


VERB = Verb(
    "what each space of --refine latent reconstructs, and how it bears edits", options, spaces
)
