"""What `--refine`, `--space`, `--budget` and `--until` ask for, from text to a refinement."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators import Generator
from dseinvert.inversion.methods import METHODS, Given, known, method_of
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.inversion.spaces import SPACES, SpaceName, check_space
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, mse, ssim
from dseinvert.similarity.perceptual import open_distance

UNLIMITED = 100_000
"""Steps of a method that is given none where seconds are."""
METRICS = ("mse", "psnr", "ssim", "lpips", "features")


@dataclass(frozen=True)
class Stage:
    """One method and its steps."""

    method: str
    """Of METHODS."""
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
    texts = [] if refine == "none" else refine.split(",")
    stages = tuple(_stage(refine, text, timed=seconds is not None) for text in texts)
    methods = [method_of(stage.method) for stage in stages]
    for option, given in (("--space", space), ("--budget", budget), ("--until", until)):
        if given is not None and not stages:
            raise UsageError(f"{option} {given}: nothing is refined", "add --refine latent")
    for stage, method in [*zip(stages, methods, strict=True)][1:]:
        if method.leads:
            what = f"--refine {refine}: the {stage.method} comes first"
            raise UsageError(what, "it makes the latent")
    if space is not None and not any(method.in_space for method in methods):
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
    given = Given(generator, encoder, space, distance)
    parts = [(method_of(stage.method).images(given), stage.steps) for stage in asked.stages]
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
    if name not in METHODS or (colon and not (steps.isdecimal() and int(steps) > 0)):
        raise UsageError(f"--refine {refine!r}", known())
    return Stage(name, int(steps) if colon else UNLIMITED if timed else METHODS[name].steps)


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
