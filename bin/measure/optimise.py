"""Optimising latents from their mean on the squared error alone: what encoders are measured beside.

Slow, exact and without an encoder (Image2StyleGAN, Abdal et al., 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dseinvert.generators import Generator
from dseinvert.generators.tuned import synthesize
from dseinvert.inversion.descend import Best, Look, Moved, Step, descend, scheduled
from dseinvert.inversion.inverter import Inversion
from dseinvert.inversion.refinement import Budget
from dseinvert.inversion.spaces import Chart
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, mse


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
        return scheduled(self.lr, done, self.warm_up, self.ramp_down, cosine=True)


def optimise(
    generator: Generator,
    images: Tensor,
    start: Latent | None = None,
    options: OptimiseOptions | None = None,
    extra: Distance | None = None,
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
        moved = Moved({"code": torch.zeros_like(latent.code)})

        def look(at: Tensor, number: int) -> Look:
            part = moved.part(at)
            drawn = synthesize(generator, chart.point(part, at))
            losses = loss(images[at], drawn)
            return Look(part, drawn, losses, lambda: losses)

        def move(step: Step) -> None:
            moved.move(step, options.rate_at(step.done))
            chart.retract(moved.tensors)

        begin = Best.unknown(moved.tensors)
        best = descend(images, look, move, begin, Budget(options.steps), watch)
        latent = chart.point(best.found, torch.arange(len(images)))
    with torch.inference_mode():
        return Inversion(latent, synthesize(generator, latent).clamp(-1, 1))


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
