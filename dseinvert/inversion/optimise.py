"""Optimising latents image by image (Image2StyleGAN, Abdal et al., 2019), in every space.

Slow and exact: what may follow a feed-forward inversion, and what one is measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.descend import Best, Look, Moved, Step, descend, scheduled
from dseinvert.inversion.names import SpaceName
from dseinvert.inversion.refinement import Before, Budget, Refine, Refined, Watch
from dseinvert.inversion.spaces import (
    Chart,
    Density,
    SpaceOptions,
    check_space,
    density,
    deviation,
    enter,
)
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, mse

Domain = Callable[[Latent, Tensor], Tensor]
"""Latents and the images [B, 3, R, R] that they draw -> a loss each [B] about the latents."""
Penalty = Callable[[Latent, Mapping[str, Tensor], Tensor], Tensor]
"""Latents, how far they are from their start, and what they draw -> a loss each [B]."""


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

    def rate(self, done: float) -> float:
        """The learning rate once that share of the budget is used up, 0..1."""
        return scheduled(self.lr, done, self.warm_up, self.ramp_down, cosine=True)


def latent_refinement(
    generator: Generator,
    space: SpaceName,
    options: LatentOptions | None = None,
    distance: Distance | None = None,
    domain: Domain | None = None,
) -> Refine:
    """Optimisation of latents in a space, as a refinement.

    The encoder's latent enters the space first, which may cost: no z+ need draw what its w+ did.
    From there on a result is never worse than its start; what it was before is told in
    `Refined.before`. Results of w and z are written with a row for each layer, so that they are
    edited like others; `origin["refined_in"]` names the space.

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
        with torch.inference_mode(False), torch.enable_grad():
            images = images.to(generator.device).clone()
            came = before(generator, images, start, image_loss)
            chart = enter(generator, space, start, options.enter, unit)
            look, move, begin = _steps(chart, images, image_loss, penalty, options)
            best = descend(images, look, move, begin, budget, watch)
        latent = chart.result(best.found)
        with torch.inference_mode():
            drawn = synthesize(generator, latent).clamp(-1, 1)
        return Refined(latent, drawn, best.steps, best.losses, (came,))

    return refine


@torch.no_grad()
def before(generator: Generator, images: Tensor, start: Latent, loss: Distance) -> Before:
    """A start as it came, and how far what it draws is from `images` [B, 3, R, R]."""
    start = start.to(generator.device)
    drawn = synthesize(generator, start)
    return Before(start, drawn.clamp(-1, 1), loss(images, drawn))


def _steps(
    chart: Chart, images: Tensor, loss: Distance, penalty: Penalty, options: LatentOptions
) -> tuple[Callable[[Tensor, int], Look], Callable[[Step], None], Best]:
    """What `descend` asks for; moved is how far each latent is from where the chart begins."""
    moved = Moved(chart.zeros())

    def look(at: Tensor, number: int) -> Look:
        part = moved.part(at)
        latent = chart.drawn(chart.point(part, at))
        drawn = synthesize(chart.generator, latent)
        losses = loss(images[at], drawn)
        return Look(part, drawn, losses, lambda: losses + penalty(latent, part, drawn))

    def move(step: Step) -> None:
        moved.move(step, options.rate(step.done))
        chart.retract(moved.tensors)

    return look, move, Best.unknown(moved.tensors)


def _held(moved: Mapping[str, Tensor], weight: float) -> Tensor:
    """How far F is from where it began, in units of its mean square, weighted: [B]."""
    if "feature" not in moved or not weight:
        return torch.zeros(())
    return weight * moved["feature"].square().mean(dim=(1, 2, 3))


def _rare(latent: Latent, prior: Density | None, weight: float) -> Tensor:
    """P_N of w, weighted: [B] (Zhu et al., 2020)."""
    return torch.zeros(()) if prior is None else weight * prior(latent.code)
