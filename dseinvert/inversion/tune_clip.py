"""Encoder and generator tuned to one person, once for all frames of a clip.

What is tuned to each frame by itself flickers. Here all frames share one set of weights: those of
the encoder by the losses of Yu and Wang, "Improving GAN inversion via fine-tuning GAN encoders"
(Equations 4 to 6), those of the generator by a difference of low rank (pivotal tuning, Roich et
al., 2021). Frames that are not learned from decide which step is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dseinvert.encoders import Encoder
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.tuned import draw_alike, private, tuned_weights, with_tuning
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.refining import Refining, Stage, parse_refining
from dseinvert.inversion.tune_encoder import BETA2, FINE_TUNING
from dseinvert.inversion.tune_generator import convolutions
from dseinvert.latent import Latent, concat
from dseinvert.similarity.attention import Scales, centre_crops
from dseinvert.similarity.losses import image_loss, mse
from dseinvert.similarity.weights import LossWeights

Named = dict[str, Tensor]
Told = Callable[[], None]
"""Is called after each step; what it raises ends the work."""
Looked = tuple[Tensor, Tensor, Tensor]
"""What was drawn [B, 3, R, R], the loss that decides [B], and the one that is descended [B]."""
HOLD = 5
"""One of so many frames is held out."""


@dataclass(frozen=True)
class ClipTuning:
    """How it is done; the defaults were chosen on 64 px, see docs/experiments.md."""

    batch: int = 4
    """Frames a step."""
    at_once: int = 4
    """Frames that are computed together; fewer take less memory, and change rounding only."""
    every: int = 10
    """Steps between looks at the frames that are held out."""
    warm_up: float = 0.05
    """Share of the steps in which the rates rise."""
    ramp_down: float = 0.25
    """Share of the steps in which they fall."""
    encoder: float = 0.01
    """Learning rate of all the encoder's weights, times their spread in an untrained one."""
    momentum: float = 0.9
    """Adam's first beta for the encoder."""
    weights: LossWeights = field(default_factory=lambda: LossWeights(epsilon=0))
    """Of the encoder's image loss; there is no latent loss."""
    scales: Scales = field(default_factory=lambda: centre_crops(FINE_TUNING))
    """What the encoder's loss compares besides the whole images."""
    pull: float = 3e-4
    """Weight of the distance of the codes from the mean."""
    generator: float = 0.02
    """Learning rate of the factors `up`, in units of each weight's root mean square."""
    spread: float = 10.0
    """How much faster the factors `down` are learnt."""
    rank: int = 16
    """Of each weight's difference."""

    def rate(self, done: float) -> float:
        """What the learning rates are multiplied by once that share of the steps is behind."""
        rise = min(1.0, done / self.warm_up) if self.warm_up else 1.0
        left = min(1.0, (1 - done) / self.ramp_down) if self.ramp_down else 1.0
        return rise * left


@dataclass(frozen=True)
class Tuned:
    """What one stage came to, on the frames that were held out."""

    method: str
    steps: int
    kept: int
    """The step whose weights were kept; 0 = none was better than the start."""
    loss: tuple[float, float]
    """Before and after, by the stage's own measure."""
    psnr: tuple[float, float]
    """Means in dB, before and after."""


@dataclass(frozen=True)
class Fitted:
    """What all frames of a person share."""

    encoder: Named = field(default_factory=dict)
    """Weights in place of the encoder's own, by name; empty = it stays."""
    tuning: Named = field(default_factory=dict)
    """Of the generator, as `with_tuning` takes it, rounded to float16; empty = it stays."""
    stages: tuple[Tuned, ...] = ()

    def inverter(self, plain: Inverter, own: Encoder) -> Inverter:
        """Inverts frames of this person; the encoder meets the generator as it was.

        Args:
            plain: the model's, perhaps run by another backend.
            own: PyTorch's encoder of it.
        """
        generator, encoder = plain.generator, plain.encoder
        if self.encoder:
            encoder = copied(own, generator)
            _put(_weights(encoder), self.encoder)
        if self.tuning:
            generator = with_tuning(generator, _on(self.tuning, generator.device))
        return Inverter(generator, encoder, plain.label)


def clip_refining(text: str) -> Refining:
    """What `--refine` asks for a clip.

    Raises:
        UsageError: it cannot be read, or is done frame by frame.
    """
    asked = parse_refining(text)
    names = [stage.method for stage in asked.stages]
    if "latent" in names:
        raise UsageError(
            f"--refine {text}: latents refined frame by frame flicker",
            "encoder or generator, which all frames share",
        )
    if len({*names}) < len(names):
        raise UsageError(f"--refine {text}", "encoder and generator once each, with more steps")
    return asked


def held_out(count: int) -> list[int]:
    """Which of so many frames are not learned from: the middle one of each five."""
    return [*range(HOLD // 2, count, HOLD)] if count >= HOLD else []


def tune_clip(
    generator: Generator,
    encoder: Encoder,
    images: Tensor,
    stages: Sequence[Stage],
    told: Told = lambda: None,
    options: ClipTuning | None = None,
) -> Fitted:
    """Tune the stages in turn on frames [N, 3, R, R] in [-1, 1] of one person.

    The networks stay as they are, and the result depends on nothing but the arguments. Of fewer
    than five frames none can be held out, and nothing is tuned.

    Args:
        generator: PyTorch's own, as is `encoder`, attached to it.
        encoder: of any kind.
        images: in the order of their times, on any device.
        stages: encoder and generator, each at most once, the encoder first.
        told: hears of every step.
        options: None = the defaults.
    """
    fitted = Fitted()
    if not held_out(len(images)):
        return fitted
    # Inside inference mode, and from its tensors, no gradient could be had.
    with torch.inference_mode(False), torch.enable_grad():
        images = images.to(generator.device).clone()
        task = _Task(generator, encoder, images, told, options or ClipTuning())
        for stage in stages:
            work = task.tune_encoder if stage.method == "encoder" else task.tune_generator
            fitted = work(fitted, stage.steps)
    return fitted


def copied(encoder: Encoder, generator: Generator) -> Encoder:
    """The same encoder with weights of its own, attached to the same generator."""
    own: Any = generator.plain
    copy = deepcopy(encoder, {id(own): own})
    copy.attach(own)  # what it remembers of drawing may be of no use to gradients
    return copy


@dataclass(frozen=True)
class _Task:
    """One call of `tune_clip`."""

    generator: Generator
    encoder: Encoder
    images: Tensor
    told: Told
    options: ClipTuning

    def tune_encoder(self, fitted: Fitted, steps: int) -> Fitted:
        """All of its weights, by Equation 6 and the pull of its codes."""
        options, own = self.options, copied(self.encoder, self.generator)
        weights = {name: weight.requires_grad_() for name, weight in _weights(own).items()}
        labels = self._pivots(self.encoder).label if self.generator.spec.classes else None
        anchor = self.generator.mean_latent().code

        def look(at: Tensor) -> Looked:
            latent = own.encode(self.images[at], None if labels is None else labels[at])
            drawn = self.generator.synthesize(latent)
            losses, _ = image_loss(self.images[at], drawn, options.weights, options.scales, None)
            away = (latent.code - anchor).flatten(1).norm(dim=1)
            return drawn, losses, losses + options.pull * away

        rates = {name: options.encoder * _spread(weight) for name, weight in weights.items()}
        done = self._descend("encoder", steps, weights, rates, options.momentum, look)
        found = {name: weight.detach() for name, weight in weights.items()} if done.kept else {}
        return replace(fitted, encoder=found, stages=(*fitted.stages, done))

    def tune_generator(self, fitted: Fitted, steps: int) -> Fitted:
        """A difference of low rank, of the convolutions that the codes or F pass through."""
        options, own = self.options, private(self.generator)
        pivots = self._pivots(fitted.inverter(self._inverter, self.encoder).encoder)
        factors, sizes = self._factors(own, pivots)

        def look(at: Tensor) -> Looked:
            drawn = draw_alike(own, pivots[at], _sized(factors, sizes))
            losses = mse(self.images[at], drawn)
            return drawn, losses, losses

        def settle() -> None:
            """Round to float16, as it is saved."""
            for name, size in sizes.items():
                factors[f"{name}.up"].copy_(factors[f"{name}.up"].half())
                factors[f"{name}.down"].copy_(
                    (factors[f"{name}.down"] * size).half().float() / size
                )

        rates = {
            name: options.generator * (options.spread if name.endswith(".down") else 1.0)
            for name in factors
        }
        done = self._descend("generator", steps, factors, rates, 0.9, look, settle)
        tuning = {n: factor.detach().half().float() for n, factor in _sized(factors, sizes).items()}
        return replace(fitted, tuning=tuning if done.kept else {}, stages=(*fitted.stages, done))

    def _descend(
        self,
        method: str,
        steps: int,
        weights: Named,
        rates: Mapping[str, float],
        momentum: float,
        look: Callable[[Tensor], Looked],
        settle: Callable[[], None] = lambda: None,
    ) -> Tuned:
        """All steps of Adam; leaves the weights where the frames held out were drawn best.

        `settle` is done to these at last; where that spoils them, no step is kept.
        """
        groups = [{"params": [weights[name]], "times": rate} for name, rate in rates.items()]
        adam = torch.optim.Adam(groups, betas=(momentum, BETA2))
        first = self._judged(look)
        best, least, kept = _clones(weights), first, 0
        for step, at in zip(range(steps), self._batches(), strict=False):
            for group in adam.param_groups:
                group["lr"] = group["times"] * self.options.rate((step + 0.5) / steps)
            adam.zero_grad()
            for few in at.split(self.options.at_once):
                (look(few)[2].sum() / len(at)).backward()
            adam.step()
            if (step + 1) % self.options.every == 0 or step + 1 == steps:
                now = self._judged(look)
                if now[0] < least[0]:
                    best, least, kept = _clones(weights), now, step + 1
            self.told()
        _put(weights, best)
        with torch.no_grad():
            settle()
        last = self._judged(look) if kept else first
        kept, last = (kept, last) if last[0] < first[0] else (0, first)
        return Tuned(method, steps, kept, (first[0], last[0]), (first[1], last[1]))

    @torch.no_grad()
    def _judged(self, look: Callable[[Tensor], Looked]) -> tuple[float, float]:
        """Mean loss and PSNR of the frames that are held out."""
        losses, psnrs = [], []
        for at in torch.tensor(held_out(len(self.images))).split(self.options.at_once):
            drawn, loss, _ = look(at)
            error = mse(self.images[at], drawn.clamp(-1, 1)).clamp_min(4e-10)
            losses.append(loss)
            psnrs.append(10 * (4 / error).log10())
        return float(torch.cat(losses).mean()), float(torch.cat(psnrs).mean())

    def _batches(self) -> Iterator[Tensor]:
        """Frames to learn from, without end: all of them in some order, then again in another."""
        held = {*held_out(len(self.images))}
        learned = torch.tensor([k for k in range(len(self.images)) if k not in held])
        source, waiting = torch.Generator().manual_seed(0), learned[:0]
        while True:
            while len(waiting) < self.options.batch:
                order = torch.randperm(len(learned), generator=source)
                waiting = torch.cat([waiting, learned[order]])
            yield waiting[: self.options.batch]
            waiting = waiting[self.options.batch :]

    @property
    def _inverter(self) -> Inverter:
        return Inverter(self.generator, self.encoder)

    def _pivots(self, encoder: Encoder) -> Latent:
        """What an encoder makes of all frames, in tensors that gradients may pass."""
        inverter = Inverter(self.generator, encoder)
        parts = [inverter.encode(part) for part in self.images.split(self.options.at_once)]
        whole = concat(parts)
        named = {name: tensor.clone() for name, tensor in whole.tensors().items()}
        return replace(whole, **named)  # type: ignore[arg-type]

    def _factors(self, own: nn.Module, pivots: Latent) -> tuple[Named, Named]:
        """Factors whose product is 0, and the size of each weight, in units of which they are."""
        state, source = dict(own.named_parameters()), torch.Generator().manual_seed(0)
        factors: Named = {}
        for name in convolutions(own, pivots):
            outputs, rest = len(state[name]), state[name][0].numel()
            rank = min(self.options.rank, outputs, rest)
            down = torch.randn(rank, rest, generator=source).to(self.images)
            factors[f"{name}.up"] = self.images.new_zeros(outputs, rank).requires_grad_()
            factors[f"{name}.down"] = down.requires_grad_()
        sizes = {n: state[n].detach().square().mean().sqrt() for n in tuned_weights(factors)}
        return factors, sizes


def _weights(encoder: Encoder) -> Named:
    return dict(cast(nn.Module, encoder).named_parameters())


def _spread(weight: Tensor) -> float:
    """The deviation of a weight [out, ...] of variance gain 1; 1 for a bias."""
    return 1.0 if weight.ndim < 2 else float(weight[0].numel()) ** -0.5


def _sized(factors: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> Named:
    """Factors in units of each weight's size -> a tuning."""
    return {
        name: factor * sizes[name.removesuffix(".down")] if name.endswith(".down") else factor
        for name, factor in factors.items()
    }


def _clones(tensors: Mapping[str, Tensor]) -> Named:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def _put(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        weights[name].copy_(value.view_as(weights[name]))


def _on(tensors: Mapping[str, Tensor], device: torch.device) -> Named:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
