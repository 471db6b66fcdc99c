"""The feature branch of a fitted encoder, once more: deeper, and on pictures full of detail.

F has room for all of a picture, so no critic is needed to keep it sharp: what is asked for beside
closeness is that the finest detail is where it was. Trunk and generator stay.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.training.average import average
from dseinvert.training.checkpoints import Stateful
from dseinvert.training.team import Team
from recipe.detail import fine
from recipe.encoder.fine import Watch
from recipe.gan.course import Pace
from recipe.gan.game import Rules

FILE = "keener.pt"


@dataclass(frozen=True)
class KeenerOptions:
    """How the branch is trained, and for how long."""

    depth: int = 5
    """Of the branch; what is added begins as nothing."""
    lr: float = 1e-3
    warm_up: int = 50
    features: float = 0.1
    detail: float = 2.0
    """Weight of the absolute difference of what a 3x3 mean takes away..."""
    energy: float = 2.0
    """... and of how strong it is around: without it, where F is in doubt, it draws nothing. Tried
    are 1, and 3 after 25,600 images, which at half the size is too much; the mean of the weights
    that both left lies between, and is what was bundled."""
    small: float = 0.003
    """Of the squared correction, in variances of the feature: what w can say, w shall say."""
    wild: float = 0.7
    """Share of wildly varied pictures."""
    rules: Rules = field(default_factory=Rules)
    """Of these the precision alone: there is no critic."""
    pace: Pace = field(default_factory=Pace)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate: a short rise, then half a cosine."""
        level = min(1.0, (step + 1) / self.warm_up) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        return self.lr * max(level, 0.01)


@dataclass
class Keener:
    """What training changes: the branch."""

    options: KeenerOptions
    generator: StyleGAN2
    encoder: DSEFeatureEncoder
    smooth: DSEFeatureEncoder
    adam: torch.optim.Optimizer
    distance: nn.Module
    """Images, images -> [B]."""
    look: Watch
    step: int = 0

    @property
    def parts(self) -> dict[str, Stateful]:
        """What is kept of it, by the names in a checkpoint."""
        return {"branch": self.encoder.branch, "smooth": self.smooth.branch, "adam": self.adam}

    def descend(self, images: Tensor, team: Team) -> dict[str, Tensor]:
        """One step of the branch; returns what there is to log."""
        pace, branch = self.options.pace, self.encoder.branch
        for group in self.adam.param_groups:
            group["lr"] = self.options.rate(self.step, pace.steps(team))
        terms = self._terms(images.to(memory_format=torch.channels_last))
        self.adam.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        team.average(branch)
        nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        self.adam.step()
        self.step += 1
        average(self.smooth.branch, branch, pace.kept(self.step, team))
        return terms

    def watch(self) -> tuple[dict[str, float], list[Tensor]]:
        """What is seen of the average."""
        return self.look(self.smooth)

    def _terms(self, real: Tensor) -> dict[str, Tensor]:
        net, config, options = self.generator.synthesis, self.encoder.config, self.options
        with options.rules.precision():
            with torch.no_grad():
                rows, maps = self.encoder.trunk.rows_and_maps(real)
                feature = net.features(rows.float(), config.layer)
            correction = self.encoder.branch(real, maps[config.map_index], feature)
            drawn = net(rows.float(), feature + correction, config.layer).float()
            half = max(1, len(real) // 2)
            apart = self.distance(real[:half], drawn[:half]).float().mean()
        size = (correction.float() / feature.float().std()).square().mean()
        return {
            "l1": F.l1_loss(drawn, real),
            "mse": 4 * F.mse_loss(drawn, real),
            "detail": options.detail * F.l1_loss(fine(drawn), fine(real)),
            "energy": options.energy * F.l1_loss(strength(drawn), strength(real)),
            "features": options.features * apart,
            "small": options.small * size,
        }


def strength(images: Tensor) -> Tensor:
    """[B, 3, H, W] -> how strong their fine detail is, of each 8 x 8 pixels: [B, 3, H/8, W/8]."""
    return (F.avg_pool2d(fine(images).square(), 8) + 1e-6).sqrt()


def begin(
    generator: StyleGAN2,
    encoder: DSEFeatureEncoder,
    options: KeenerOptions,
    distance: nn.Module,
    look: Watch,
) -> Keener:
    """From a fitted encoder, whose branch is made deeper."""
    torch.manual_seed(options.pace.seed)
    own = copy.deepcopy(generator).float().eval().requires_grad_(False)
    deep = deeper(encoder, options.depth)
    deep.attach(own)
    deep.requires_grad_(False).branch.requires_grad_(True)
    deep.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    smooth = copy.deepcopy(deep).eval().requires_grad_(False)
    smooth.attach(own)
    adam = torch.optim.Adam(deep.branch.parameters(), options.lr, betas=(0.9, 0.99))
    return Keener(options, own, deep, smooth, adam, distance, look)


@torch.no_grad()
def deeper(encoder: DSEFeatureEncoder, depth: int) -> DSEFeatureEncoder:
    """An encoder that finds what `encoder` finds, its branch of at least `depth`."""
    old = encoder.config
    deep = DSEFeatureEncoder(replace(old, depth=max(depth, old.depth)))
    deep.load_state_dict(encoder.state_dict(), strict=False)
    for block in list(deep.branch.body)[old.depth :]:
        block.get_submodule("second").get_parameter("weight").zero_()
    return deep
