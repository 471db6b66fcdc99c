"""What attentions and SSIM are good for in training: short runs that differ in one thing.

Paper: "Improving GAN inversion via fine-tuning GAN encoders", Tables 6 and 7, at small scale.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.inversion.inverter import Inverter
from dseinvert.models import Model, open_model
from dseinvert.similarity.attention import at1, at2
from dseinvert.similarity.metrics import PROTOCOL, image_metrics
from dseinvert.similarity.weights import LossWeights, Perceptual
from dseinvert.training.loop import train
from dseinvert.training.options import AttentionKind, TrainOptions
from measure import asked
from measure.asked import Verb
from measure.inversion import quality
from measure.sets import Judges, judges, median, opened, photos, samples
from measure.tables import Cell, Table, watched

Figures = dict[str, float]
JUDGED = 64
"""Fresh samples that encoders are judged on."""


@dataclass(frozen=True)
class Variant:
    """One row: what the encoders of it are trained with."""

    name: str
    attention: AttentionKind = "crops"
    ssim: float = 1.0


FULL = Variant("as published")
VARIANTS = (FULL, Variant("without AT", attention="none"), Variant("without SSIM", ssim=0))


def ablating(given: argparse.Namespace) -> list[Table]:
    """Every variant with every seed; then what leaving out does, seed by seed."""
    model, panel = opened(given), judges(given.data)
    sets = {"fresh samples": samples(model, given.count or JUDGED)}
    if (real := photos(given, model.generator.resolution)) is not None:
        sets["real photos"] = real
    seeds = range(given.seeds)
    wanted = [(variant, seed) for variant in VARIANTS for seed in seeds]
    found: dict[str, dict[str, list[Figures]]] = {
        what: {variant.name: [] for variant in VARIANTS} for what in sets
    }
    spent = []
    for variant, seed in watched("training", wanted):
        began = time.process_time()
        inverter = taught(model, variant, seed, given)
        spent.append(time.process_time() - began)
        for what, images in sets.items():
            found[what][variant.name].append(figures(inverter, images, panel))
    title = f"DSE of {model.name}, widths {given.widths}, {given.iterations} steps of {given.batch}"
    about = note(given, median(torch.tensor(spent)))
    return [
        Table(f"{title}: {len(sets[what])} {what}", rows(runs), about)
        for what, runs in found.items()
    ]


def taught(model: Model, variant: Variant, seed: int, given: argparse.Namespace) -> Inverter:
    """An encoder trained from nothing; all variants of a seed see the same samples."""
    options = TrainOptions(
        iterations=given.iterations,
        batch=given.batch,
        seed=seed,
        widths=tuple(map(int, given.widths.split(","))),
        ema=min(0.999, 1 - 5 / (given.iterations + 5)),
        attention=variant.attention,
        perceptual=given.perceptual,
        weights=LossWeights(delta=variant.ssim),
        log_every=given.iterations,
        eval_every=given.iterations,
        eval_samples=1,
        grid_every=0,
        checkpoint_every=given.iterations,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(model, options, Path(folder) / "run")
        made = open_model(str(Path(folder) / "run"), model.generator.device)
    if made.encoder is None:
        raise MissingError("the training left no encoder")
    return Inverter(model.generator, made.encoder)


def figures(inverter: Inverter, images: Tensor, panel: Judges | None) -> Figures:
    """Medians over whole images, and within AT1 and AT2."""
    drawn = torch.cat([inverter.invert(part).images.cpu() for part in images.split(16)])
    whole = quality(images, drawn, panel)
    found = {name: value for name, value in whole.items() if isinstance(value, float)}
    for name, crop in (("AT1", at1), ("AT2", at2)):
        inside = image_metrics(crop(images), crop(drawn))
        found |= {f"{name} PSNR": median(inside["psnr"]), f"{name} SSIM": median(inside["ssim"])}
    return found


def rows(runs: Mapping[str, Sequence[Figures]]) -> list[dict[str, Cell]]:
    """Mean and deviation over the seeds of each variant, and of what it is short of FULL."""
    table: list[dict[str, Cell]] = []
    for name, found in runs.items():
        table.append({"variant": name, **_over([dict(one) for one in found], sign="")})
    for name, found in runs.items():
        if name != FULL.name:
            pairs = zip(found, runs[FULL.name], strict=True)
            less = [{key: one[key] - full[key] for key in full} for one, full in pairs]
            table.append({"variant": f"{name}: difference", **_over(less, sign="+")})
    return table


def _over(runs: Sequence[Figures], sign: str) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for name in runs[0]:
        values = torch.tensor([run[name] for run in runs])
        digits = 2 if "PSNR" in name else 4
        deviation = float(values.std()) if len(values) > 1 else 0.0
        found[name] = f"{float(values.mean()):{sign}.{digits}f} ± {deviation:.{digits}f}"
    return found


def note(given: argparse.Namespace, seconds: float) -> str:
    """How it was made."""
    return (
        f"Mean and deviation over {given.seeds} seeds, of medians; differences are taken seed by "
        "seed, with the same samples and first weights, and one within its deviation says nothing. "
        f"{PROTOCOL}; AT1 and AT2: the same within the centre crops. Strategy 2 on samples alone, "
        f"perceptual term: {given.perceptual}; {seconds:.0f} s of the processor a training."
    )


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.faces(parser)
    asked.real(parser)
    add = parser.add_argument
    add("--iterations", type=int, default=60, help="of each training")
    add("--batch", type=int, default=8, help="of each training")
    add("--seeds", type=int, default=3)
    add("--widths", default="16,32,48,64,96", help="of the encoder, as of train")
    add("--perceptual", choices=get_args(Perceptual), default="none")


VERB = Verb(
    "what attentions and SSIM gain in training, with the spread of seeds", options, ablating
)
