"""What `--refine`, `--space`, `--budget` and `--until` ask for, from text to a refinement."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators import Generator
from dseinvert.inversion.optimise import latent_refinement
from dseinvert.inversion.refinement import Budget, Distance, Refine, Refined, Watch
from dseinvert.inversion.spaces import SPACES, SpaceName, check_space
from dseinvert.inversion.tune_encoder import EncoderTuning, encoder_refinement
from dseinvert.inversion.tune_generator import generator_refinement
from dseinvert.latent import Latent
from dseinvert.similarity.losses import mse, ssim
from dseinvert.similarity.perceptual import open_distance

Method = Literal["encoder", "latent", "generator"]
STEPS: dict[Method, int] = {"encoder": 100, "latent": 200, "generator": 100}
"""Of a method that is given none."""
UNLIMITED = 100_000
"""Steps of a method that is given none where seconds are."""
METRICS = ("mse", "psnr", "ssim", "lpips", "features")


@dataclass(frozen=True)
class Stage:
    """One method and its steps."""

    method: Method
    steps: int


@dataclass(frozen=True)
class Refining:
    """All that is asked for; without stages, nothing is."""

    stages: tuple[Stage, ...] = ()
    space: SpaceName | None = None
    """Of the latent's stage; None = the space that the encoder writes."""
    seconds: float | None = None
    """An image, over all stages; None = no limit."""
    until: tuple[str, float] | None = None
    """A metric and its value; None = all steps are taken."""

    @property
    def steps(self) -> int:
        """Of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def text(self) -> str:
        """Equal for equal requests, and short: `latent:200,generator:100 f/z+ 5s lpips=0.1`."""
        words = [",".join(f"{stage.method}:{stage.steps}" for stage in self.stages) or "none"]
        words += [self.space] if self.space else []
        words += [] if self.seconds is None else [f"{self.seconds:g}s"]
        words += [] if self.until is None else ["{}={:g}".format(*self.until)]
        return " ".join(words)


def parse_refining(
    refine: str, space: str | None = None, budget: str | None = None, until: str | None = None
) -> Refining:
    """The options' texts, checked as far as they can be without a model.

    Raises:
        UsageError: which of them cannot be read, or has nothing to be about.
    """
    seconds = None if budget is None else _seconds(budget)
    methods = [] if refine == "none" else refine.split(",")
    stages = tuple(_stage(refine, text, timed=seconds is not None) for text in methods)
    names = [stage.method for stage in stages]
    for option, given in (("--space", space), ("--budget", budget), ("--until", until)):
        if given is not None and not stages:
            raise UsageError(f"{option} {given}: nothing is refined", "add --refine latent")
    if "encoder" in names[1:]:
        raise UsageError(f"--refine {refine}: the encoder comes first", "it makes the latent")
    if space is not None and "latent" not in names:
        raise UsageError(f"--space {space}: no latent is optimised", "add --refine latent")
    if space is not None and space not in SPACES:
        raise UsageError(f"--space {space!r}", f"one of {', '.join(SPACES)}")
    return Refining(stages, space, seconds, None if until is None else _until(until))


def open_refining(
    asked: Refining, generator: Generator, encoder: Encoder, distance: Distance | None = None
) -> tuple[Refine, Budget] | None:
    """The refinement and its budget; None = nothing is asked for.

    Args:
        asked: what.
        generator: PyTorch's own, for gradients go through it, as is `encoder`, attached to it.
        encoder: what gives the starts.
        distance: perceptual, a term of every method's loss; None = without.

    Raises:
        UsageError: a space that the generator does not have.
        MissingError: the metric needs a network that is not here.
    """
    if not asked.stages:
        return None
    space = asked.space or own_space(generator, encoder)
    check_space(generator, space)
    make: dict[Method, Callable[[], Refine]] = {
        "encoder": lambda: encoder_refinement(
            generator, encoder, EncoderTuning(perceptual=distance)
        ),
        "latent": lambda: latent_refinement(generator, space, distance=distance),
        "generator": lambda: generator_refinement(generator, distance=distance),
    }
    parts = [(make[stage.method](), stage.steps) for stage in asked.stages]
    value, goal = _goal(asked, generator.device)
    return in_turn(parts), Budget(asked.steps, asked.seconds, value, goal)


def own_space(generator: Generator, encoder: Encoder) -> SpaceName:
    """The space that the encoder writes, as far as there is optimisation in it."""
    if generator.spec.space == "z":
        return "z"
    return "f/w+" if "layer" in encoder.config.asdict() else "w+"


def in_turn(parts: Sequence[tuple[Refine, int]]) -> Refine:
    """Refinements with their steps, each from where the one before ended; a refinement itself.

    Each has an equal share of the seconds, and of what those before it left over. Steps count over
    all of them, also in what is watched, and an image that has reached its goal stays as it is.
    """
    if len(parts) == 1:
        return parts[0][0]

    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        began, done, taken = time.monotonic(), 0, None
        for index, (part, steps) in enumerate(parts):
            own = replace(budget, steps=steps)
            if budget.seconds is not None:
                left = budget.seconds - (time.monotonic() - began) / len(images)
                own = replace(own, seconds=max(0.0, left) / (len(parts) - index))
            found = part(images, start, own, watch and partial(_later, watch, done))
            start, taken = found.latent, found.steps if taken is None else taken + found.steps
            done += steps
        assert taken is not None
        return replace(found, steps=taken)

    return refine


def _later(watch: Watch, before: int, step: int, losses: Tensor) -> None:
    watch(before + step, losses)


def _stage(refine: str, text: str, *, timed: bool) -> Stage:
    name, colon, steps = text.strip().partition(":")
    if name not in get_args(Method) or (colon and not (steps.isdecimal() and int(steps) > 0)):
        known = "none, or encoder, latent or generator[:STEPS], several with commas"
        raise UsageError(f"--refine {refine!r}", known)
    method: Any = name
    return Stage(method, int(steps) if colon else UNLIMITED if timed else STEPS[method])


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s?", text.strip())
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"--budget {text!r}", "seconds an image, such as 5s")
    return float(found[1])


def _until(text: str) -> tuple[str, float]:
    name, _, value = (word.strip() for word in text.partition("="))
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if name not in METRICS or number != number:
        raise UsageError(f"--until {text!r}", f"METRIC=VALUE, of {', '.join(METRICS)}")
    return name, number


def _goal(asked: Refining, device: torch.device) -> tuple[float | None, Distance | None]:
    """What an image's distance must be at or below, and that distance."""
    if asked.until is None:
        return None, None
    name, value = asked.until
    if name == "psnr":
        return 4 / 10 ** (value / 10), mse
    if name == "ssim":
        return 1 - value, lambda images, drawn: 1 - ssim(images, drawn)
    if name == "mse":
        return value, mse
    try:
        return value, open_distance("lpips" if name == "lpips" else "features", device)
    except MissingError as error:
        raise MissingError(f"--until {name}: {error.what}", "or give mse, psnr or ssim") from error
