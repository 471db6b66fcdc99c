"""An auto-encoder made sharp: its generator against a critic, its encoder's trunk along with it.

Samples and reconstructions are both judged, reconstruction and feature terms stay, and W keeps its
meaning because the trunk is trained beside the generator (AE-StyleGAN, Han et al., 2022).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.training.average import average
from dseinvert.training.checkpoints import Stateful
from dseinvert.training.optimiser import build_optimiser
from dseinvert.training.team import Team
from recipe.gan.course import Pace
from recipe.gan.critic import Critic, exact
from recipe.gan.game import Rules, descend, judged, teach
from recipe.gan.gan_state import rate_factor

FILE = "sharpen.pt"
Watch = Callable[[StyleGAN2, DSEEncoder], tuple[dict[str, float], list[Tensor]]]
"""The averaged generator and trunk -> figures and rows of pictures for the record."""


@dataclass(frozen=True)
class SharpenOptions:
    """What is trained and for how long; half as many reconstructions as real images a step."""

    widths: tuple[int, ...] = (160, 160, 96, 48, 32)
    """Of the critic at 4, 8, ... resolution."""
    lr: float = 1e-3
    critic_lr: float = 2e-3
    trunk_lr: float = 2e-4
    features: float = 0.1
    taps: float = 1e-3
    base_share: float = 0.5
    """Share of the reconstructions drawn from the base code alone."""
    refitted: int = 300
    """Batches whose codes z -> w is fitted to at first..."""
    refit_steps: int = 2000
    """... in so many steps."""
    rules: Rules = field(default_factory=Rules)
    pace: Pace = field(default_factory=Pace)


@dataclass
class Sharpening:
    """What training changes."""

    options: SharpenOptions
    generator: StyleGAN2
    trunk: DSEEncoder
    critic: Critic
    smooth: StyleGAN2
    smooth_trunk: DSEEncoder
    adams: dict[str, torch.optim.Optimizer]
    distance: nn.Module
    """Images, images -> [B]."""
    look: Watch
    step: int = 0

    @property
    def parts(self) -> dict[str, Stateful]:
        """What is kept of it, by the names in a checkpoint."""
        return {
            "generator": self.generator,
            "trunk": self.trunk,
            "critic": self.critic,
            "smooth": self.smooth,
            "smooth_trunk": self.smooth_trunk,
            **{f"adam-{name}": adam for name, adam in self.adams.items()},
        }

    def descend(self, images: Tensor, team: Team) -> dict[str, Tensor]:
        """One step of every network; returns what there is to log."""
        rules, real = self.options.rules, images.to(memory_format=torch.channels_last)
        rows, taps = self._encoded(real[: len(real) // 2])
        recon = self._drawn(rows)
        told = self._teach(real, recon.detach(), team)
        terms = self._terms(real[: len(recon)], recon, taps)
        share = rules.share(self.step)
        if share > 0:
            fake = self._samples(len(real))
            seen = rules.varied(fake), rules.varied(recon)
            terms |= judged(rules, self.critic, *seen, share)
        loss = torch.stack(list(terms.values())).sum()
        modules = {"generator": self.generator, "trunk": self.trunk}
        descend(team, loss, modules, self.adams, clipped={"trunk"})
        self.step += 1
        keep = self.options.pace.kept(self.step, team)
        average(self.smooth, self.generator, keep)
        average(self.smooth_trunk, self.trunk, keep)
        return {**terms, **told}

    def watch(self) -> tuple[dict[str, float], list[Tensor]]:
        """What is seen of the averages."""
        return self.look(self.smooth, self.smooth_trunk)

    def _teach(self, real: Tensor, recon: Tensor, team: Team) -> dict[str, Tensor]:
        """The critic's step."""
        rules = self.options.rules
        with torch.no_grad():
            fake = self._samples(len(real))
        seen = rules.varied(real), rules.varied(fake), rules.varied(recon)
        return teach(rules, self.critic, seen, real, self.step, team, self.adams)

    def _encoded(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [B, L, D], a share of them of the base code alone; and their taps."""
        with self.options.rules.precision():
            taps, z_c = self.trunk.taps(images)
        assert self.trunk.base is not None
        base = self.trunk.w_avg + self.trunk.base(z_c.float().flatten(1))
        plain = torch.rand(len(images)) < self.options.base_share
        return base[:, None] + torch.where(plain[:, None, None], 0, taps.float()), taps.float()

    def _terms(self, real: Tensor, recon: Tensor, taps: Tensor) -> dict[str, Tensor]:
        """What a reconstruction is asked for besides looking real."""
        with self.options.rules.precision():
            apart = self.distance(real, recon).float().mean()
        return {
            "l1": F.l1_loss(recon, real),
            "mse": 2 * F.mse_loss(recon, real),
            "features": self.options.features * apart,
            "taps": self.options.taps * taps.square().mean(),
        }

    def _samples(self, count: int) -> Tensor:
        w = self.generator.mapping(torch.randn(count, self.generator.config.z_dim))
        return self._drawn(w[:, None].expand(-1, self.generator.config.layers, -1))

    def _drawn(self, rows: Tensor) -> Tensor:
        with self.options.rules.precision():
            images: Tensor = self.generator.synthesis(rows)
        return images.float()


def begin(
    generator: StyleGAN2,
    trunk: DSEEncoder,
    options: SharpenOptions,
    distance: nn.Module,
    look: Watch,
) -> Sharpening:
    """From a generator and its trunk, which are copied, and an untrained critic."""
    torch.manual_seed(options.pace.seed)
    own, own_trunk = copy.deepcopy(generator), copy.deepcopy(trunk)
    for module in (own, own_trunk):
        module.float().train().requires_grad_(True)
    channels = {4 << k: width for k, width in enumerate(options.widths)}
    critic = Critic(generator.resolution, channels)
    critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trunk_adam = torch.optim.Adam(own_trunk.parameters(), options.trunk_lr, betas=(0.9, 0.99))
    adams: dict[str, torch.optim.Optimizer] = {
        "generator": build_optimiser(own, options.lr, rate_factor),
        "critic": build_optimiser(critic, options.critic_lr, rate_factor),
        "trunk": trunk_adam,
    }
    smooth, smooth_trunk = copy.deepcopy(own), copy.deepcopy(own_trunk)
    for module in (smooth, smooth_trunk):
        module.eval().requires_grad_(False)
    for to_rgb in own.synthesis.to_rgbs:
        exact(to_rgb)
    return Sharpening(options, own, own_trunk, critic, smooth, smooth_trunk, adams, distance, look)
