"""Adversarial training of a StyleGAN2 on few pictures (Karras et al., 2020; ADA for the few)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import DeviceError, DseInvertError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.stop import stoppable
from dseinvert.training.average import average
from dseinvert.training.record import Record
from recipe.gan.augment import augment
from recipe.gan.gan_state import FILE, AdversarialOptions, State, new_state, resume, save

TABLE = "adversarial"
MOST = 0.8
"""More augmentation than this would show in what the generator draws (ADA, Figure 4)."""


class Pictures(Protocol):
    """The real images, on the device that trains."""

    def at(self, step: int) -> Tensor:
        """The batch of a step: [B, 3, R, R] in [-1, 1]."""


@dataclass(frozen=True)
class Nets:
    """The state's two networks in the form that its device runs fastest."""

    synthesis: Callable[..., Tensor]
    critic: Callable[[Tensor], Tensor]
    half: bool
    """Whether they run in bfloat16, whose range needs no loss scaling."""


Watch = Callable[[StyleGAN2], tuple[dict[str, float], list[Tensor]]]
"""The averaged generator -> figures for the log, and rows of images [N, 3, R, R] for a grid."""


def train(
    options: AdversarialOptions,
    real: Pictures,
    folder: Path,
    device: torch.device,
    watch: Watch,
    *,
    ends: float = math.inf,
    compiled: bool = False,
) -> State:
    """Train in `folder`, or go on with the run there; a SIGINT or SIGTERM ends it whole.

    Args:
        ends: value of time.monotonic() after which no further step begins.
        compiled: run the networks through torch.compile (minutes at first, faster then).

    Raises:
        UsageError: `folder` holds another run. MissingError: a damaged checkpoint.
        DeviceError: the GPU's memory does not hold the batch.
    """
    state = new_state(options, device)
    resume(folder / FILE, state, options)
    nets = fast(state, device, compiled)
    record = Record(folder, state.step)
    began, first = time.monotonic(), state.step  # of the next row of the log
    with stoppable() as stop:

        def over() -> bool:
            return state.step >= options.steps or stop.code is not None or time.monotonic() >= ends

        last = over()
        while not last:
            figures = descend(nets, state, options, real.at(state.step))
            last = over()
            if last or state.step % options.log_every == 0:
                rate = (state.step - first) * options.batch / (time.monotonic() - began)
                log(record, state, options, figures, rate)
                began, first = time.monotonic(), state.step
            if last or state.step % options.watch_every == 0:
                look(record, state, watch)
            if last or state.step % options.checkpoint_every == 0:
                save(folder / FILE, state, options)
    record.close()
    return state


def fast(state: State, device: torch.device, compiled: bool) -> Nets:
    """The networks as the device runs them best."""
    gpu = device.type == "cuda"
    if gpu:
        torch.backends.cudnn.benchmark = True
    synthesis: Callable[..., Tensor] = state.generator.synthesis
    critic: Callable[[Tensor], Tensor] = state.discriminator
    if compiled:
        synthesis = torch.compile(synthesis, dynamic=False)
        critic = torch.compile(critic, dynamic=False)
    return Nets(synthesis, critic, half=gpu)


def descend(
    nets: Nets, state: State, options: AdversarialOptions, real: Tensor
) -> dict[str, Tensor]:
    """One step of each network; returns what there is to log."""
    torch.manual_seed(2 * options.seed * 0x9E3779B1 + state.step)
    try:
        figures = teach_critic(nets, state, options, augment(real, state.probability))
        figures |= teach_generator(nets, state, options)
    except torch.OutOfMemoryError as error:
        what = f"out of GPU memory at batch {options.batch}"
        raise DeviceError(what, "lower --batch") from error
    state.step += 1
    seen = state.step * options.batch
    half_life = min(options.ema_images, options.ema_ramp * seen)
    average(state.smooth, state.generator, keep=0.5 ** (options.batch / half_life))
    # The mean of w is an average already.
    state.smooth.mapping.w_avg.copy_(state.generator.mapping.w_avg)
    return figures


def teach_critic(
    nets: Nets, state: State, options: AdversarialOptions, real: Tensor
) -> dict[str, Tensor]:
    """The logistic loss, now and then R1, and the adaptation of the augmentation."""
    state.discriminator.requires_grad_(True)
    with torch.no_grad():
        fake = augment(draw(nets, state, options)[0], state.probability)
    fake_scores, real_scores = score(nets, fake), score(nets, real)
    loss = F.softplus(fake_scores).mean() + F.softplus(-real_scores).mean()
    _step(state.d_optimiser, loss)
    if state.step % options.r1_every == 0:
        # Not compiled: compiled graphs have no second derivatives; and in full precision.
        penalty = gradient_penalty(state.discriminator, real)
        _step(state.d_optimiser, options.r1 / 2 * options.r1_every * penalty)
    signs = real_scores.detach().sign().mean()
    state.signs.lerp_(signs, 0.1)
    towards = (state.signs - options.ada_target).sign() * options.batch / options.ada_images
    state.probability.add_(towards).clamp_(0, MOST)
    return {
        "critic": loss.detach(),
        "fake": fake_scores.detach().mean(),
        "real": real_scores.detach().mean(),
    }


def teach_generator(nets: Nets, state: State, options: AdversarialOptions) -> dict[str, Tensor]:
    """The non-saturating loss, and path lengths where they are wanted."""
    state.discriminator.requires_grad_(False)
    fake, rows = draw(nets, state, options)
    loss = F.softplus(-score(nets, augment(fake, state.probability))).mean()
    _step(state.g_optimiser, loss)
    state.generator.mapping.w_avg.lerp_(rows.detach().mean((0, 1)), 0.005)
    if options.path_length and state.step % options.path_every == 0:
        penalty = path_penalty(state, options)
        _step(state.g_optimiser, options.path_length * options.path_every * penalty)
    return {"generator": loss.detach()}


def gradient_penalty(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """R1: the mean over images of |d score / d image|^2 (Mescheder et al., 2018)."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_penalty(state: State, options: AdversarialOptions) -> Tensor:
    """(|J^T y| - a)^2 on half a batch, a being its running mean (StyleGAN2, Equation 4)."""
    rows = codes(state.generator, max(1, options.batch // 2), options.mixing)
    images = state.generator.synthesis(rows, noise=noises(state.generator, len(rows)))
    y = torch.randn_like(images) / options.resolution
    (gradient,) = torch.autograd.grad((images * y).sum(), rows, create_graph=True)
    lengths = gradient.square().sum(2).mean(1).sqrt()
    state.path.lerp_(lengths.detach().mean(), 0.01)
    return (lengths - state.path).square().mean()


def draw(nets: Nets, state: State, options: AdversarialOptions) -> tuple[Tensor, Tensor]:
    """Fresh samples [B, 3, R, R] and their rows [B, L, D]."""
    rows = codes(state.generator, options.batch, options.mixing)
    noise = noises(state.generator, options.batch, torch.bfloat16 if nets.half else torch.float32)
    with torch.autocast(rows.device.type, torch.bfloat16, enabled=nets.half):
        return nets.synthesis(rows, noise=noise).float(), rows


def score(nets: Nets, images: Tensor) -> Tensor:
    """[B, 3, R, R] -> [B]."""
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=nets.half):
        return nets.critic(images).float()


def codes(generator: StyleGAN2, count: int, mixing: float) -> Tensor:
    """Rows [B, L, D] of random z; a share of them takes its later rows from another z."""
    config, device = generator.config, generator.device
    first, second = generator.mapping(torch.randn(2 * count, config.z_dim, device=device)).chunk(2)
    cut = torch.randint(1, config.layers, (count, 1), device=device)
    plain = torch.rand(count, 1, device=device) >= mixing
    early = plain | (torch.arange(config.layers, device=device) < cut)
    return torch.where(early[..., None], first[:, None], second[:, None])


def noises(generator: StyleGAN2, count: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """A fresh map [B, 1, H, W] for each styled convolution."""
    shapes = [conv.get_buffer("noise").shape[1:] for conv in generator.synthesis.convs]
    return [torch.randn(count, *s, device=generator.device, dtype=dtype) for s in shapes]


def look(record: Record, state: State, watch: Watch) -> None:
    """Note how the averaged generator does."""
    figures, rows = watch(state.smooth.eval())
    record.add("watch", state.step, figures)
    record.picture(state.step, rows)
    print(state.step, *(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


def log(
    record: Record,
    state: State,
    options: AdversarialOptions,
    figures: Mapping[str, Tensor],
    rate: float,
) -> None:
    """One row of losses; a run that has diverged ends here and keeps its last checkpoint."""
    row = {"images": state.step * options.batch, "images_s": rate}
    row |= {name: float(value.detach()) for name, value in figures.items()}
    row |= {"signs": float(state.signs), "augmented": float(state.probability)}
    if not math.isfinite(row["critic"] + row["generator"]):
        raise DseInvertError(f"step {state.step}: the loss is not finite", "lower --lr")
    record.add(TABLE, state.step, row)
    print(state.step, *(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


def _step(adam: torch.optim.Adam, loss: Tensor) -> None:
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()
