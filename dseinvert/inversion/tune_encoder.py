"""Tuning the encoder to each image: Yu and Wang, "Improving GAN inversion via fine-tuning GAN
encoders", Section 3.3, Equations 4 to 6.

The weights are tuned, not the latent. Each image of a batch has its own copy of them, and the
encoder itself stays as it was.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.inversion.own_weights import Named, Part, Scope, part_of
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.latent import Latent
from dseinvert.similarity.attention import Scales, centre_crops
from dseinvert.similarity.losses import Distance, image_loss, latent_loss
from dseinvert.similarity.weights import Attention, LossWeights

FINE_TUNING = Attention(0.375, 0.625)
"""mu1 and mu2 of Section 3.1."""
BETA2 = 0.99
BETTER = 0.99
"""A loss this much lower counts as progress."""


@dataclass(frozen=True)
class EncoderTuning:
    """How encoders are tuned; `warm_up` and `ramp_down` are shares of the budget.

    Published are scope "all", a constant rate of 0.005 and momentum 0.
    """

    scope: Scope = "tail"
    """all = every weight; tail = what comes last, for a fraction of the work."""
    lr: float | None = None
    """Of Adam; that of each weight is this times its spread in an untrained encoder. None = 0.005
    for all weights; for the tail 0.04 from 100 steps on and less for fewer, 0.01 at least."""
    momentum: float = 0.9
    """Adam's first beta; its second is 0.99."""
    warm_up: float = 0.05
    ramp_down: float = 0.25
    patience: int = 50
    """Steps without 1 % of progress after which an image is done."""
    weights: LossWeights = field(default_factory=lambda: LossWeights(epsilon=0))
    """Of the image loss. epsilon = of the latent loss, published 0.01: it asks that the encoder
    finds its code again in what is drawn, and takes twice the time; 0 = without."""
    scales: Scales = field(default_factory=lambda: centre_crops(FINE_TUNING))
    """What is compared besides the whole images."""
    perceptual: Distance | None = None
    """None = no perceptual term."""
    pull: float = 3e-4
    """Weight of the length of the code. In the published program; the paper does not name it."""
    towards: Literal["mean", "zero"] = "mean"
    """Where the code is pulled to; published is zero."""

    def rate(self, steps: int, done: float) -> float:
        """The learning rate once that share of a budget of so many steps is used up."""
        own = 0.005 if self.scope == "all" else min(0.04, max(0.01, 0.0004 * steps))
        lr = own if self.lr is None else self.lr
        rise = min(1.0, done / self.warm_up) if self.warm_up else 1.0
        left = min(1.0, (1 - done) / self.ramp_down) if self.ramp_down else 1.0
        return lr * rise * (0.5 - 0.5 * math.cos(math.pi * max(0.0, left)))


def encoder_refinement(
    generator: Generator, encoder: Encoder, options: EncoderTuning | None = None
) -> Refine:
    """The refinement that tunes `encoder`, which is attached to `generator`; both stay as they are.

    Args:
        generator: frozen and ready for inference, as is the encoder.
        encoder: of any kind.
        options: None = the defaults.
    """
    options = options or EncoderTuning()
    part = part_of(encoder, generator, options.scope)
    anchor = generator.mean_latent().code if options.towards == "mean" else None

    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        # Inside inference mode, and from its tensors, no gradient could be had.
        with torch.inference_mode(False), torch.enable_grad():
            images = images.to(generator.device).clone()
            start = start.to(generator.device)
            named = {name: tensor.clone() for name, tensor in start.tensors().items()}
            return _Task(generator, part, options, budget, anchor, start).run(images, named, watch)

    return refine


@dataclass
class _Best:
    """For each image of the batch the best that was met."""

    latent: Named
    images: Tensor
    losses: Tensor
    goals: Tensor
    """What `until` of the budget is about."""
    steps: Tensor

    def keep(self, at: Tensor, found: Named, images: Tensor, losses: Tensor, goals: Tensor) -> None:
        """Of the images `at` of the batch, take over those that have a lower loss now."""
        lower = losses < self.losses[at]
        where = at[lower]
        for name in ("code", "feature"):
            if name in found:
                self.latent[name][where] = found[name][lower]
        self.images[where], self.losses[where] = images[lower], losses[lower]
        self.goals[where] = goals[lower]


@dataclass
class _Going:
    """The images that are not done yet, and all that belongs to them."""

    at: Tensor
    """Which of the batch they are."""
    images: Tensor
    seen: Named
    own: Named
    first: Named
    """Adam's moments."""
    second: Named
    mark: Tensor
    """The loss at the last progress, and its step."""
    since: Tensor

    @torch.no_grad()
    def only(self, left: Tensor) -> _Going:
        """Those for which `left` [B] is true."""

        def some(named: Named) -> Named:
            return {name: tensor[left] for name, tensor in named.items()}

        return _Going(
            self.at[left],
            self.images[left],
            some(self.seen),
            some(self.own),
            some(self.first),
            some(self.second),
            self.mark[left],
            self.since[left],
        )


@dataclass(frozen=True)
class _Task:
    """One call of the refinement."""

    generator: Generator
    part: Part
    options: EncoderTuning
    budget: Budget
    anchor: Tensor | None
    """[1, L, D], where codes are pulled to; None = to zero."""
    start: Latent

    def run(self, images: Tensor, start: Named, watch: Watch | None) -> Refined:
        began, steps = time.monotonic(), self.budget.steps
        seconds = math.inf
        if self.budget.seconds is not None:
            seconds = max(1e-9, self.budget.seconds * len(images))
        best, going = self._begin(images, start)
        for step in range(steps + 1):
            found, drawn, losses = self._look(going)
            self._keep(best, going, found, drawn, losses)
            if step and watch is not None:
                watch(step, best.losses.clone())
            left = self._left(best, going, losses.detach(), step)
            done = max(step / steps if steps else 1.0, (time.monotonic() - began) / seconds)
            if done >= 1 or not left.any():
                break
            self._descend(going, self._objective(going, found, drawn, losses), step, done)
            best.steps[going.at[left]] += 1
            going = going if left.all() else going.only(left)
        latent = replace(self.start, code=best.latent["code"], feature=best.latent.get("feature"))
        return Refined(latent, best.images.clamp(-1, 1), best.steps, best.losses)

    @torch.no_grad()
    def _begin(self, images: Tensor, start: Named) -> tuple[_Best, _Going]:
        drawn = self.generator.synthesize(self._latent(start, start.get("label")))
        losses = self._losses(images, drawn)
        none = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        best = _Best(start, drawn, losses, self._goals(images, drawn, losses), none.clone())
        seen = self.part.see(images, start.get("label"))
        seen |= {"label": start["label"]} if "label" in start else {}
        own = self.part.begin(seen)
        first, second = (
            {name: torch.zeros_like(weight) for name, weight in own.items()} for _ in range(2)
        )
        at = torch.arange(len(images), device=images.device)
        return best, _Going(at, images, seen, own, first, second, losses.clone(), none)

    def _look(self, going: _Going) -> tuple[Named, Tensor, Tensor]:
        """The latents that the weights give, what is drawn from them, and the image losses [B]."""
        for weight in going.own.values():
            weight.requires_grad_(True)
        found = self.part.encode(going.own, going.seen)
        if ("feature" in found) != (self.start.feature is not None):
            raise ValueError("the start is not a latent of this encoder")
        drawn = self.generator.synthesize(self._latent(found, going.seen.get("label")))
        return found, drawn, self._losses(going.images, drawn)

    def _latent(self, found: Named, label: Tensor | None) -> Latent:
        return replace(self.start, code=found["code"], feature=found.get("feature"), label=label)

    @torch.no_grad()
    def _keep(
        self, best: _Best, going: _Going, found: Named, drawn: Tensor, losses: Tensor
    ) -> None:
        drawn, losses = drawn.detach(), losses.detach()
        goals = self._goals(going.images, drawn, losses)
        best.keep(going.at, {n: t.detach() for n, t in found.items()}, drawn, losses, goals)

    def _left(self, best: _Best, going: _Going, losses: Tensor, step: int) -> Tensor:
        """Which images still make progress and have not reached the goal [B]."""
        progress = losses < BETTER * going.mark
        going.mark = torch.where(progress, losses, going.mark)
        going.since = torch.where(progress, step, going.since)
        left = (step - going.since < self.options.patience) & losses.isfinite()
        return left & (best.goals[going.at] > (self.budget.until or -math.inf))

    def _objective(self, going: _Going, found: Named, drawn: Tensor, losses: Tensor) -> Tensor:
        """Equation 6 and the pull, of all images together."""
        code, weights = found["code"], self.options.weights
        away = code if self.anchor is None else code - self.anchor
        total = losses + self.options.pull * away.flatten(1).norm(dim=1)
        if not weights.epsilon:
            return total.sum()
        label = going.seen.get("label")
        seen = self.part.see(drawn, label)
        again = self.part.encode(going.own, seen if label is None else {**seen, "label": label})
        plain = replace(weights, kl=0)  # Equation 4 has no KL term
        latent = latent_loss(code, again["code"], plain)
        if "end" in found and "end" in again:  # Equation 5
            latent = latent + latent_loss(_row(found["end"]), _row(again["end"]), plain)
        return (total + weights.epsilon * latent).sum()

    @torch.no_grad()
    def _descend(self, going: _Going, total: Tensor, step: int, done: float) -> None:
        """One step of Adam; images do not meet in it."""
        names, lr, beta = (
            [*going.own],
            self.options.rate(self.budget.steps, done),
            self.options.momentum,
        )
        weights = [going.own[name] for name in names]
        slopes = torch.autograd.grad(total, weights, allow_unused=True)
        for name, weight, slope in zip(names, weights, slopes, strict=True):
            if slope is None:  # as of the noise that inference does not draw
                continue
            first = going.first[name].lerp_(slope, 1 - beta)
            second = going.second[name].mul_(BETA2).addcmul_(slope, slope, value=1 - BETA2)
            root = (second / (1 - BETA2 ** (step + 1))).sqrt_().add_(1e-8)
            size = lr * self.part.rates(name, weight) / (1 - beta ** (step + 1))
            weight.addcdiv_(first, root, value=-size)

    def _losses(self, images: Tensor, drawn: Tensor) -> Tensor:
        options = self.options
        return image_loss(images, drawn, options.weights, options.scales, options.perceptual)[0]

    def _goals(self, images: Tensor, drawn: Tensor, losses: Tensor) -> Tensor:
        goal = self.budget.goal
        if self.budget.until is None or goal is None:
            return losses.clone()
        return goal(images, drawn.clamp(-1, 1)).clone()


def _row(end: Tensor) -> Tensor:
    """[B, ...] -> [B, 1, N], so that it is compared as a whole."""
    return end.flatten(1)[:, None]
