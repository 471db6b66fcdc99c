"""The descent of weights that all frames of a clip share: batches of frames, and a judge.

Unlike an image's own, such weights must not be fitted to what is seen by chance, so frames that are
not learned from decide which step is kept, and every step is over only some of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dseinvert.inversion.adam import Adam
from dseinvert.inversion.descend import Named, scheduled
from dseinvert.inversion.tune_encoder import BETA2, FINE_TUNING
from dseinvert.similarity.attention import Scales, centre_crops
from dseinvert.similarity.losses import mse
from dseinvert.similarity.weights import LossWeights

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
        return scheduled(1.0, done, self.warm_up, self.ramp_down)


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
class Shared:
    """What is moved, and by what loss."""

    weights: Named
    """Written into."""
    rates: Mapping[str, float]
    """Learning rate of each."""
    look: Callable[[Tensor], Looked]
    """Numbers of frames [B] -> what is drawn of them by the weights as they are."""
    momentum: float = 0.9
    """Adam's first beta."""
    settle: Callable[[], None] = lambda: None
    """Done to the weights at last; where that spoils them, no step is kept."""


def held_out(count: int) -> list[int]:
    """Which of so many frames are not learned from: the middle one of each five."""
    return [*range(HOLD // 2, count, HOLD)] if count >= HOLD else []


@dataclass(frozen=True)
class ClipDescent:
    """How weights are fitted to some frames."""

    images: Tensor
    """[N, 3, R, R] in [-1, 1], where gradients may be had; at least HOLD of them."""
    told: Told
    options: ClipTuning

    def run(self, method: str, steps: int, shared: Shared) -> Tuned:
        """All steps of Adam; leaves the weights where the frames held out were drawn best."""
        weights = shared.weights
        moved = [weights[name] for name in shared.rates]
        adam = Adam(moved, (shared.momentum, BETA2))
        first = self._judged(shared.look)
        best, least, kept = _clones(weights), first, 0
        for step, at in zip(range(steps), self._batches(), strict=False):
            for weight in moved:
                weight.grad = None
            for few in at.split(self.options.at_once):
                (shared.look(few)[2].sum() / len(at)).backward()
            rate = self.options.rate((step + 0.5) / steps)
            adam.step([w.grad for w in moved], [times * rate for times in shared.rates.values()])
            if (step + 1) % self.options.every == 0 or step + 1 == steps:
                now = self._judged(shared.look)
                if now[0] < least[0]:
                    best, least, kept = _clones(weights), now, step + 1
            self.told()
        put(weights, best)
        with torch.no_grad():
            shared.settle()
        last = self._judged(shared.look) if kept else first
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


@torch.no_grad()
def put(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Write values into the weights of these names, whatever their shapes."""
    for name, value in values.items():
        weights[name].copy_(value.view_as(weights[name]))


def _clones(tensors: Mapping[str, Tensor]) -> Named:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
