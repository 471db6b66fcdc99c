"""The game between a critic and what it judges: samples, and reconstructions beside them.

The logistic loss without saturation, with R1 now and then; both sides in bfloat16, where the
processor has it about twice as fast.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.training.team import Team
from recipe.gan.adversarial import gradient_penalty
from recipe.gan.augment import augment
from recipe.gan.critic import Critic


@dataclass(frozen=True)
class Rules:
    """What weighs how much, and from when on."""

    samples: float = 0.5
    """Weight of the critic's word on samples..."""
    recons: float = 0.1
    """... and on reconstructions."""
    judged: float = 0.8
    """Share of samples in what the critic is taught of drawn images."""
    augmented: float = 0.5
    """Probability of each augmentation."""
    warm_up: int = 150
    """Steps of the critic alone."""
    ramp: int = 500
    """Steps in which its word then gains its weight."""
    r1: float = 2e-4
    """gamma = r1 R^2 / batch of all processes."""
    r1_every: int = 16
    half: bool = True
    """bfloat16 in the convolutions."""

    def share(self, step: int) -> float:
        """How much of its weight the critic's word has: 0 to 1."""
        return min(1.0, max(0.0, (step - self.warm_up) / self.ramp))

    def precision(self) -> AbstractContextManager[Any]:
        """In which the networks compute."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.half)

    def varied(self, images: Tensor) -> Tensor:
        """What a critic sees of images [B, 3, R, R], real and drawn alike."""
        return augment(images, torch.tensor(self.augmented))


def taught(
    rules: Rules, critic: Critic, real: Tensor, fake: Tensor, recon: Tensor
) -> dict[str, Tensor]:
    """The critic's loss, and what there is to log; all images [B, C, R, R] as it sees them."""
    both = torch.cat([real, fake, recon])
    known, drawn, again = _scores(rules, critic, both).split([len(real), len(fake), len(recon)])
    fakes = rules.judged * F.softplus(drawn).mean()
    loss = F.softplus(-known).mean() + fakes + (1 - rules.judged) * F.softplus(again).mean()
    figures = {
        "sign": known.sign().mean(),
        "critic_real": known.mean(),
        "critic_fake": drawn.mean(),
    }
    return {"critic": loss, **figures}


def teach(
    rules: Rules,
    critic: Critic,
    seen: tuple[Tensor, Tensor, Tensor],
    real: Tensor,
    step: int,
    team: Team,
    adams: Mapping[str, torch.optim.Optimizer],
) -> dict[str, Tensor]:
    """The critic's step, and R1's where it is due; returns what there is to log.

    Args:
        seen: real images, samples and reconstructions, as it sees them.
        real: the real ones again, as they are, for R1.
    """
    critic.requires_grad_(True)
    told = taught(rules, critic, *seen)
    descend(team, told.pop("critic"), {"critic": critic}, adams)
    if step % rules.r1_every == 0:
        slope = penalty(rules, critic, real, len(real) * team.size)
        descend(team, slope, {"critic": critic}, adams)
    critic.requires_grad_(False)
    return told


def judged(
    rules: Rules, critic: Critic, fake: Tensor, recon: Tensor, share: float
) -> dict[str, Tensor]:
    """The generator's terms: the critic's word on both, as it sees them."""
    drawn, again = _scores(rules, critic, torch.cat([fake, recon])).split([len(fake), len(recon)])
    return {
        "samples": share * rules.samples * F.softplus(-drawn).mean(),
        "recons": share * rules.recons * F.softplus(-again).mean(),
    }


def penalty(rules: Rules, critic: Critic, real: Tensor, whole: int) -> Tensor:
    """Lazy R1 on real images, in full precision; `whole` = the batch of all processes."""
    gamma = rules.r1 * real.shape[-1] ** 2 / whole
    return gamma / 2 * rules.r1_every * gradient_penalty(critic, real)


def descend(
    team: Team,
    loss: Tensor,
    modules: Mapping[str, nn.Module],
    adams: Mapping[str, torch.optim.Optimizer],
    clipped: Collection[str] = (),
) -> None:
    """One step of these modules down `loss`, as all processes see it; `clipped` by its length."""
    for name in modules:
        adams[name].zero_grad(set_to_none=True)
    loss.backward()
    for name, module in modules.items():
        team.average(module)
        if name in clipped:
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adams[name].step()


def _scores(rules: Rules, critic: Critic, images: Tensor) -> Tensor:
    with rules.precision():
        scores: Tensor = critic(images)
    return scores.float()
