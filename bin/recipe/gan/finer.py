"""The last block of a sharp generator, for the cost of that block alone.

Everything below stays as it is. A new block starts silent (`doubled`). Its critic looks at crops of
the large picture, knowing where they are; in the small it must not change the picture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

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

FILE = "finer.pt"
NEW_ROWS = 2
"""Rows of w+ that a block adds."""
Watch = Callable[[StyleGAN2], tuple[dict[str, float], list[Tensor]]]
"""The averaged generator -> figures and rows of pictures for the record."""


@dataclass(frozen=True)
class FinerOptions:
    """What is trained and for how long; half as many reconstructions as real images a step."""

    width: int = 32
    """Channels of the new block."""
    widths: tuple[int, ...] = (128, 128, 96, 48, 32)
    """Of the critic at 4, 8, ... the side of a crop, which is half the picture's."""
    lr: float = 2e-3
    critic_lr: float = 2e-3
    features: float = 0.1
    small: float = 2.0
    """Weight of the absolute change of the picture in the small."""
    rules: Rules = field(default_factory=lambda: Rules(warm_up=100, ramp=300))
    pace: Pace = field(default_factory=Pace)


class Block(nn.Module):
    """The last block of a generator: two convolutions and a ToRGB."""

    def __init__(self, generator: StyleGAN2) -> None:
        super().__init__()
        net = generator.synthesis
        self.up, self.conv, self.to_rgb = *net.convs[-2:], net.to_rgbs[-1]
        self.upsample = net.upsample

    def forward(self, x: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        """What lies below (`below`) and rows [B, L, D] -> images [B, 3, R, R]."""
        x = self.conv(self.up(x, rows[:, -3]), rows[:, -2])
        image: Tensor = self.upsample(rgb) + self.to_rgb(x, rows[:, -1])
        return image


@torch.no_grad()
def below(generator: StyleGAN2, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [B, L, D] -> what a generator has before its last block: feature, and RGB image."""
    net, rgb = generator.synthesis, rows.new_zeros(1)  # below the first ToRGB there is nothing
    x = net.const.expand(len(rows), -1, -1, -1)
    for index, conv in enumerate(net.convs[:-NEW_ROWS]):
        x = conv(x, rows[:, index])
        if index % 2 == 0:  # the last one of a size
            image = net.to_rgbs[index // 2](x, rows[:, index + 1])
            rgb = image if index == 0 else net.upsample(rgb) + image
    return x, rgb


@torch.no_grad()
def doubled(small: StyleGAN2, width: int) -> StyleGAN2:
    """A generator of twice the resolution that draws what `small` draws, enlarged."""
    side = 2 * small.resolution
    channels = {**small.config.channels, side: width}
    large = StyleGAN2(replace(small.config, resolution=side, channels=channels))
    large.load_state_dict(small.state_dict(), strict=False)
    for name, value in large.synthesis.to_rgbs[-1].named_parameters():
        if not name.startswith("conv.affine"):
            value.zero_()
    return large.eval().requires_grad_(False)


def spread_rows(rows: Tensor) -> Tensor:
    """Rows of the small generator [B, L, D] for the large one: the last again for its block."""
    return torch.cat([rows, rows[:, -1:].expand(-1, NEW_ROWS, -1)], dim=1)


def rows_in(generator: StyleGAN2, trunk: DSEEncoder, images: Tensor) -> Tensor:
    """What a trunk finds in images [B, 3, R, R], which may be twice as large as those it takes."""
    small = F.interpolate(images, (trunk.config.resolution,) * 2, mode="area")
    rows, _ = trunk.rows_and_maps(small)
    return rows if rows.shape[1] == generator.config.layers else spread_rows(rows)


@dataclass
class Refining:
    """What training changes: the block. `generator` and `trunk` say what lies below it."""

    options: FinerOptions
    generator: StyleGAN2
    trunk: DSEEncoder
    """Of pictures as large, or half as large."""
    block: Block
    critic: Critic
    smooth: StyleGAN2
    adams: dict[str, torch.optim.Optimizer]
    distance: nn.Module
    """Images, images -> [B]."""
    look: Watch
    step: int = 0

    @property
    def parts(self) -> dict[str, Stateful]:
        """What is kept of it, by the names in a checkpoint."""
        adams = {f"adam-{name}": adam for name, adam in self.adams.items()}
        return {"block": self.block, "critic": self.critic, "smooth": Block(self.smooth), **adams}

    def descend(self, images: Tensor, team: Team) -> dict[str, Tensor]:
        """One step of both networks; returns what there is to log."""
        real = images.to(memory_format=torch.channels_last)
        few = real[: len(real) // 2]
        recon, before = self._drawn(self._encoded(few))
        told = self._teach(real, recon.detach(), team)
        terms = self._terms(few, recon, before)
        share = self.options.rules.share(self.step)
        if share > 0:
            fake, small = self._drawn(self._sampled(len(real)))
            seen = looked_at(self.options.rules, fake), looked_at(self.options.rules, recon)
            terms |= judged(self.options.rules, self.critic, *seen, share)
            terms["small"] = terms["small"] + self._small(fake, small)
        loss = torch.stack(list(terms.values())).sum()
        descend(team, loss, {"block": self.block}, self.adams)
        self.step += 1
        average(Block(self.smooth), self.block, self.options.pace.kept(self.step, team))
        return {**terms, **told}

    def watch(self) -> tuple[dict[str, float], list[Tensor]]:
        """What is seen of the average."""
        return self.look(self.smooth)

    def _teach(self, real: Tensor, recon: Tensor, team: Team) -> dict[str, Tensor]:
        """The critic's step."""
        rules = self.options.rules
        with torch.no_grad():
            fake, _ = self._drawn(self._sampled(len(real)))
        seen = looked_at(rules, real), looked_at(rules, fake), looked_at(rules, recon)
        return teach(rules, self.critic, seen, cropped(real), self.step, team, self.adams)

    def _terms(self, real: Tensor, recon: Tensor, before: Tensor) -> dict[str, Tensor]:
        """What a reconstruction is asked for besides looking real."""
        half = max(1, len(real) // 2)
        with self.options.rules.precision():
            apart = self.distance(real[:half], recon[:half]).float().mean()
        return {
            "l1": F.l1_loss(recon, real),
            "mse": 2 * F.mse_loss(recon, real),
            "features": self.options.features * apart,
            "small": self._small(recon, before),
        }

    def _small(self, drawn: Tensor, before: Tensor) -> Tensor:
        """How far images differ in the small from what lies below the block."""
        return self.options.small * F.l1_loss(F.avg_pool2d(drawn, 2), before)

    @torch.no_grad()
    def _encoded(self, images: Tensor) -> Tensor:
        with self.options.rules.precision():
            return rows_in(self.generator, self.trunk, images).float()

    @torch.no_grad()
    def _sampled(self, count: int) -> Tensor:
        w = self.generator.mapping(torch.randn(count, self.generator.config.z_dim))
        return w[:, None].expand(-1, self.generator.config.layers, -1)

    def _drawn(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, R, R], and what lies below the block [B, 3, R/2, R/2], likewise halved."""
        with self.options.rules.precision():
            x, rgb = below(self.generator, rows)
            images = self.block(x, rgb.float(), rows)
        calm = F.avg_pool2d(self.generator.synthesis.upsample(rgb.float()), 2)
        return images.float(), calm


def cropped(images: Tensor) -> Tensor:
    """[B, 3, R, R] -> a part of each, [B, 5, R/2, R/2]: colours, and where in -1 to 1 they are."""
    side = images.shape[-1]
    size, parts = side // 2, []
    line = torch.linspace(-1, 1, side)
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"))
    corners = torch.randint(side - size + 1, (len(images), 2)).tolist()
    for image, (top, left) in zip(images, corners, strict=True):
        whole = torch.cat([image, places])
        parts.append(whole[:, top : top + size, left : left + size])
    return torch.stack(parts)


def looked_at(rules: Rules, images: Tensor) -> Tensor:
    """What a critic of crops sees of images [B, 3, R, R]: parts, varied, and where they are."""
    parts = cropped(images)
    return torch.cat([rules.varied(parts[:, :3]), parts[:, 3:]], dim=1)


def begin(
    generator: StyleGAN2,
    trunk: DSEEncoder,
    options: FinerOptions,
    distance: nn.Module,
    look: Watch,
) -> Refining:
    """From a generator and its trunk, with an untrained critic of crops."""
    torch.manual_seed(options.pace.seed)
    own = copy.deepcopy(generator).float().eval().requires_grad_(False)
    channels = {4 << k: width for k, width in enumerate(options.widths)}
    critic = Critic(own.resolution // 2, channels, more=2)
    critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    smooth = copy.deepcopy(own)
    for to_rgb in own.synthesis.to_rgbs:
        exact(to_rgb)
    block = Block(own).train().requires_grad_(True)
    adams: dict[str, torch.optim.Optimizer] = {
        "block": build_optimiser(block, options.lr, rate_factor),
        "critic": build_optimiser(critic, options.critic_lr, rate_factor),
    }
    return Refining(options, own, trunk, block, critic, smooth, adams, distance, look)
