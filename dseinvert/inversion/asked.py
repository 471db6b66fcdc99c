"""What `--refine`, `--space`, `--budget` and `--until` ask for: their texts, before any network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dseinvert.errors import UsageError
from dseinvert.inversion.methods import METHODS, ClipMethod, known, listed, method_of
from dseinvert.inversion.names import SPACES, SpaceName
from dseinvert.names import suggested

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
        wanted = f"one of {', '.join(SPACES)}"
        raise UsageError(f"--space {space!r}", suggested(space, SPACES, wanted))
    return Refining(stages, space, seconds, None if until is None else _until(until))


def clip_refining(text: str) -> Refining:
    """What `--refine` asks for a clip.

    Raises:
        UsageError: it cannot be read, or is done frame by frame.
    """
    asked = parse_refining(text)
    names = [stage.method for stage in asked.stages]
    for name in names:
        of_clips(text, name)
    if len({*names}) < len(names):
        known = f"{listed('and', clip=True)} once each, with more steps"
        raise UsageError(f"--refine {text}", known)
    return asked


def of_clips(asked: str, name: str) -> ClipMethod:
    """How a method is done for a clip; UsageError where it is not, or is not a method.

    `asked` is the text that named it.
    """
    method = method_of(name)
    if method.clip is None:
        raise UsageError(
            f"--refine {asked}: {method.moves} refined frame by frame flicker",
            f"{listed('or', clip=True)}, which all frames share",
        )
    return method.clip


def _stage(refine: str, text: str, *, timed: bool) -> Stage:
    name, colon, steps = text.strip().partition(":")
    if name not in METHODS or (colon and not (steps.isdecimal() and int(steps) > 0)):
        raise UsageError(f"--refine {refine!r}", suggested(name, METHODS, known()))
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
        wanted = f"METRIC=VALUE, of {', '.join(METRICS)}"
        raise UsageError(f"--until {text!r}", suggested(name, {*METRICS} - {name}, wanted))
    return name, number
