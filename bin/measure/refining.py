"""Tuning the encoder to each image, beside the encoder alone and the optimisation of w+."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dseinvert.inversion.asked import parse_refining
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.refinement import Budget
from dseinvert.inversion.refining import open_refining
from dseinvert.inversion.tune_encoder import FINE_TUNING, EncoderTuning, encoder_refinement
from dseinvert.models import Model
from dseinvert.similarity.attention import Scales, at1, at2, centre_crops, whole
from dseinvert.similarity.metrics import PROTOCOL, image_metrics
from dseinvert.similarity.weights import Attention, LossWeights
from measure import asked
from measure.asked import Verb
from measure.inversion import quality
from measure.optimise import OptimiseOptions, optimise
from measure.sets import Judges, inverting, judges, median, opened, photos, samples
from measure.tables import Cell, Table, watched

Draw = Callable[[Tensor], Tensor]
"""Images [B, 3, R, R] in [-1, 1] -> their reconstructions."""
SEEDS = (0, 1, 2)
"""Of the ablations: each chooses the photos."""
BATCHES = (1, 4, 8)
ROUNDS = 3


def refining(given: argparse.Namespace) -> list[Table]:
    """Quality and throughput; or, with --ablate, what the terms of the loss are good for."""
    model = opened(given)
    images = photos(given, model.generator.resolution)
    if images is None:
        images = samples(model, given.count or 250)
    if given.ablate:
        return ablations(model, images, given)
    if given.throughput:
        return [throughput(model, images, given)]
    return [compared(model, images, given), throughput(model, images, given)]


def tuning(model: Model, steps: int, options: EncoderTuning) -> Draw:
    """The refinement, from the encoder's own latents."""
    inverter = inverting(model)
    refine = encoder_refinement(model.generator, inverter.encoder, options)
    return lambda images: refine(images, inverter.invert(images).latent, Budget(steps)).images


def following(model: Model, text: str, space: str | None = None) -> Draw:
    """What `images --refine` does."""
    inverter = inverting(model)
    asked = parse_refining(text, space)
    refine = open_refining(asked, model.generator, inverter.encoder)
    return lambda images: (
        Inverter(model.generator, inverter.encoder, refine=refine).invert(images).images
    )


def methods(model: Model, given: argparse.Namespace) -> dict[str, Draw]:
    """What is compared, by name."""
    inverter, steps = inverting(model), given.steps
    found: dict[str, Draw] = {
        "encoder": lambda images: inverter.invert(images).images,
        f"encoder:{steps}": tuning(model, steps, EncoderTuning()),
        f"encoder:{steps}, all weights": tuning(model, steps, EncoderTuning("all", lr=0.005)),
    }
    if given.published:
        cycle = LossWeights(epsilon=0.01)
        published = EncoderTuning(
            "all", lr=0.005, momentum=0, warm_up=0, ramp_down=0, weights=cycle, towards="zero"
        )
        found |= {
            f"encoder:{steps}, latent term": tuning(model, steps, EncoderTuning(weights=cycle)),
            f"encoder:{steps}, as published": tuning(model, steps, published),
        }
    if given.optimise:
        options = OptimiseOptions(given.optimise, given.lr)
        found[f"{given.optimise} steps in w+, lr {given.lr:g}"] = lambda images: (
            optimise(model.generator, images, options=options).images
        )
    return found


def compared(model: Model, images: Tensor, given: argparse.Namespace) -> Table:
    """A row for each method; they take turns, batch by batch."""
    ways = methods(model, given)
    drawn: dict[str, list[Tensor]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for part in watched("refining", images.split(given.batch)):
        for name, draw in ways.items():
            took, result = spent(draw, part)
            seconds[name] += took
            drawn[name].append(result)
    panel = judges(given.data)
    rows = [
        {
            "method": name,
            **quality(images, torch.cat(drawn[name]), panel),
            "CPU s/image": seconds[name] / len(images),
        }
        for name in ways
    ]
    return Table(f"Refinement of {model.name}: {len(images)} images", rows, protocol(given))


def throughput(model: Model, images: Tensor, given: argparse.Namespace) -> Table:
    """Images a minute of every refinement at each batch size, the sizes by turns."""
    steps = max(1, given.steps // 10)
    ways: dict[str, Draw] = {
        "encoder": tuning(model, steps, EncoderTuning()),
        "encoder, all weights": tuning(model, steps, EncoderTuning("all", lr=0.005)),
        "latent": following(model, f"latent:{steps}"),
        "latent, w+": following(model, f"latent:{steps}", "w+"),
        "generator": following(model, f"generator:{steps}"),
    }
    images = images[torch.arange(max(BATCHES)) % len(images)]
    found: dict[tuple[str, int], list[float]] = {}
    for _ in watched("throughput", range(ROUNDS)):
        for name, draw in ways.items():
            for batch in BATCHES:
                took, _ = spent(draw, images[:batch])
                found.setdefault((name, batch), []).append(took * given.steps / steps)
    rows: list[dict[str, Cell]] = []
    for (name, batch), times in found.items():
        took = median(torch.tensor(times))
        alone = median(torch.tensor(found[name, 1]))
        rows.append(
            {
                "--refine": name,
                "batch": str(batch),
                "images/minute": 60 * batch / took,
                "times the cost of one": took / alone,
            }
        )
    note = f"{given.steps} steps each; CPU time of {torch.get_num_threads()} threads, the median of"
    return Table("Throughput", rows, f"{note} {ROUNDS} rounds of {steps} steps, scaled.")


def spent(draw: Draw, images: Tensor) -> tuple[float, Tensor]:
    """Seconds, of the processor where it computes, and the reconstructions on the CPU."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    began = clock()
    drawn = draw(images).cpu()
    return clock() - began, drawn


@dataclass(frozen=True)
class Variant:
    """One row of an ablation."""

    name: str
    scales: Scales
    ssim: float = 1.0


ATTENTIONS = (
    Variant("without AT", whole),
    Variant("AT1", centre_crops(Attention(FINE_TUNING.mu1, 0))),
    Variant("AT1 and AT2", centre_crops(FINE_TUNING)),
)
SSIM = (
    Variant("without SSIM", centre_crops(FINE_TUNING), 0),
    Variant("with SSIM", centre_crops(FINE_TUNING)),
)


def ablations(model: Model, images: Tensor, given: argparse.Namespace) -> list[Table]:
    """Tables 6 and 7 of the paper, about tuning; the spread is over choices of the photos."""
    panel = judges(given.data)
    tables = []
    for title, variants in (("Attentions", ATTENTIONS), ("SSIM", SSIM)):
        found = {variant.name: [] for variant in variants}  # type: dict[str, list[dict[str, Cell]]]
        for seed in watched(title, SEEDS):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            chosen = images[order[: max(1, len(images) // len(SEEDS))]]
            for variant in variants:
                found[variant.name].append(measured(model, chosen, variant, panel, given))
        rows = [{"variant": name, **spreads(runs)} for name, runs in found.items()]
        tables.append(Table(f"{title}: encoder:{given.steps} of {model.name}", rows, note(given)))
    return tables


def measured(
    model: Model, images: Tensor, variant: Variant, panel: Judges | None, given: argparse.Namespace
) -> dict[str, Cell]:
    """The medians of one variant, over whole images and within AT1 and AT2."""
    weights = replace(EncoderTuning().weights, delta=variant.ssim)
    options = replace(EncoderTuning(), scales=variant.scales, weights=weights)
    draw = tuning(model, given.steps, options)
    drawn = torch.cat([draw(part).cpu() for part in images.split(given.batch)])
    figures = quality(images, drawn, panel)
    del figures["MSE"]
    for name, crop in (("AT1", at1), ("AT2", at2)):
        inside = image_metrics(crop(images), crop(drawn))
        figures |= {f"{name} PSNR": median(inside["psnr"]), f"{name} SSIM": median(inside["ssim"])}
    return figures


def spreads(runs: Sequence[dict[str, Cell]]) -> dict[str, Cell]:
    """Mean and deviation of each figure over the runs, as text."""
    found: dict[str, Cell] = {}
    for name in runs[0]:
        values = torch.tensor([float(run[name]) for run in runs])  # type: ignore[arg-type]
        digits = 2 if "PSNR" in name else 3
        found[name] = f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"
    return found


def note(given: argparse.Namespace) -> str:
    """How the ablations were made."""
    return (
        f"Mean and deviation over {len(SEEDS)} choices of a third of the images, of medians. "
        f"{PROTOCOL}; AT1 and AT2: the same within the crops."
    )


def protocol(given: argparse.Namespace) -> str:
    """How the comparison was made."""
    return (
        f"Medians. {PROTOCOL}; ST-LPIPS: AlexNet, the package's weights; identity: cosine of "
        "MobileFaceNet embeddings. Optimisation: Adam from the mean latent on MSE. CPU time at "
        f"batch {given.batch}, {torch.get_num_threads()} threads, methods by turns."
    )


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.photos(parser, batch=8)
    add = parser.add_argument
    add("--steps", type=int, default=100, help="of tuning")
    add("--optimise", type=int, default=500, help="steps in w+ beside it; 0 = none")
    add("--lr", type=float, default=0.1, help="of optimisation")
    add("--published", action="store_true", help="also as published, which is slow")
    add("--throughput", action="store_true", help="images a minute alone")
    add("--ablate", action="store_true", help="what attentions and SSIM are good for")


VERB = Verb("what tuning the encoder to each image gains, and its cost", options, refining)
