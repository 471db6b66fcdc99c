"""What tuning the generator to each image gains, in what space of a file, and how edits bear it.

Paper: pivotal tuning (Roich et al., 2021).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dseinvert.editing.apply import apply_edits, parse_edits
from dseinvert.generators import Generator
from dseinvert.generators.tuned import private, synthesize
from dseinvert.inversion.asked import parse_refining
from dseinvert.inversion.low_rank import convolutions
from dseinvert.inversion.refining import open_refining
from dseinvert.latent import Latent, concat, dumps
from dseinvert.models import Model
from dseinvert.similarity.losses import mse
from dseinvert.similarity.metrics import PROTOCOL
from measure import asked
from measure.asked import Verb
from measure.inversion import quality
from measure.sets import SCORES, Judges, cosine, judges, median, opened, photos, samples
from measure.tables import Cell, Table, watched

DEFAULT = ("none", "generator:100", "latent:100,generator:100")
RATE = 3e-4
NOTE = (
    f"Medians; {PROTOCOL}; identity: cosine of MobileFaceNet embeddings; the edit: identity of the "
    "edited picture to the input, and years added to the reconstruction by face-api.js's network. "
    "KB: of the latent file (of all weights: what they would be as float32). Seconds: of one "
    "processor, an image."
)


@dataclass(frozen=True)
class Drawn:
    """What one method made of all images."""

    recon: Tensor
    edited: Tensor
    size: float
    seconds: float


def pivotal(given: argparse.Namespace) -> list[Table]:
    """A row for each method."""
    model, panel = opened(given), judges(given.data)
    images, what = photos(given, model.generator.resolution), "real photos"
    if images is None:
        images, what = samples(model, given.count or 24), "fresh samples"
    made = {text: refined(model, text, images, given) for text in given.refine or DEFAULT}
    for scope in given.all_weights or ():
        name = f"{scope} weights, {given.steps} steps"
        made[name] = whole(model, images, given, late=scope == "late")
    rows = [row(name, images, one, panel) for name, one in made.items()]
    title = f"Pivotal tuning of {model.name}: {len(images)} {what}, edit {given.edit}"
    return [Table(title, rows, NOTE)]


def refined(model: Model, text: str, images: Tensor, given: argparse.Namespace) -> Drawn:
    """By what `images --refine` does."""
    generator, encoder = model.generator, model.require_encoder()
    asked = open_refining(parse_refining(text), generator, encoder)
    began, found = time.process_time(), []
    for part in watched(text, images.split(given.batch)):
        with torch.inference_mode():
            latent = encoder.encode(part)
        if asked is not None:
            latent = asked[0](part, latent, asked[1]).latent
        found.append(latent)
    seconds = (time.process_time() - began) / len(images)
    latent = concat(found)
    with torch.inference_mode():
        recon = synthesize(generator, latent).clamp(-1, 1)
        moved = edited(model, latent, generator, given)
    size = sum(len(dumps(latent[k : k + 1])) for k in range(len(latent))) / len(latent) / 1024
    return Drawn(recon, synthesize(generator, moved).clamp(-1, 1), size, seconds)


def whole(model: Model, images: Tensor, given: argparse.Namespace, *, late: bool) -> Drawn:
    """Pivotal tuning as published, but for its loss: whole convolution weights, Adam at 3e-4.

    `late` = only what F passes, where the latent has one.
    """
    assert model.encoder is not None
    recons, edits, size, began = [], [], 0, time.process_time()
    for image in watched("late weights" if late else "all weights", images.split(1)):
        with torch.inference_mode():
            start = model.encoder.encode(image)
        pivot = replace(start, **{n: t.clone() for n, t in start.tensors().items()})  # type: ignore[arg-type]
        own = private(model.generator)
        plain = replace(pivot, feature=None, layer=None)
        weights = own_weights(own, convolutions(own, pivot if late else plain))
        adam = torch.optim.Adam(weights, lr=RATE)
        for _ in range(given.steps):
            loss = mse(image, own.synthesize(pivot)).sum()  # type: ignore[operator]
            slopes = torch.autograd.grad(loss, weights)
            for weight, slope in zip(weights, slopes, strict=True):
                weight.grad = slope
            adam.step()
        size = sum(weight.numel() for weight in weights) * 4
        with torch.inference_mode():
            generator: Generator = own  # type: ignore[assignment]
            recons.append(generator.synthesize(pivot).clamp(-1, 1))
            moved = edited(model, pivot, generator, given)
            edits.append(generator.synthesize(moved).clamp(-1, 1))
    seconds = (time.process_time() - began) / len(images)
    return Drawn(torch.cat(recons), torch.cat(edits), size / 1024, seconds)


def own_weights(own: nn.Module, names: list[str]) -> list[nn.Parameter]:
    """Copies of these weights, put in their place."""
    copies = []
    for name in names:
        place, _, last = name.rpartition(".")
        copies.append(nn.Parameter(own.get_parameter(name).detach().clone()))
        setattr(own.get_submodule(place), last, copies[-1])
    return copies


def edited(model: Model, latent: Latent, generator: Generator, given: argparse.Namespace) -> Latent:
    """The latents after --edit."""
    return apply_edits(latent, parse_edits(given.edit, model.directions), generator)


def row(name: str, images: Tensor, one: Drawn, panel: Judges | None) -> dict[str, Cell]:
    """What is shown of a method."""
    cells: dict[str, Cell] = {"--refine": name, **quality(images, one.recon, panel)}
    if panel is not None:
        years: Callable[[Tensor], Tensor] = lambda shown: panel.scores(shown)[SCORES["age"]]  # noqa: E731
        who = cosine(panel.who(images), panel.who(one.edited))
        cells["identity, edited"] = median(who)
        cells["years added"] = median(years(one.edited) - years(one.recon))
    return {**cells, "KB": one.size, "s/image": one.seconds}


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.photos(parser, batch=4)
    add = parser.add_argument
    add("--refine", action="append", help="as of images; default: three")
    add("--all-weights", action="append", choices=("all", "late"), help="besides; slow")
    add("--steps", type=int, default=100, help="of --all-weights")
    asked.edit(parser)


VERB = Verb("what tuning the generator gains, its cost, and how edits bear it", options, pivotal)
