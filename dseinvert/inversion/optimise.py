"""Optimising latents image by image (Image2StyleGAN, Abdal et al., 2019): refinement and baseline.

Slow, exact and without an encoder: what a feed-forward inversion is measured against, and in every
space of `inversion.spaces` what may follow one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.inverter import Inversion
from dseinvert.inversion.refinement import Budget, Distance, Refine, Refined, Watch
from dseinvert.inversion.spaces import (
    Chart,
    Density,
    SpaceName,
    SpaceOptions,
    check_space,
    density,
    deviation,
    enter,
)
from dseinvert.latent import Latent
from dseinvert.similarity.losses import mse

Term = Distance
Domain = Callable[[Latent, Tensor], Tensor]
"""Latents and the images [B, 3, R, R] that they draw -> a loss each [B] about the latents."""
Penalty = Callable[[Latent, Mapping[str, Tensor], Tensor], Tensor]
Rate = Callable[[float], float]
"""How much of the work is done, 0..1 -> the learning rate."""


@dataclass(frozen=True)
class OptimiseOptions:
    """How latents are optimised. `warm_up` and `ramp_down` are shares of the steps."""

    steps: int = 500
    lr: float = 0.05
    warm_up: float = 0.05
    ramp_down: float = 0.25
    extra_weight: float = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0: a linear rise, then level, then half a cosine."""
        return self.rate_at((step + 0.5) / self.steps)

    def rate_at(self, done: float) -> float:
        """The learning rate once so much of the work, 0..1, is done."""
        rise = min(1.0, done / self.warm_up) if self.warm_up else 1.0
        left = min(1.0, (1 - done) / self.ramp_down) if self.ramp_down else 1.0
        return self.lr * rise * (0.5 - 0.5 * math.cos(math.pi * max(0.0, left)))


@dataclass(frozen=True)
class LatentOptions:
    """How a refinement optimises latents."""

    enter: SpaceOptions = field(default_factory=SpaceOptions)
    """How the encoder's latent enters the space."""
    lr: float = 0.1
    """Of Adam: deviations of the space a step, and for F its root mean square."""
    warm_up: float = 0.05
    """Share of the steps in which the rate rises."""
    ramp_down: float = 0.25
    """Share of the steps in which it falls."""
    mse: float = 1.0
    """Weight of the mean squared error of images in [-1, 1]."""
    perceptual: float = 1.0
    """Weight of the perceptual distance, where one is given."""
    hold: float = 0.01
    """Weight of the mean squared difference of F from where it began, over F's mean square. The
    paper: 10, beside 10 LPIPS and without the division."""
    dense: float = 0.0
    """Weight of P_N, which keeps w where samples are dense; BDInvert: 0.01. In z, 0."""


def latent_refinement(
    generator: Generator,
    space: SpaceName,
    options: LatentOptions | None = None,
    distance: Distance | None = None,
    domain: Domain | None = None,
) -> Refine:
    """Optimisation of latents in a space, as a refinement.

    The encoder's latent enters the space first, which may cost: no z+ need draw what its w+ did.
    From there on a result is never worse than its start. Results of w and z are written with a row
    for each layer, so that they are edited like others; `origin["refined_in"]` names the space.

    Args:
        generator: left as it is; gradients reach the latents only.
        space: of SPACES.
        options: None = the defaults.
        distance: perceptual, added to the squared error; None = without.
        domain: added to the loss, but no part of what is called best; None = nothing is.

    Raises:
        UsageError: a space that there is not, or not of this generator; P_N where there is no w.
    """
    options = options or LatentOptions()
    check_space(generator, space)
    if options.dense and "w" not in space:
        raise UsageError(f"P_N is about w, and --space {space} has none", "leave its weight 0")
    # Inside inference mode, and from its tensors, no gradient could be had.
    with torch.inference_mode(False):
        unit = deviation(generator, space)
        prior = density(generator) if options.dense else None

    def image_loss(images: Tensor, drawn: Tensor) -> Tensor:
        loss = options.mse * mse(images, drawn)
        return loss if distance is None else loss + options.perceptual * distance(images, drawn)

    def penalty(latent: Latent, moved: Mapping[str, Tensor], drawn: Tensor) -> Tensor:
        loss = _held(moved, options.hold) + _rare(latent, prior, options.dense)
        return loss if domain is None else loss + domain(latent, drawn)

    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        schedule = OptimiseOptions(1, options.lr, options.warm_up, options.ramp_down)
        with torch.inference_mode(False), torch.enable_grad():
            images = images.to(generator.device).clone()
            chart = enter(generator, space, start, options.enter, unit)
            found = _descend(
                chart,
                chart.zeros(),
                images,
                image_loss,
                penalty,
                schedule.rate_at,
                budget,
                watch,
            )
        latent = chart.result(found.moved)
        with torch.inference_mode():
            drawn = synthesize(generator, latent).clamp(-1, 1)
        return Refined(latent, drawn, found.steps, found.losses)

    return refine


def optimise(
    generator: Generator,
    images: Tensor,
    start: Latent | None = None,
    options: OptimiseOptions | None = None,
    extra: Term | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Inversion:
    """Find the latents that draw `images` [B, 3, R, R] in [-1, 1] best, by Adam on MSE.

    Every image has its own loss and Adam works number by number, so the batch changes a result
    by rounding only. The generator is left as it was. The best code met is returned.

    Args:
        generator: what draws; gradients reach the latents only.
        images: on any device.
        start: one latent for all or one per image, in any space, which stays theirs; a feature
            stays as it is. None = the mean latent, in w+.
        options: None = the defaults.
        extra: a loss added with `extra_weight`; None = MSE alone.
        watch: called after each step with its number from 1 and the losses [B]; None = nobody.
    """
    options = options or OptimiseOptions()

    def loss(target: Tensor, drawn: Tensor) -> Tensor:
        found = mse(target, drawn)
        return found if extra is None else found + options.extra_weight * extra(target, drawn)

    with torch.inference_mode(False), torch.enable_grad():
        images = images.to(generator.device).clone()
        latent = _spread((start or generator.mean_latent()).to(generator.device), len(images))
        chart = Chart(generator, "w+", latent, unit=1.0)
        moved = {"code": torch.zeros_like(latent.code)}
        budget = Budget(options.steps)
        found = _descend(chart, moved, images, loss, _nothing, options.rate_at, budget, watch)
        latent = chart.point(found.moved, torch.arange(len(images)))
    with torch.inference_mode():
        return Inversion(latent, synthesize(generator, latent).clamp(-1, 1))


@dataclass(frozen=True)
class _Found:
    """For each image the best that was met."""

    moved: dict[str, Tensor]
    steps: Tensor
    losses: Tensor


def _descend(
    chart: Chart,
    moved: dict[str, Tensor],
    images: Tensor,
    loss: Distance,
    penalty: Penalty,
    rate: Rate,
    budget: Budget,
    watch: Watch | None,
) -> _Found:
    """Adam from `moved`, which it changes; images that are done leave the batch."""
    began, count = time.monotonic(), len(images)
    best = {name: tensor.clone() for name, tensor in moved.items()}
    losses, latest = images.new_full((count,), math.inf), images.new_full((count,), math.inf)
    steps = torch.zeros(count, dtype=torch.int64, device=images.device)
    active = torch.arange(count, device=images.device)
    adam = torch.optim.Adam([tensor.requires_grad_() for tensor in moved.values()])
    for step in range(budget.steps + 1):
        steps[active] = step
        part = {name: tensor.detach()[active].requires_grad_() for name, tensor in moved.items()}
        latent = chart.drawn(chart.point(part, active))
        drawn = synthesize(chart.generator, latent)
        found = loss(images[active], drawn)
        with torch.no_grad():
            latest[active] = found
            better = found < losses[active]
            which = active[better]
            losses[which] = found[better]
            for name, tensor in best.items():
                tensor[which] = part[name][better]
            reached = _reached(budget, images[active], drawn, found) & better
        if watch is not None and step:
            watch(step, latest.clone())
        done = _done(step, budget, (time.monotonic() - began) / count)
        if done >= 1 or reached.all():
            break
        total = (found + penalty(latent, part, drawn))[~reached].sum()
        gradients = torch.autograd.grad(total, list(part.values()))
        for tensor, gradient in zip(moved.values(), gradients, strict=True):
            tensor.grad = torch.zeros_like(tensor).index_copy_(0, active, gradient)
        adam.param_groups[0]["lr"] = rate(done)
        adam.step()
        chart.retract(moved)
        active = active[~reached]
    return _Found({name: tensor.detach() for name, tensor in best.items()}, steps, losses)


def _done(step: int, budget: Budget, seconds: float) -> float:
    """The share of the work that is behind, in the middle of the coming step; from 1 on, all."""
    by_steps = (step + 0.5) / budget.steps if step < budget.steps else 1.0
    return by_steps if budget.seconds is None else max(by_steps, seconds / budget.seconds)


def _reached(budget: Budget, images: Tensor, drawn: Tensor, found: Tensor) -> Tensor:
    """[B] bool: which images need no further step."""
    if budget.until is None:
        return torch.zeros_like(found, dtype=torch.bool)
    goal = found if budget.goal is None else budget.goal(images, drawn.clamp(-1, 1))
    return goal <= budget.until


def _held(moved: Mapping[str, Tensor], weight: float) -> Tensor:
    """How far F is from where it began, in units of its mean square, weighted: [B]."""
    if "feature" not in moved or not weight:
        return torch.zeros(())
    return weight * moved["feature"].square().mean(dim=(1, 2, 3))


def _rare(latent: Latent, prior: Density | None, weight: float) -> Tensor:
    return torch.zeros(()) if prior is None else weight * prior(latent.code)


def _nothing(latent: Latent, moved: Mapping[str, Tensor], drawn: Tensor) -> Tensor:
    return torch.zeros(())


def _spread(latent: Latent, count: int) -> Latent:
    """One latent for each of `count` images, in tensors of its own."""
    tensors = {
        name: tensor.detach().expand(count, *tensor.shape[1:]).clone()
        for name, tensor in latent.tensors().items()
    }
    return replace(
        latent,
        code=tensors["code"],
        feature=tensors.get("feature"),
        label=tensors.get("label"),
        style=tensors.get("style"),
    )
