"""Tuning the generator to each image around its latent: pivotal tuning (Roich et al., 2021).

In place of a generator for each image, what is found is a difference of low rank (as in LoRA, Hu et
al., 2022) of the convolutions that the image depends on: a few KiB instead of megabytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dseinvert.editing.apply import move
from dseinvert.generators import Generator
from dseinvert.generators.tuned import draw_tuned, private, synthesize, tuned_weights
from dseinvert.inversion.refinement import Budget, Distance, Refine, Refined, Watch
from dseinvert.latent import Latent
from dseinvert.similarity.losses import mse

Tuning = dict[str, Tensor]


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
        """The learning rate once that share of the budget is used up."""
        left = min(1.0, (1 - done) / self.ramp_down) if self.ramp_down else 1.0
        return self.lr * max(0.0, left)


def generator_refinement(
    generator: Generator,
    options: GeneratorTuning | None = None,
    distance: Distance | None = None,
) -> Refine:
    """Pivotal tuning as a refinement; the latent stays as it is but for `Latent.tuning`.

    Each sample has its own difference, Adam works number by number, and samples meet nowhere; a
    start that is tuned already is tuned on. What is found is rounded to float16, as it is saved.

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
            pivot = _cloned(start.to(generator.device))
            task = _Task(generator, private(generator), images, pivot, options, distance)
            return task.run(budget, watch)

    return refine


def convolutions(own: nn.Module, latent: Latent) -> list[str]:
    """The convolution weights that the code passes through, or F where the latent has one.

    What lies before F has little say, and none with its RGB images dropped.

    Args:
        own: of `generators.tuned.private`; nobody else may call it meanwhile.
        latent: any of its latents.
    """
    one = replace(_cloned(latent[:1]), tuning={})
    (one.code if one.feature is None else one.feature).requires_grad_()
    found: list[str] = []

    def listen(weight: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            values = [*given, *named.values()]
            if any(isinstance(value, Tensor) and value.requires_grad for value in values):
                found.append(weight)

        return hook

    hooks = []
    for name, weight in own.named_parameters():
        if weight.ndim == 4 and len(weight) > 1:  # [1, C, 4, 4] is a learned constant
            place = own.get_submodule(name.rpartition(".")[0])
            hooks.append(place.register_forward_pre_hook(listen(name), with_kwargs=True))
    with torch.inference_mode(False), torch.enable_grad():
        own.synthesize(one)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return sorted(set(found))


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
        began, count, device = time.monotonic(), len(self.images), self.images.device
        tuning, sizes = self._begin()
        adam = self._adam(tuning)
        best = {name: factor.detach().clone() for name, factor in tuning.items()}
        losses = self.images.new_full((count,), math.inf)
        latest, first = losses.clone(), losses.clone()
        steps = torch.zeros(count, dtype=torch.int64, device=device)
        active = torch.arange(count, device=device)
        for step in range(budget.steps + 1):
            steps[active] = step
            part = {
                name: factor.detach()[active].requires_grad_() for name, factor in tuning.items()
            }
            drawn, found = self._look(part, sizes, active)
            with torch.no_grad():
                latest[active] = found
                first = latest.clone() if step == 0 else first
                better = found < losses[active]
                losses[active[better]] = found[better]
                for name, factor in best.items():
                    factor[active[better]] = part[name][better]
                reached = budget.reached(self.images[active], drawn, found)
            if watch is not None and step:
                watch(step, latest.clone())
            done = budget.done(step, (time.monotonic() - began) / count)
            if done >= 1 or reached.all():
                break
            total = (found + self._elsewhere(part, sizes, active, step))[~reached].sum()
            slopes = torch.autograd.grad(total, list(part.values()))
            for factor, slope in zip(tuning.values(), slopes, strict=True):
                factor.grad = torch.zeros_like(factor).index_copy_(0, active, slope)
            for group in adam.param_groups:
                group["lr"] = group["times"] * self.options.rate(done)
            adam.step()
            active = active[~reached]
        return self._rounded(best, sizes, steps, first)

    def _begin(self) -> tuple[Tuning, Tuning]:
        """Factors [B, ...] whose product is 0, or the start's, and the size of each weight."""
        count, source = len(self.images), torch.Generator().manual_seed(0)
        state = dict(self.own.named_parameters())
        tuning: Tuning = {}
        for name in convolutions(self.own, self.pivot):
            outputs, rest = len(state[name]), state[name][0].numel()
            rank = min(self.options.rank, outputs, rest)
            down = torch.randn(rank, rest, generator=source).to(self.images)
            tuning[f"{name}.up"] = self.images.new_zeros(count, outputs, rank)
            tuning[f"{name}.down"] = down.expand(count, -1, -1).clone()
        tuning |= self.pivot.tuning
        sizes = {
            name: state[name].detach().square().mean().sqrt() for name in tuned_weights(tuning)
        }
        for name, size in sizes.items():
            if f"{name}.down" in self.pivot.tuning:
                tuning[f"{name}.down"] = tuning[f"{name}.down"] / size
        return {name: factor.requires_grad_() for name, factor in tuning.items()}, sizes

    def _adam(self, tuning: Tuning) -> torch.optim.Adam:
        up = [factor for name, factor in tuning.items() if name.endswith(".up")]
        down = [factor for name, factor in tuning.items() if name.endswith(".down")]
        groups = [{"params": up, "times": 1.0}, {"params": down, "times": self.options.spread}]
        return torch.optim.Adam(groups, lr=self.options.lr)

    def _look(self, part: Tuning, sizes: Tuning, active: Tensor) -> tuple[Tensor, Tensor]:
        """What the samples `active` draw, and their image losses."""
        latent = replace(self.pivot[active], tuning=_sized(part, sizes))
        drawn = draw_tuned(self.own, latent)
        return drawn, self._loss(self.images[active], drawn)

    def _loss(self, images: Tensor, drawn: Tensor) -> Tensor:
        loss = mse(images, drawn)
        if self.distance is None:
            return loss
        return loss + self.options.perceptual * self.distance(images, drawn)

    def _elsewhere(self, part: Tuning, sizes: Tuning, active: Tensor, step: int) -> Tensor:
        """The locality regulariser: how other images near the pivot change, [b], weighted."""
        if not self.options.locality:
            return torch.zeros((), device=self.images.device)
        plain = replace(self.pivot[active], tuning={})
        with torch.no_grad():
            sample = self.generator.sample([step]).code.to(plain.code)
            near = move(plain, plain.code.lerp(sample, self.options.reach), self.generator)
            wanted = self.generator.synthesize(near)
        drawn = draw_tuned(self.own, replace(near, tuning=_sized(part, sizes)))
        return self.options.locality * self._loss(wanted, drawn)

    @torch.no_grad()
    def _rounded(self, best: Tuning, sizes: Tuning, steps: Tensor, first: Tensor) -> Refined:
        """The best as it is saved; the start, where it is no better than that."""
        tuning = {name: factor.half().float() for name, factor in _sized(best, sizes).items()}
        latent = replace(self.pivot, tuning=tuning)
        drawn = synthesize(self.generator, latent)
        losses = self._loss(self.images, drawn)
        worse = losses > first
        if worse.any():
            before = self._start(tuning)
            for name, factor in tuning.items():
                factor[worse] = before[name][worse]
            drawn = synthesize(self.generator, latent)
            losses = self._loss(self.images, drawn)
        return Refined(latent, drawn.clamp(-1, 1), steps, losses)

    def _start(self, tuning: Tuning) -> Mapping[str, Tensor]:
        """The factors of the start: its own, or none."""
        return {n: self.pivot.tuning.get(n, torch.zeros_like(t)) for n, t in tuning.items()}


def _sized(factors: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> Tuning:
    """Factors of differences in units of each weight's root mean square -> `Latent.tuning`."""
    return {
        name: factor * sizes[name.removesuffix(".down")] if name.endswith(".down") else factor
        for name, factor in factors.items()
    }


def _cloned(latent: Latent) -> Latent:
    """The same latent in tensors that gradients may pass, wherever they were made."""
    named = {n: t.detach().clone() for n, t in latent.tensors().items() if "/" not in n}
    tuning = {name: tensor.detach().clone() for name, tensor in latent.tuning.items()}
    return replace(latent, **named, tuning=tuning)  # type: ignore[arg-type]
