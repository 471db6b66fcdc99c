"""An auto-encoder made sharp: its generator against a critic, its encoder's trunk along with it.

Samples and reconstructions are both judged, reconstruction and feature terms stay, and W keeps its
meaning because the trunk is trained beside the generator (AE-StyleGAN, Han et al., 2022).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.media.atomic import write_bytes
from dseinvert.training.average import average
from dseinvert.training.checkpoints import Stateful, dumps, load, restore, states
from dseinvert.training.optimiser import build_optimiser
from dseinvert.training.record import Record
from recipe.gan.adversarial import gradient_penalty
from recipe.gan.augment import augment
from recipe.gan.critic import Critic, exact
from recipe.gan.gan_state import rate_factor
from recipe.gan.team import Team

FILE = "sharpen.pt"
Watch = Callable[[StyleGAN2, DSEEncoder], tuple[dict[str, float], list[Tensor]]]
"""The averaged generator and trunk -> figures and rows of pictures for the record."""


@dataclass(frozen=True)
class SharpenOptions:
    """What is trained and for how long."""

    widths: tuple[int, ...] = (160, 160, 96, 48, 32)
    """Of the critic at 4, 8, ... resolution."""
    images: int = 300_000
    """Real images shown to the critic in all."""
    batch: int = 16
    """Of each process; half as many reconstructions."""
    lr: float = 1e-3
    critic_lr: float = 2e-3
    trunk_lr: float = 2e-4
    samples: float = 0.5
    """Weight of the critic's word on samples..."""
    recons: float = 0.1
    """... and on reconstructions."""
    judged: float = 0.8
    """Share of samples in what the critic is taught of drawn images."""
    features: float = 0.1
    taps: float = 1e-3
    base_share: float = 0.5
    """Share of the reconstructions drawn from the base code alone."""
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
    """bfloat16 in the convolutions, where the processor has it about twice as fast."""
    seed: int = 0
    log_every: int = 25
    keep_every: int = 200
    watch_every: int = 400


@dataclass
class State:
    """What training changes."""

    generator: StyleGAN2
    trunk: DSEEncoder
    critic: Critic
    smooth: StyleGAN2
    smooth_trunk: DSEEncoder
    adams: dict[str, torch.optim.Optimizer]
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


def new_state(generator: StyleGAN2, trunk: DSEEncoder, options: SharpenOptions) -> State:
    """From a generator and its trunk, which are copied, and an untrained critic."""
    torch.manual_seed(options.seed)
    own, own_trunk = copy.deepcopy(generator), copy.deepcopy(trunk)
    for module in (own, own_trunk):
        module.float().train().requires_grad_(True)
    channels = {4 << k: width for k, width in enumerate(options.widths)}
    critic = Critic(generator.resolution, channels)
    critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    adams: dict[str, torch.optim.Optimizer] = {
        "generator": build_optimiser(own, options.lr, rate_factor),
        "critic": build_optimiser(critic, options.critic_lr, rate_factor),
        "trunk": torch.optim.Adam(own_trunk.parameters(), options.trunk_lr, betas=(0.9, 0.99)),
    }
    smooth, smooth_trunk = copy.deepcopy(own), copy.deepcopy(own_trunk)
    for module in (smooth, smooth_trunk):
        module.eval().requires_grad_(False)
    for to_rgb in own.synthesis.to_rgbs:
        exact(to_rgb)
    return State(own, own_trunk, critic, smooth, smooth_trunk, adams)


def train(
    options: SharpenOptions,
    state: State,
    real: Callable[[int], Iterator[Tensor]],
    distance: nn.Module,
    folder: Path,
    watch: Watch,
    team: Team,
) -> State:
    """Train to the end, or go on from the checkpoint in `folder`; the result is the averages.

    Args:
        real: step -> batches [B, 3, R, R] in [-1, 1] from that step on, of this process alone.
        distance: images, images -> [B].
        watch: called by the process that leads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / FILE).exists():
        content = load(folder / FILE)
        restore(state.parts, content)
        state.step = int(content["step"])
    record = Record(folder, state.step) if team.leads else None
    steps = options.images // (options.batch * team.size)
    began, first = time.monotonic(), state.step
    for images in real(state.step) if state.step < steps else ():
        torch.manual_seed((options.seed * 0x9E3779B1 + state.step) * team.size + team.rank)
        figures = descend(options, state, images, distance, team)
        if record is not None and state.step % options.log_every == 0:
            rate = (state.step - first) * len(images) * team.size / (time.monotonic() - began)
            told = {name: float(value.detach()) for name, value in figures.items()}
            record.add("losses", state.step, {"images_s": rate, **told})
        last = state.step >= steps
        if record is not None and (last or state.step % options.keep_every == 0):
            write_bytes(folder / FILE, dumps({**states(state.parts), "step": state.step}))
        if record is not None and (last or state.step % options.watch_every == 0):
            found, rows = watch(state.smooth, state.smooth_trunk)
            record.add("watch", state.step, found)
            record.picture(state.step, rows)
        if last:
            break
    return state


def descend(
    options: SharpenOptions, state: State, real: Tensor, distance: nn.Module, team: Team
) -> dict[str, Tensor]:
    """One step of every network; returns what there is to log."""
    whole = len(real) * team.size
    real = real.to(memory_format=torch.channels_last)
    rows, taps = _encoded(options, state.trunk, real[: len(real) // 2])
    recon = _drawn(options, state.generator, rows)
    critic = _teach_critic(options, state, real, recon.detach(), team)
    if state.step % options.r1_every == 0:  # lazily, and in full precision
        gamma = options.r1 * real.shape[-1] ** 2 / whole
        penalty = gamma / 2 * options.r1_every * gradient_penalty(state.critic, real)
        _step(state, team, penalty, "critic")
    terms = _terms(options, real[: len(recon)], recon, taps, distance)
    share = min(1.0, max(0.0, (state.step - options.warm_up) / options.ramp))
    if share > 0:
        terms |= _judged(options, state, recon, len(real), share)
    loss = torch.stack(list(terms.values())).sum()
    _step(state, team, loss, "generator", "trunk")
    state.step += 1
    seen = state.step * whole
    keep = 0.5 ** (whole / min(10_000, 0.05 * seen + 1))
    average(state.smooth, state.generator, keep)
    average(state.smooth_trunk, state.trunk, keep)
    return {**terms, **critic}


def _encoded(options: SharpenOptions, trunk: DSEEncoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [B, L, D] of images, a share of them of the base code alone; and their taps."""
    with _half(options):
        taps, z_c = trunk.taps(images)
    assert trunk.base is not None
    base = trunk.w_avg + trunk.base(z_c.float().flatten(1))
    plain = torch.rand(len(images)) < options.base_share
    return base[:, None] + torch.where(plain[:, None, None], 0, taps.float()), taps.float()


def _teach_critic(
    options: SharpenOptions, state: State, real: Tensor, recon: Tensor, team: Team
) -> dict[str, Tensor]:
    """The logistic loss on real images, samples and reconstructions, all augmented alike."""
    state.critic.requires_grad_(True)
    with torch.no_grad():
        fake = _samples(options, state.generator, len(real))
    chance = torch.tensor(options.augmented)
    seen = torch.cat([augment(part, chance) for part in (real, fake, recon)])
    known, drawn, again = _scores(options, state.critic, seen).split(
        [len(real), len(fake), len(recon)]
    )
    fakes = options.judged * F.softplus(drawn).mean()
    fakes = fakes + (1 - options.judged) * F.softplus(again).mean()
    _step(state, team, F.softplus(-known).mean() + fakes, "critic")
    state.critic.requires_grad_(False)
    return {"sign": known.sign().mean(), "critic_real": known.mean(), "critic_fake": drawn.mean()}


def _terms(
    options: SharpenOptions, real: Tensor, recon: Tensor, taps: Tensor, distance: nn.Module
) -> dict[str, Tensor]:
    """What a reconstruction is asked for besides looking real."""
    with _half(options):
        apart = distance(real, recon).float().mean()
    return {
        "l1": F.l1_loss(recon, real),
        "mse": 2 * F.mse_loss(recon, real),
        "features": options.features * apart,
        "taps": options.taps * taps.square().mean(),
    }


def _judged(
    options: SharpenOptions, state: State, recon: Tensor, count: int, share: float
) -> dict[str, Tensor]:
    """The critic's word on fresh samples and on the reconstructions (non-saturating)."""
    fake, chance = _samples(options, state.generator, count), torch.tensor(options.augmented)
    seen = torch.cat([augment(fake, chance), augment(recon, chance)])
    drawn, again = _scores(options, state.critic, seen).split([count, len(recon)])
    return {
        "samples": share * options.samples * F.softplus(-drawn).mean(),
        "recons": share * options.recons * F.softplus(-again).mean(),
    }


def _samples(options: SharpenOptions, generator: StyleGAN2, count: int) -> Tensor:
    w = generator.mapping(torch.randn(count, generator.config.z_dim))
    return _drawn(options, generator, w[:, None].expand(-1, generator.config.layers, -1))


def _drawn(options: SharpenOptions, generator: StyleGAN2, rows: Tensor) -> Tensor:
    with _half(options):
        images: Tensor = generator.synthesis(rows)
    return images.float()


def _scores(options: SharpenOptions, critic: Critic, images: Tensor) -> Tensor:
    with _half(options):
        scores: Tensor = critic(images)
    return scores.float()


def _half(options: SharpenOptions) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16, enabled=options.half)


def _step(state: State, team: Team, loss: Tensor, *names: str) -> None:
    """One step of these networks down `loss`, as all processes see it."""
    for name in names:
        state.adams[name].zero_grad(set_to_none=True)
    loss.backward()
    for name in names:
        team.average(getattr(state, name))
    if "trunk" in names:
        nn.utils.clip_grad_norm_(state.trunk.parameters(), 1.0)
    for name in names:
        state.adams[name].step()
