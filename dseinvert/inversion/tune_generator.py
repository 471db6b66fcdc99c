"""Tuning the generator to each image around its latent: pivotal tuning (Roich et al., 2021).

In place of a generator for each image, what is found is a difference of low rank of the
convolutions that the image depends on: a few KiB instead of megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dseinvert.editing.apply import move
from dseinvert.generators import Generator
from dseinvert.generators.tuned import draw_tuned, private, synthesize
from dseinvert.inversion.descend import (
    Best,
    Look,
    Moved,
    Named,
    Rules,
    Step,
    descend,
    owned,
    scheduled,
)
from dseinvert.inversion.low_rank import factors_of, sized, sizes_of
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, mse


@dataclass(frozen=True)
class GeneratorTuning:
    """How a generator is tuned; the defaults were chosen on 64 px, see docs/experiments.md."""

    rank: int = 8
    """Of each weight's difference."""
    lr: float = 0.02
    """Of Adam on the factor `up`; a step changes a weight by this times its root mean square."""
    spread: float = 10.0
    """How much faster the factor `down` is learnt, which begins with numbers of deviation 1."""
    ramp_down: float = 0.25
    """Share of the budget in which the rates fall."""
    perceptual: float = 1.0
    """Weight of the perceptual distance beside the squared error, where one is given."""
    locality: float = 0.0
    """Weight of the locality regulariser, which keeps what the generator draws elsewhere, by a
    second image a step. PTI: 0 by default, else 0.1."""
    reach: float = 0.5
    """How far from the code towards a sample it looks. PTI: 30 in units of w."""

    def rate(self, done: float) -> float:
        """The learning rate of `up` once that share of the budget, 0..1, is used up."""
        return scheduled(self.lr, done, ramp_down=self.ramp_down)


def generator_refinement(
    generator: Generator,
    options: GeneratorTuning | None = None,
    distance: Distance | None = None,
) -> Refine:
    """Pivotal tuning as a refinement; the latent stays as it is but for `Latent.tuning`.

    Each sample has its own difference, "NAME.up" [B, out, r] and "NAME.down" [B, r, rest]. Adam
    works number by number, and samples meet nowhere; a start that is tuned already is tuned on.
    What is found is rounded to float16, as it is saved.

    Args:
        generator: left as it is, so that other threads can draw with it.
        options: None = the defaults.
        distance: perceptual, added to the squared error; None = without.
    """
    options = options or GeneratorTuning()

    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        # Inside inference mode, and from its tensors, no gradient could be had.
        with torch.inference_mode(False), torch.enable_grad():
            images = images.to(generator.device).clone()
            pivot = owned(start.to(generator.device))
            task = _Task(generator, private(generator), images, pivot, options, distance)
            return task.run(budget, watch)

    return refine


@dataclass(frozen=True)
class _Task:
    """One call of the refinement."""

    generator: Generator
    own: nn.Module
    images: Tensor
    pivot: Latent
    options: GeneratorTuning
    distance: Distance | None

    def run(self, budget: Budget, watch: Watch | None) -> Refined:
        """The best of each image, rounded."""
        factors, sizes = self._begin()
        spread = self.options.spread
        times = {name: spread if name.endswith(".down") else 1.0 for name in factors}
        moved = Moved(factors, times)

        def look(at: Tensor, number: int) -> Look:
            part, pivot = moved.part(at), self.pivot[at]
            drawn = draw_tuned(self.own, replace(pivot, tuning=sized(part, sizes)))
            losses = self._loss(self.images[at], drawn)

            def total() -> Tensor:
                return losses + self._elsewhere(pivot, sized(part, sizes), number)

            return Look(part, drawn, losses, total)

        def take(step: Step) -> None:
            moved.move(step, self.options.rate(step.done))

        rules, begin = Rules(goal="latest"), Best.unknown(factors)
        best = descend(self.images, look, take, begin, budget, watch, rules)
        return self._rounded(sized(best.found, sizes), best)

    def _begin(self) -> tuple[Named, Named]:
        """Factors [B, ...] whose product is 0, or the start's, and the size of each weight."""
        count, told = len(self.images), self.pivot.tuning
        fresh = factors_of(self.own, self.pivot, self.options.rank)
        factors = {name: factor.expand(count, -1, -1).clone() for name, factor in fresh.items()}
        factors |= {name: factor.clone() for name, factor in told.items()}
        sizes = sizes_of(self.own, factors)
        for name, size in sizes.items():
            if f"{name}.down" in told:
                factors[f"{name}.down"] = factors[f"{name}.down"] / size
        return factors, sizes

    def _loss(self, images: Tensor, drawn: Tensor) -> Tensor:
        loss = mse(images, drawn)
        if self.distance is None:
            return loss
        return loss + self.options.perceptual * self.distance(images, drawn)

    def _elsewhere(self, pivot: Latent, tuning: Named, number: int) -> Tensor:
        """The locality regulariser: how other images near the pivot change, [b], weighted."""
        if not self.options.locality:
            return torch.zeros((), device=self.images.device)
        plain = replace(pivot, tuning={})
        with torch.no_grad():
            sample = self.generator.sample([number]).code.to(plain.code)
            near = move(plain, plain.code.lerp(sample, self.options.reach), self.generator)
            wanted = self.generator.synthesize(near)
        drawn = draw_tuned(self.own, replace(near, tuning=tuning))
        return self.options.locality * self._loss(wanted, drawn)

    @torch.no_grad()
    def _rounded(self, found: Named, best: Best) -> Refined:
        """The best as it is saved; the start, where it is no better than that."""
        tuning = {name: factor.half().float() for name, factor in found.items()}
        latent = replace(self.pivot, tuning=tuning)
        drawn = synthesize(self.generator, latent)
        losses = self._loss(self.images, drawn)
        worse = losses > best.began
        if worse.any():
            before = self._start(tuning)
            for name, factor in tuning.items():
                factor[worse] = before[name][worse]
            drawn = synthesize(self.generator, latent)
            losses = self._loss(self.images, drawn)
        return Refined(latent, drawn.clamp(-1, 1), best.steps, losses)

    def _start(self, tuning: Named) -> Mapping[str, Tensor]:
        """The factors of the start: its own, or none."""
        return {n: self.pivot.tuning.get(n, torch.zeros_like(t)) for n, t in tuning.items()}
