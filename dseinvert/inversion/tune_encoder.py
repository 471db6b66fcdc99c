"""Tuning the encoder to each image: Yu and Wang, "Improving GAN inversion via fine-tuning GAN
encoders", Section 3.3, Equations 4 to 6.

The weights are tuned, not the latent. Each image of a batch has its own copy of them, and the
encoder itself stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.inversion.descend import Best, Look, Named, Rules, Step, descend, owned, scheduled
from dseinvert.inversion.own_weights import Part, Scope, part_of
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.latent import Latent
from dseinvert.similarity.attention import Scales, centre_crops
from dseinvert.similarity.losses import Distance, image_loss, latent_loss
from dseinvert.similarity.weights import Attention, LossWeights

FINE_TUNING = Attention(0.375, 0.625)
"""mu1 and mu2 of Section 3.1."""
BETA2 = 0.99
"""Adam's second beta."""


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
        """The learning rate once that share, 0..1, of a budget of so many steps is used up."""
        own = 0.005 if self.scope == "all" else min(0.04, max(0.01, 0.0004 * steps))
        lr = own if self.lr is None else self.lr
        return scheduled(lr, done, self.warm_up, self.ramp_down, cosine=True)


def encoder_refinement(
    generator: Generator, encoder: Encoder, options: EncoderTuning | None = None
) -> Refine:
    """The refinement that tunes `encoder`, which is attached to `generator`; both stay as they are.

    A start need not be the encoder's own latent: the better of the two is where an image begins.

    Args:
        generator: frozen and ready for inference, as is the encoder.
        encoder: of any kind.
        options: None = the defaults.

    Raises (when called):
        ValueError: the start has a feature, and this encoder writes none, or the other way round.
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
            start = owned(start.to(generator.device))
            return _Task(generator, part, options, budget, anchor, start).run(images, watch)

    return refine


@dataclass
class _Copies:
    """The images that are not done yet, and each one's copy of the weights."""

    images: Tensor
    seen: Named
    own: Named
    first: Named
    """Adam's moments."""
    second: Named

    @torch.no_grad()
    def only(self, left: Tensor) -> None:
        """Go on with those for which `left` [b] is true."""

        def some(named: Named) -> Named:
            return {name: tensor[left] for name, tensor in named.items()}

        self.images, self.seen, self.own = self.images[left], some(self.seen), some(self.own)
        self.first, self.second = some(self.first), some(self.second)


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

    def run(self, images: Tensor, watch: Watch | None) -> Refined:
        """Images [B, 3, R, R] in [-1, 1] -> the best of each, the start's own among them."""
        copies = self._copies(images)
        rules = Rules(within=0.0, told="best", patience=self.options.patience)
        look, move = partial(self._look, copies), partial(self._move, copies)
        best = descend(images, look, move, self._begin(images), self.budget, watch, rules)
        found = best.found
        latent = replace(self.start, code=found["code"], feature=found.get("feature"))
        return Refined(latent, found["images"].clamp(-1, 1), best.steps, best.losses)

    @torch.no_grad()
    def _begin(self, images: Tensor) -> Best:
        """The start, which need not be what the encoder makes of the images."""
        drawn = self.generator.synthesize(self.start)
        losses = self._losses(images, drawn)
        found = {"code": self.start.code.clone(), "images": drawn}
        if self.start.feature is not None:
            found["feature"] = self.start.feature.clone()
        return Best.of(found, losses, self.budget.judged(images, drawn, losses).clone())

    @torch.no_grad()
    def _copies(self, images: Tensor) -> _Copies:
        label = self.start.label
        seen = self.part.see(images, label)
        seen |= {} if label is None else {"label": label}
        own = self.part.begin(seen)
        first, second = (
            {name: torch.zeros_like(weight) for name, weight in own.items()} for _ in range(2)
        )
        return _Copies(images, seen, own, first, second)

    def _look(self, copies: _Copies, at: Tensor, number: int) -> Look:
        """What the weights give, and draw."""
        for weight in copies.own.values():
            weight.requires_grad_(True)
        found = self.part.encode(copies.own, copies.seen)
        if ("feature" in found) != (self.start.feature is not None):
            raise ValueError("the start is not a latent of this encoder")
        drawn = self.generator.synthesize(self._latent(found, copies.seen.get("label")))
        losses = self._losses(copies.images, drawn)
        objective = partial(self._objective, copies, found, drawn, losses)
        return Look({**found, "images": drawn}, drawn, losses, objective)

    def _latent(self, found: Named, label: Tensor | None) -> Latent:
        return replace(self.start, code=found["code"], feature=found.get("feature"), label=label)

    def _objective(self, copies: _Copies, found: Named, drawn: Tensor, losses: Tensor) -> Tensor:
        """Equation 6 and the pull [b]."""
        code, weights = found["code"], self.options.weights
        away = code if self.anchor is None else code - self.anchor
        total = losses + self.options.pull * away.flatten(1).norm(dim=1)
        if not weights.epsilon:
            return total
        label = copies.seen.get("label")
        seen = self.part.see(drawn, label)
        again = self.part.encode(copies.own, seen if label is None else {**seen, "label": label})
        plain = replace(weights, kl=0)  # Equation 4 has no KL term
        latent = latent_loss(code, again["code"], plain)
        if "end" in found and "end" in again:  # Equation 5
            latent = latent + latent_loss(_row(found["end"]), _row(again["end"]), plain)
        return total + weights.epsilon * latent  # Equation 6

    @torch.no_grad()
    def _move(self, copies: _Copies, step: Step) -> None:
        """One step of Adam, at a rate of each weight's own; images do not meet in it."""
        lr, beta = self.options.rate(self.budget.steps, step.done), self.options.momentum
        slopes = torch.autograd.grad(step.total, [*copies.own.values()], allow_unused=True)
        for (name, weight), slope in zip(copies.own.items(), slopes, strict=True):
            if slope is None:  # as of the noise that inference does not draw
                continue
            first = copies.first[name].lerp_(slope, 1 - beta)
            second = copies.second[name].mul_(BETA2).addcmul_(slope, slope, value=1 - BETA2)
            root = (second / (1 - BETA2 ** (step.number + 1))).sqrt_().add_(1e-8)
            size = lr * self.part.rates(name, weight) / (1 - beta ** (step.number + 1))
            weight.addcdiv_(first, root, value=-size)
        if not step.left.all():
            copies.only(step.left)

    def _losses(self, images: Tensor, drawn: Tensor) -> Tensor:
        options = self.options
        return image_loss(images, drawn, options.weights, options.scales, options.perceptual)[0]


def _row(end: Tensor) -> Tensor:
    """[B, ...] -> [B, 1, N], so that it is compared as a whole."""
    return end.flatten(1)[:, None]
