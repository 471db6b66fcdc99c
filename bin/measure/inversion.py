"""How well an encoder inverts, beside the mean latent and the optimisation of latents."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import concat
from dseinvert.models import Model
from dseinvert.similarity.metrics import PROTOCOL, image_metrics
from measure import asked
from measure.asked import Verb
from measure.optimise import OptimiseOptions, optimise
from measure.sets import (
    OTHERS,
    Judges,
    cosine,
    inverting,
    judges,
    median,
    opened,
    perceptual,
    photos,
    samples,
)
from measure.tables import Cell, Table, watched

Draw = Callable[[Tensor], Tensor]
"""Images [B, 3, R, R] in [-1, 1] -> their reconstructions."""
RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
TRIALS = 8


def inversion(given: argparse.Namespace) -> list[Table]:
    """One table for each set of images."""
    model = opened(given)
    methods = drawing(model, given)
    real = photos(given, model.generator.resolution)
    sets = {} if real is None else {"real photos": real}
    sets["fresh samples of the generator"] = samples(model, given.count or 250)
    return [
        Table(f"Inversion by {model.name}: {len(images)} {name}", rows, protocol(given))
        for name, images in sets.items()
        for rows in [compared(name, images, methods, given)]
    ]


def drawing(model: Model, given: argparse.Namespace) -> dict[str, Draw]:
    """The methods by name; optimisation gets the rate that suits it best."""
    inverter, mean = inverting(model), model.generator.mean_latent()
    methods: dict[str, Draw] = {
        "mean latent": lambda images: inverter.render(concat([mean] * len(images))),
        "encoder": lambda images: inverter.invert(images).images,
    }
    if isinstance(model.encoder, DSEFeatureEncoder):
        trunk = Inverter(model.generator, model.encoder.trunk)
        methods["encoder, w+ alone"] = lambda images: trunk.invert(images).images
    for steps in given.steps or (100, 500):
        lr = given.lr or best_rate(model, steps)
        methods[f"{steps} steps in w+, lr {lr:g}"] = optimising(model, steps, lr)
    return methods


def optimising(model: Model, steps: int, lr: float) -> Draw:
    """W+ optimisation from the mean latent, on MSE."""
    options = OptimiseOptions(steps, lr)
    return lambda images: optimise(model.generator, images, options=options).images


def best_rate(model: Model, steps: int) -> float:
    """The rate of highest median PSNR on samples that are not measured."""
    images = samples(model, TRIALS, OTHERS)

    def psnr(lr: float) -> float:
        return median(image_metrics(images, optimising(model, steps, lr)(images).cpu())["psnr"])

    return max(watched(f"choosing the rate of {steps} steps", RATES), key=psnr)


def compared(
    name: str, images: Tensor, methods: dict[str, Draw], given: argparse.Namespace
) -> list[dict[str, Cell]]:
    """A row for each method: medians over the images."""
    panel = judges(given.data)
    drawn, seconds = {}, {}
    for method, draw in methods.items():
        drawn[method], seconds[method] = timed(f"{name}, {method}", draw, images, given.batch)
    return [
        {
            "method": method,
            **quality(images, drawn[method], panel),
            "s/image": seconds[method],
            "times the encoder's": seconds[method] / seconds["encoder"],
        }
        for method in methods
    ]


def timed(what: str, draw: Draw, images: Tensor, batch: int) -> tuple[Tensor, float]:
    """All reconstructions on the CPU, and the median over batches of seconds per image."""
    drawn, seconds = [], []
    for part in watched(what, images.split(batch)):
        began = time.perf_counter()
        drawn.append(draw(part).cpu())
        seconds.append((time.perf_counter() - began) / len(part))
    return torch.cat(drawn), median(torch.tensor(seconds))


@torch.inference_mode()
def quality(images: Tensor, drawn: Tensor, panel: Judges | None) -> dict[str, Cell]:
    """Median likeness of reconstructions to their images."""
    metrics = image_metrics(images, drawn)
    found: dict[str, Cell] = {
        "PSNR, dB": median(metrics["psnr"]),
        "SSIM": median(metrics["ssim"]),
        "MSE": median(metrics["mse"]),
    }
    if (named := perceptual()) is not None:
        name, distance = named
        pairs = zip(images.split(50), drawn.split(50), strict=True)
        found[name] = median(torch.cat([distance(a, b) for a, b in pairs]))
    if panel is not None:
        found["identity"] = median(cosine(panel.who(images), panel.who(drawn)))
    return found


def protocol(given: argparse.Namespace) -> str:
    """How all of it was measured."""
    rates = ", ".join(map(str, RATES))
    tried = "" if given.lr else f"; the best rate on {TRIALS} other samples of {rates}"
    return (
        f"Medians. {PROTOCOL}; ST-LPIPS: AlexNet, the package's weights; identity: cosine of "
        "MobileFaceNet embeddings at 112x96, image and mirror image, both at the model's "
        f"resolution. Optimisation: Adam from the mean latent on MSE{tried}. "
        f"Seconds: batches of {given.batch}, {torch.get_num_threads()} CPU threads."
    )


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.photos(parser, batch=16)
    add = parser.add_argument
    add("--steps", type=int, action="append", help="of optimisation; default: 100 and 500")
    add("--lr", type=float, help="of optimisation; default: the best on other samples")


VERB = Verb("the encoder beside the mean latent and W+ optimisation", options, inversion)
