"""What adversarial training starts from, what it changes, and how that is kept on disk."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dseinvert.errors import MissingError, UsageError
from dseinvert.generators.ops import Blur, StyledConv
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.media.atomic import write_bytes
from dseinvert.training.checkpoints import DAMAGE, Stateful, dumps, load, restore, states
from dseinvert.training.optimiser import BETAS, build_optimiser
from recipe.gan.discriminator import Discriminator, low_pass

FILE = "adversarial.pt"
FREE = {"images", "log_every", "watch_every", "checkpoint_every"}
"""Options that may change when a run goes on."""
SLOW = 0.01
"""The learning rate of the mapping network, against that of the others."""


@dataclass(frozen=True)
class AdversarialOptions:
    """What is trained and for how long."""

    resolution: int = 128
    channels: tuple[int, ...] = (256, 256, 256, 256, 128, 64)
    """Widths of both networks at 4, 8, ... resolution."""
    w_dim: int = 256
    mapping_layers: int = 8
    images: int = 1_500_000
    """Real images shown to the discriminator in all."""
    batch: int = 64
    lr: float = 2.5e-3
    r1: float = 0.25
    """Weight gamma of the gradient penalty on real images."""
    r1_every: int = 16
    """Steps between penalties, each of which counts as many times."""
    path_length: float = 0.0
    """Weight of the path-length regularisation; 0 = none, 2 = as published."""
    path_every: int = 4
    mixing: float = 0.9
    """Share of the samples whose styles come from two codes."""
    ema_images: int = 10_000
    """Images after which the average of the weights has forgotten half..."""
    ema_ramp: float = 0.05
    """... but at most this share of the images seen so far."""
    ada_target: float = 0.6
    """Mean sign of the scores of real images that augmentation steers for; 1 = never augment."""
    ada_images: int = 100_000
    """Images in which the probability of augmentation can go from 0 to 1."""
    seed: int = 0
    log_every: int = 200
    watch_every: int = 2000
    checkpoint_every: int = 2000

    @property
    def table(self) -> dict[int, int]:
        """Resolution -> width."""
        return {4 << k: width for k, width in enumerate(self.channels)}

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.images // self.batch


@dataclass
class State:
    """What training changes. Random numbers are not in it: they follow from seed and step."""

    generator: StyleGAN2
    discriminator: Discriminator
    smooth: StyleGAN2
    """Moving average of the generator's weights: the result."""
    g_optimiser: torch.optim.Adam
    d_optimiser: torch.optim.Adam
    probability: Tensor
    """Of each augmentation []."""
    signs: Tensor
    """Running mean of the signs of the real images' scores []: 1 = they are known by heart."""
    path: Tensor
    """Running mean of the path length []."""
    step: int = 0


def new_state(options: AdversarialOptions, device: torch.device) -> State:
    """Untrained networks."""
    torch.manual_seed(options.seed)
    config = StyleGAN2Config(
        options.resolution, options.table, options.w_dim, options.w_dim, options.mapping_layers
    )
    generator, critic = StyleGAN2(config), Discriminator(options.resolution, options.table)
    for module in (generator, critic):
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    box_blurs(generator)
    return State(
        generator,
        critic,
        copy.deepcopy(generator).requires_grad_(False),
        optimiser(generator, options.lr, options.path_every if options.path_length else None),
        optimiser(critic, options.lr, options.r1_every),
        torch.zeros((), device=device),
        torch.zeros((), device=device),
        torch.zeros((), device=device),
    )


def optimiser(module: nn.Module, lr: float, every: int | None) -> torch.optim.Adam:
    """Adam with equalised rates, slowed for the regulariser's own step after each `every` others.

    (StyleGAN2, Appendix B.) None = there is no regulariser.
    """
    share = every / (every + 1) if every else 1.0
    adam = build_optimiser(module, lr * share, rate_factor)
    for group in adam.param_groups:
        group["betas"] = (BETAS[0] ** share, BETAS[1] ** share)
    return adam


def rate_factor(name: str, parameter: Tensor) -> float:
    """The initial deviation of a weight, 1 for all else; a hundredth in the mapping network."""
    factor = parameter[0].numel() ** -0.5 if name.endswith("weight") else 1.0
    return factor * (SLOW if name.startswith("mapping.") else 1)


def box_blurs(generator: StyleGAN2) -> None:
    """Give a generator the filters that GPUs run fast; they compute the same, and hold nothing."""
    for module in generator.synthesis.convs:
        if isinstance(module, StyledConv) and isinstance(module.blur, Blur):
            module.blur = BoxBlur()  # type: ignore[assignment]


class BoxBlur(nn.Module):
    """`ops.Blur` after an up-sampling convolution, by box averages."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 2H+1, 2W+1] -> [B, C, 2H, 2W]."""
        return 4 * low_pass(x, 1)


def save(file: Path, state: State, options: AdversarialOptions) -> None:
    """Write all that `resume` needs; the old checkpoint stays until the new one is whole."""
    content = {"run": _identity(options), "step": state.step, "adaptive": _adaptive(state)}
    write_bytes(file, dumps(content | states(_parts(state))))


def resume(file: Path, state: State, options: AdversarialOptions) -> None:
    """Bring `state` to where `file` was written; nothing happens where there is none.

    Raises:
        UsageError: it is of another run. MissingError: it is damaged.
    """
    if not file.exists():
        return
    try:
        # Onto the CPU: Adam counts its steps there, and each count on a GPU would halt it.
        content = load(file)
        if content["run"] != _identity(options):
            raise UsageError(f"{file} is of a run with other options", "choose another --work")
        restore(_parts(state), content)
        for own, stored in zip(_scalars(state), content["adaptive"], strict=True):
            own.copy_(stored)
        state.step = content["step"]
    except DAMAGE as error:
        raise MissingError(f"{file}: damaged checkpoint", "delete it to start again") from error


def _parts(state: State) -> dict[str, Stateful]:
    return {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "smooth": state.smooth,
        "g_optimiser": state.g_optimiser,
        "d_optimiser": state.d_optimiser,
    }


def _scalars(state: State) -> tuple[Tensor, ...]:
    return state.probability, state.signs, state.path


def _adaptive(state: State) -> list[Tensor]:
    return [scalar.clone() for scalar in _scalars(state)]


def _identity(options: AdversarialOptions) -> dict[str, Any]:
    return {name: _plain(v) for name, v in asdict(options).items() if name not in FREE}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
