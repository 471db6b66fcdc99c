"""The encoder of a finished generator: the trunk that grew up with it, and a feature branch.

Reconstructions by F and by w+ alone are both compared with their pictures, and both are shown to a
critic of crops beside them, so that neither is the blurred mean of what a picture might be.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureConfig, DSEFeatureEncoder
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.training.average import average
from dseinvert.training.checkpoints import Stateful
from dseinvert.training.optimiser import build_optimiser
from dseinvert.training.team import Team
from recipe.gan.course import Pace
from recipe.gan.critic import Critic, exact
from recipe.gan.finer import cropped, looked_at
from recipe.gan.game import Rules, descend, judged, teach
from recipe.gan.gan_state import rate_factor

FILE = "fine.pt"
Watch = Callable[[DSEFeatureEncoder], tuple[dict[str, float], list[Tensor]]]
"""The averaged encoder -> figures and rows of pictures for the record."""


@dataclass(frozen=True)
class FineOptions:
    """Where F enters the generator, what is trained, and for how long."""

    layer: int = 7
    """K: the second convolution at 32 px."""
    width: int = 160
    depth: int = 3
    """Of the branch."""
    widths: tuple[int, ...] = (128, 128, 96, 48, 32)
    """Of the critic at 4, 8, ... the side of a crop, which is half the picture's."""
    branch_lr: float = 1e-3
    """At 2e-3 the branch ran away after 27,000 images."""
    trunk_lr: float = 3e-4
    critic_lr: float = 2e-3
    plain: float = 0.5
    """Weight of the reconstruction by w+ alone, of every other picture."""
    features: float = 0.1
    taps: float = 1e-3
    small: float = 0.01
    """Of the squared correction, in variances of the feature: what w can say, w shall say."""
    wild: float = 0.5
    """Share of wildly varied pictures."""
    rules: Rules = field(
        default_factory=lambda: Rules(samples=0.15, recons=0.15, augmented=0.3, judged=0.7)
    )
    """The critic's word: `samples` on F, `recons` on w+ alone. Tried only after 49,600 images at
    0.1 and 0.05, which leave w+ soft; after 4,800 more at these w+ began to grain."""
    pace: Pace = field(default_factory=Pace)


@dataclass
class Fitting:
    """What training changes: the encoder. The generator stays as it is."""

    options: FineOptions
    generator: StyleGAN2
    encoder: DSEFeatureEncoder
    critic: Critic
    smooth: DSEFeatureEncoder
    adams: dict[str, torch.optim.Optimizer]
    distance: nn.Module
    """Images, images -> [B]."""
    look: Watch
    step: int = 0

    @property
    def parts(self) -> dict[str, Stateful]:
        """What is kept of it, by the names in a checkpoint."""
        adams = {f"adam-{name}": adam for name, adam in self.adams.items()}
        return {"encoder": self.encoder, "critic": self.critic, "smooth": self.smooth, **adams}

    def descend(self, images: Tensor, team: Team) -> dict[str, Tensor]:
        """One step of both networks; returns what there is to log."""
        rules, real = self.options.rules, images.to(memory_format=torch.channels_last)
        fine, plain, terms = self._drawn(real)
        told = self._teach(real, fine.detach(), plain.detach(), team)
        terms |= self._apart(real, fine, 1.0, "")
        terms |= self._apart(real[::2], plain, self.options.plain, "w_plus_")
        share = rules.share(self.step)
        if share > 0:
            seen = looked_at(rules, fine), looked_at(rules, plain)
            terms |= judged(rules, self.critic, *seen, share)
        loss = torch.stack(list(terms.values())).sum()
        modules = {"trunk": self.encoder.trunk, "branch": self.encoder.branch}
        descend(team, loss, modules, self.adams, clipped=modules)
        self.step += 1
        average(self.smooth, self.encoder, self.options.pace.kept(self.step, team))
        return {**terms, **told}

    def watch(self) -> tuple[dict[str, float], list[Tensor]]:
        """What is seen of the average."""
        return self.look(self.smooth)

    def _drawn(self, real: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Reconstructions by F, and of every other picture by w+ alone; what both cost."""
        net, layer = self.generator.synthesis, self.options.layer
        with self.options.rules.precision():
            rows, maps = self.encoder.trunk.rows_and_maps(real)
            rows = rows.float()
            feature = net.features(rows, layer)
            maps_of_size = maps[self.encoder.config.map_index]
            correction = self.encoder.branch(real, maps_of_size, feature)
            fine = net(rows, feature + correction, layer)
            plain = net(rows[::2])
        offsets = rows - rows.mean(1, keepdim=True)
        terms = {
            "taps": self.options.taps * offsets.square().mean(),
            "small": self.options.small * (correction.float() / feature.std()).square().mean(),
        }
        return fine.float(), plain.float(), terms

    def _apart(self, real: Tensor, drawn: Tensor, weight: float, name: str) -> dict[str, Tensor]:
        """How far reconstructions are from their pictures."""
        half = max(1, len(real) // 2)
        with self.options.rules.precision():
            apart = self.distance(real[:half], drawn[:half]).float().mean()
        return {
            f"{name}l1": weight * F.l1_loss(drawn, real),
            f"{name}mse": weight * 4 * F.mse_loss(drawn, real),
            f"{name}features": weight * self.options.features * apart,
        }

    def _teach(self, real: Tensor, fine: Tensor, plain: Tensor, team: Team) -> dict[str, Tensor]:
        """The critic's step."""
        rules = self.options.rules
        seen = looked_at(rules, real), looked_at(rules, fine), looked_at(rules, plain)
        return teach(rules, self.critic, seen, cropped(real), self.step, team, self.adams)


def begin(
    generator: StyleGAN2,
    trunk: DSEEncoder,
    options: FineOptions,
    distance: nn.Module,
    look: Watch,
) -> Fitting:
    """From a generator and its trunk; a branch that does nothing, and an untrained critic."""
    torch.manual_seed(options.pace.seed)
    own = copy.deepcopy(generator).float().eval().requires_grad_(False)
    for to_rgb in own.synthesis.to_rgbs:
        exact(to_rgb)
    encoder = branched(own, trunk, options).train().requires_grad_(True)
    channels = {4 << k: width for k, width in enumerate(options.widths)}
    critic = Critic(own.resolution // 2, channels, more=2)
    for module in (encoder, critic):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    smooth = copy.deepcopy(encoder).eval().requires_grad_(False)
    smooth.attach(generator)
    betas = (0.9, 0.99)
    adams: dict[str, torch.optim.Optimizer] = {
        "trunk": torch.optim.Adam(encoder.trunk.parameters(), options.trunk_lr, betas=betas),
        "branch": torch.optim.Adam(encoder.branch.parameters(), options.branch_lr, betas=betas),
        "critic": build_optimiser(critic, options.critic_lr, rate_factor),
    }
    return Fitting(options, own, encoder, critic, smooth, adams, distance, look)


def branched(generator: StyleGAN2, trunk: DSEEncoder, options: FineOptions) -> DSEFeatureEncoder:
    """The trunk with an untrained branch."""
    _, channels, side, _ = generator.features(generator.mean_latent(), options.layer).shape
    config = DSEFeatureConfig(
        trunk.config, options.layer, side, channels, options.width, options.depth
    )
    encoder = DSEFeatureEncoder(config)
    encoder.trunk.load_state_dict(trunk.state_dict())
    encoder.attach(generator)
    return encoder
