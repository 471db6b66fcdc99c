"""Published inversions that a new one is measured beside, by the parts that refinements have.

All descend the same image loss at the same rate; what sets them apart is where they begin, what
they may change, and what holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators import Generator
from dseinvert.inversion.inverter import Inversion
from dseinvert.inversion.optimise import LatentOptions, latent_refinement
from dseinvert.inversion.refinement import Budget, Refine
from dseinvert.inversion.refining import in_turn
from dseinvert.inversion.spaces import check_space, deviation
from dseinvert.inversion.tune_generator import GeneratorTuning, generator_refinement
from dseinvert.latent import Latent, concat
from dseinvert.similarity.losses import Distance

BaselineName = Literal["i2s-w", "i2s-w+", "indomain", "pti", "bdinvert"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
STEPS = 200
"""Of a baseline that is given none."""
DOMAIN = 0.25
"""Weight of the domain term, in deviations of w; In-Domain: 2, in units of w."""
DENSE = 1e-3
"""Weight of P_N. BDInvert: 0.01 beside ten times our weight of the images."""
ABOUT: dict[BaselineName, str] = {
    "i2s-w": "Image2StyleGAN, one w from the mean",
    "i2s-w+": "Image2StyleGAN, w+ from the mean",
    "indomain": f"w+ from the encoder's, {DOMAIN:g} of its distance to what the encoder finds in "
    "what is drawn",
    "pti": "half the steps for w+ from the mean, half for the generator around it (rank "
    f"{GeneratorTuning().rank}, rate {GeneratorTuning().lr:g})",
    "bdinvert": f"F and w+, w+ from the mean, F from the encoder where it has one; P_N {DENSE:g}, "
    f"F held by {LatentOptions().hold:g}",
}
"""What each is, for the protocol."""
Start = Callable[[Tensor], Latent]


@dataclass(frozen=True)
class Baseline:
    """One baseline and its steps."""

    name: BaselineName
    steps: int = STEPS

    @property
    def text(self) -> str:
        """As it is asked for: `pti:200`."""
        return f"{self.name}:{self.steps}"


WITH_ENCODER = frozenset({"indomain"})
"""Those that need the model's encoder."""


def parse_baselines(text: str) -> tuple[Baseline, ...]:
    """`none`, or `i2s-w+:500,pti`, or `all:100`.

    Raises:
        UsageError: what cannot be read.
    """
    found: list[Baseline] = []
    for part in [] if text == "none" else text.split(","):
        name, colon, steps = part.strip().partition(":")
        good = not colon or (steps.isdecimal() and int(steps) >= 2)
        if name not in ("all", *BASELINES) or not good:
            known = f"none, or all, {', '.join(BASELINES)}, each [:STEPS], several with commas"
            raise UsageError(f"--baselines {text!r}", known)
        count = int(steps) if colon else STEPS
        found += [Baseline(one, count) for one in BASELINES if name in ("all", one)]
    return tuple(dict.fromkeys(found))


def open_baseline(
    asked: Baseline,
    generator: Generator,
    encoder: Encoder | None = None,
    distance: Distance | None = None,
) -> Callable[[Tensor], Inversion]:
    """Images [B, 3, R, R] in [-1, 1] -> their inversion, free of the batch.

    Args:
        asked: which, and its steps.
        generator: PyTorch's own, for gradients go through it.
        encoder: attached to it; None = only for baselines that need none.
        distance: perceptual, added to the squared error with weight 1; None = without.

    Raises:
        UsageError: the generator has no w.
        MissingError: the baseline needs an encoder.
    """
    check_space(generator, "w+")
    start, refine = _parts(asked, generator, encoder, distance)

    def invert(images: Tensor) -> Inversion:
        images = images.to(generator.device)
        found = refine(images, start(images), Budget(asked.steps))
        return Inversion(found.latent, found.images, found.steps)

    return invert


def _parts(
    asked: Baseline, generator: Generator, encoder: Encoder | None, distance: Distance | None
) -> tuple[Start, Refine]:
    """Where it begins, and what follows."""
    mean = generator.mean_latent()

    def average(images: Tensor) -> Latent:
        return concat([mean] * len(images))

    name = asked.name
    if name == "i2s-w":
        return average, latent_refinement(generator, "w", distance=distance)
    if name == "i2s-w+":
        return average, latent_refinement(generator, "w+", distance=distance)
    if name == "pti":
        pivot = latent_refinement(generator, "w+", distance=distance)
        tune = generator_refinement(generator, distance=distance)
        half = asked.steps // 2
        return average, in_turn([(pivot, half), (tune, asked.steps - half)])
    if name == "bdinvert":
        dense = replace(LatentOptions(), dense=DENSE)
        refine = latent_refinement(generator, "f/w+", dense, distance)
        return _with_feature(average, encoder), refine
    if encoder is None:
        raise MissingError("--baselines indomain: the model has no encoder", "leave it out")
    return _encoded(encoder), _in_domain(generator, encoder, distance)


def _in_domain(generator: Generator, encoder: Encoder, distance: Distance | None) -> Refine:
    """In-Domain GAN inversion (Zhu et al., 2020): the encoder shall find the code again."""
    unit = deviation(generator, "w+")
    own = _rows(encoder)

    def domain(latent: Latent, drawn: Tensor) -> Tensor:
        again = own.encode(drawn, latent.label).code
        return DOMAIN * ((latent.code - again) / unit).square().mean((1, 2))

    return latent_refinement(generator, "w+", distance=distance, domain=domain)


def _encoded(encoder: Encoder) -> Start:
    own = _rows(encoder)

    @torch.inference_mode()
    def start(images: Tensor) -> Latent:
        return replace(own.encode(images), feature=None, layer=None)

    return start


def _with_feature(average: Start, encoder: Encoder | None) -> Start:
    """The mean's rows, and F of the encoder where it writes one."""

    @torch.inference_mode()
    def start(images: Tensor) -> Latent:
        latent = average(images)
        found = None if encoder is None else encoder.encode(images)
        if found is None or found.feature is None:
            return latent
        return replace(latent, feature=found.feature, layer=found.layer, skip=found.skip)

    return start


def _rows(encoder: Encoder) -> Encoder:
    """What writes the rows alone, without the work for F, where it can be had apart."""
    return encoder.trunk if isinstance(encoder, DSEFeatureEncoder) else encoder
