"""The descent under every refinement of images: steps, rate, budget, and the best of each so far.

A method says what is moved and by what loss, in two functions: `look` and `move`. Whatever it
moves, an image's result is free of its batch, and an image that has reached its goal stays as it
is. Weights that all frames of a clip share have a descent of their own, in `clip_descent`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dseinvert.inversion.adam import Adam
from dseinvert.inversion.refinement import Budget, Watch
from dseinvert.latent import Latent

Named = dict[str, Tensor]
"""Tensors by name; where they are of images, all have the batch in front."""
Which = Literal["best", "latest"]
BETTER = 0.99
"""A loss this much lower counts as progress."""


@dataclass(frozen=True)
class Look:
    """What b images of a batch have come to."""

    found: Mapping[str, Tensor]
    """All [b, ...]: what is kept of each image where it is the best so far."""
    drawn: Tensor
    """[b, 3, R, R], not clamped."""
    losses: Tensor
    """[b] that say what is best."""
    total: Callable[[], Tensor]
    """-> what is descended [b]; only asked for where a step follows."""


@dataclass(frozen=True)
class Step:
    """One step, to be taken."""

    total: Tensor
    """What is descended, of all images that go on; a single number."""
    at: Tensor
    """[b] which images of the batch were looked at."""
    left: Tensor
    """[b] bool: which of these go on."""
    number: int
    """From 0."""
    done: float
    """How much of the budget is behind, 0..1."""


@dataclass
class Best:
    """For each of B images the best that was met; a descent writes into it."""

    found: Named
    """All [B, ...]."""
    losses: Tensor
    """[B]."""
    goals: Tensor
    """[B] what `Budget.until` is about, of the best."""
    steps: Tensor
    """[B] int64: steps taken."""
    began: Tensor
    """[B] losses before the first step."""

    @classmethod
    def of(cls, found: Named, losses: Tensor, goals: Tensor) -> Best:
        """A start that is judged already: tensors [B, ...], its losses [B] and goals [B]."""
        steps = torch.zeros(len(losses), dtype=torch.int64, device=losses.device)
        return cls(found, losses, goals, steps, losses.clone())

    @classmethod
    def unknown(cls, found: Mapping[str, Tensor]) -> Best:
        """A start [B, ...] that is judged at the first look; copied."""
        kept = {name: tensor.detach().clone() for name, tensor in found.items()}
        one = next(iter(kept.values()))
        losses = one.new_full((len(one),), math.inf)
        return cls.of(kept, losses, losses.clone())

    def keep(self, at: Tensor, seen: Look, losses: Tensor, goals: Tensor) -> None:
        """Of the images `at` [b], take over those that have a lower loss now."""
        lower = losses < self.losses[at]
        where = at[lower]
        for name, tensor in self.found.items():
            tensor[where] = seen.found[name].detach()[lower]
        self.losses[where], self.goals[where] = losses[lower], goals[lower]


@dataclass(frozen=True)
class Rules:
    """Where methods differ, each as it was published or measured."""

    within: float = 0.5
    """The point of a step that its rate is for: 0 = its beginning, 0.5 = its middle."""
    goal: Which = "best"
    """Whether an image is done when its best reaches the goal, or when what was drawn last does."""
    told: Which = "latest"
    """Whose losses are watched."""
    patience: int | None = None
    """Steps without 1 % of progress after which an image is done, as it is where its loss is no
    number; None = it goes on."""


def descend(
    images: Tensor,
    look: Callable[[Tensor, int], Look],
    move: Callable[[Step], None],
    best: Best,
    budget: Budget,
    watch: Watch | None = None,
    rules: Rules | None = None,
) -> Best:
    """Look, keep the best, and move, until the budget ends or no image has anything left to do.

    Args:
        images: what is to be drawn, [B, 3, R, R] in [-1, 1], where gradients may be had.
        look: which images of the batch [b], and the steps taken -> what they have come to.
        move: takes a step; images must not meet in it.
        best: where it begins; written into, and returned.
        budget: when it ends.
        watch: hears of every step; None = nobody.
        rules: None = the defaults.
    """
    rules, began, count = rules or Rules(), time.monotonic(), len(images)
    at = torch.arange(count, device=images.device)
    latest, progress = best.losses.clone(), _Progress(best.losses.clone(), best.steps.clone())
    for number in range(budget.steps + 1):
        best.steps[at] = number
        seen = look(at, number)
        with torch.no_grad():
            losses = seen.losses.detach()
            goals = budget.judged(images[at], seen.drawn.detach(), losses)
            latest[at] = losses
            best.began = latest.clone() if number == 0 else best.began
            best.keep(at, seen, losses, goals)
            left = ~budget.reached(best.goals[at] if rules.goal == "best" else goals)
            if rules.patience is not None:
                left &= progress.left(at, losses, number, rules.patience)
        if watch is not None and number:
            watch(number, (best.losses if rules.told == "best" else latest).clone())
        done = budget.done(number, (time.monotonic() - began) / count, rules.within)
        if done >= 1 or not left.any():
            break
        move(Step(seen.total()[left].sum(), at, left, number, done))
        at = at[left]
    return best


@dataclass
class _Progress:
    """The loss [B] at each image's last progress, and the step [B] of it."""

    mark: Tensor
    since: Tensor

    def left(self, at: Tensor, losses: Tensor, number: int, patience: int) -> Tensor:
        """[b] bool: which of the images `at` still make progress."""
        better = losses < BETTER * self.mark[at]
        self.mark[at] = torch.where(better, losses, self.mark[at])
        self.since[at] = torch.where(better, number, self.since[at])
        return (number - self.since[at] < patience) & losses.isfinite()


class Moved:
    """Tensors [B, ...] that Adam moves; it works number by number, so that images do not meet."""

    def __init__(self, tensors: Named, times: Mapping[str, float] | None = None) -> None:
        """`times`: what the rate is multiplied by, for each name; None = by 1."""
        self.tensors = tensors
        self._part: Named = {}
        self._times = [1.0 if times is None else times[name] for name in tensors]
        self._adam = Adam([tensor.requires_grad_() for tensor in tensors.values()])

    def part(self, at: Tensor) -> Named:
        """Those of the images `at` [b], as leaves that gradients reach: all [b, ...]."""
        rows = {name: tensor.detach()[at] for name, tensor in self.tensors.items()}
        self._part = {name: tensor.requires_grad_() for name, tensor in rows.items()}
        return self._part

    def move(self, step: Step, rate: float) -> None:
        """One step of Adam from the latest `part`."""
        slopes = torch.autograd.grad(step.total, list(self._part.values()))
        pairs = zip(self.tensors.values(), slopes, strict=True)
        whole = [torch.zeros_like(tensor).index_copy_(0, step.at, slope) for tensor, slope in pairs]
        self._adam.step(whole, [times * rate for times in self._times])


def scheduled(
    lr: float, done: float, warm_up: float = 0.0, ramp_down: float = 0.0, *, cosine: bool = False
) -> float:
    """The learning rate: a linear rise, then level, then a fall to 0.

    Args:
        lr: where it is level.
        done: how much of the work is behind, 0..1.
        warm_up: share of the work in which it rises.
        ramp_down: share in which it falls.
        cosine: it falls as half a cosine rather than linearly.
    """
    rise = min(1.0, done / warm_up) if warm_up else 1.0
    left = max(0.0, min(1.0, (1 - done) / ramp_down)) if ramp_down else 1.0
    return lr * rise * (0.5 - 0.5 * math.cos(math.pi * left) if cosine else left)


def owned(latent: Latent) -> Latent:
    """The same latent in tensors that gradients may pass, wherever they were made."""
    named = {n: t.detach().clone() for n, t in latent.tensors().items() if "/" not in n}
    tuning = {name: tensor.detach().clone() for name, tensor in latent.tuning.items()}
    return replace(latent, **named, tuning=tuning)  # type: ignore[arg-type]
