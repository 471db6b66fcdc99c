"""Optimising latents image by image (Image2StyleGAN, Abdal et al., 2019): refinement and baseline.

Slow, exact and without an encoder: what a feed-forward inversion is measured against.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dseinvert.generators import Generator
from dseinvert.inversion.inverter import Inversion
from dseinvert.latent import Latent

Term = Callable[[Tensor, Tensor], Tensor]
"""Two batches of images [B, 3, R, R], target and drawn -> a loss per image [B]."""


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
        done = (step + 0.5) / self.steps
        rise = min(1.0, done / self.warm_up) if self.warm_up else 1.0
        left = min(1.0, (1 - done) / self.ramp_down) if self.ramp_down else 1.0
        return self.lr * rise * (0.5 - 0.5 * math.cos(math.pi * left))


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
    by rounding only. The generator is left as it was.

    Args:
        generator: what draws; gradients reach the latents only.
        images: on any device.
        start: one latent for all or one per image, in any space, which stays theirs;
            None = the mean latent, in w+.
        options: None = the defaults.
        extra: a loss added with `extra_weight`; None = MSE alone.
        watch: called after each step with its number from 1 and the losses [B]; None = nobody.
    """
    options = options or OptimiseOptions()
    # Inside inference mode, and from its tensors, no gradient could be had.
    with torch.inference_mode(False), torch.enable_grad():
        images = images.to(generator.device).clone()
        latent = _cloned((start or generator.mean_latent()).to(generator.device))
        code = latent.code.expand(len(images), -1, -1).clone().requires_grad_()
        adam = torch.optim.Adam([code], betas=(0.9, 0.999), eps=1e-8)
        for step in range(options.steps):
            drawn = generator.synthesize(replace(latent, code=code))
            losses = (drawn - images).square().mean(dim=(1, 2, 3))
            if extra is not None:
                losses = losses + options.extra_weight * extra(images, drawn)
            (code.grad,) = torch.autograd.grad(losses.sum(), code)
            adam.param_groups[0]["lr"] = options.rate(step)
            adam.step()
            if watch is not None:
                watch(step + 1, losses.detach())
    found = replace(latent, code=code.detach())
    with torch.inference_mode():
        return Inversion(found, generator.synthesize(found).clamp(-1, 1))


def _cloned(latent: Latent) -> Latent:
    feature = None if latent.feature is None else latent.feature.detach().clone()
    return replace(latent, code=latent.code.detach().clone(), feature=feature)
