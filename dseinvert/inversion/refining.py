"""From what `--refine`, `--space`, `--budget` and `--until` ask for to a refinement."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.encoders.kinds import CHANGE_WEIGHTS, LOOKS_AGAIN
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators import Generator
from dseinvert.inversion.asked import Refining
from dseinvert.inversion.methods import Given, method_of
from dseinvert.inversion.names import SpaceName
from dseinvert.inversion.refinement import Before, Budget, Refine, Refined, Watch
from dseinvert.inversion.spaces import check_space
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, mse, ssim
from dseinvert.similarity.perceptual import open_distance


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
    _check_encoder(asked, encoder)
    space = asked.space or own_space(generator, encoder)
    check_space(generator, space)
    given = Given(generator, encoder, space, distance)
    parts = [(method_of(stage.method).images(given), stage.steps) for stage in asked.stages]
    value, goal = _goal(asked, generator.device)
    return in_turn(parts), Budget(asked.steps, asked.seconds, value, goal)


def _check_encoder(asked: Refining, encoder: Encoder) -> None:
    """UsageError for an encoder that cannot be tuned, or begins with a changed generator."""
    kind = encoder.kind
    tuned = any(stage.method == "encoder" for stage in asked.stages)
    if kind in CHANGE_WEIGHTS or (tuned and kind in LOOKS_AGAIN):
        raise UsageError(f"--refine {asked.text}: not with an encoder of {kind}", "leave it out")


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
        before: tuple[Before, ...] = ()
        maps: Tensor | None = None
        for index, (part, steps) in enumerate(parts):
            own = replace(budget, steps=steps)
            if budget.seconds is not None:
                left = budget.seconds - (time.monotonic() - began) / len(images)
                own = replace(own, seconds=max(0.0, left) / (len(parts) - index))
            found = part(images, start, own, watch and partial(_later, watch, done))
            start, taken = found.latent, found.steps if taken is None else taken + found.steps
            before, maps = (*before, *found.before), maps if found.maps is None else found.maps
            done += steps
        assert taken is not None
        return replace(found, steps=taken, before=before, maps=maps)

    return refine


def _later(watch: Watch, before: int, step: int, losses: Tensor) -> None:
    watch(before + step, losses)


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
