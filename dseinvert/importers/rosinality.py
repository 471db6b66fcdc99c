"""StyleGAN2 `.pt` of rosinality's code, alone or as the decoder inside other checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.ops import fir_kernel
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.importers.found import Found
from dseinvert.importers.tensors import below, count, shape, take

State = Mapping[str, Any]
Part = tuple[str, Tensor]

RATE = 0.01
"""What the learning rate of the mapping network is multiplied by; files do not say."""


def recognise(content: Any) -> bool:
    """Whether this is a training checkpoint or a state dict of that generator."""
    return _state(content)[0] is not None


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator, of the moving average where there is one.

    Raises:
        InputError: a tensor is missing, misshapen or not finite, or a filter is another.
    """
    state, notes = _state(content)
    if state is None:
        raise InputError("no StyleGAN2 generator of rosinality's code")
    average = content.get("latent_avg")
    if average is None:
        notes += ("no latent_avg in the file: measured",)
    if "noises.noise_0" not in state:
        notes += ("no noise maps in the file: drawn once, from a fixed seed",)
    network = state_to_generator(state, average)
    return Found("StyleGAN2 checkpoint of rosinality", generator=network, notes=notes)


def state_to_generator(state: Mapping[str, Tensor], latent_avg: Tensor | None) -> StyleGAN2:
    """A generator from its state dict.

    Args:
        state: names as in `Generator.state_dict()`; others are passed over.
        latent_avg: mean of w [D], [1, D] or one row per layer, all alike; None = to be measured.

    Raises:
        InputError: a tensor is missing, misshapen or not finite, or a filter is another.
    """
    _check_filters(state)
    try:
        network = StyleGAN2(_config(state))
    except ValueError as error:
        raise InputError(f"a StyleGAN2 that cannot be built: {error}") from error
    weights = dict(_weights(state, network.config))
    weights["mapping.w_avg"] = network.mapping.w_avg
    if latent_avg is not None:
        weights["mapping.w_avg"] = _average(latent_avg, network.config.w_dim)
    network.load_state_dict(weights)
    if latent_avg is None:
        network.measure_mean()
    return network.eval().requires_grad_(False)


def _state(content: Any) -> tuple[State | None, tuple[str, ...]]:
    """The generator's state dict, and what was beside it."""
    if not isinstance(content, Mapping):
        return None, ()
    for name in ("g_ema", "g"):
        if _is_state(content.get(name)):
            others = ", ".join(str(other) for other in content if other not in (name, "latent_avg"))
            return content[name], (f"took {name}; left out {others}",) if others else ()
    return (content, ()) if _is_state(content) else (None, ())


def _is_state(value: Any) -> bool:
    marks = ("input.input", "conv1.conv.modulation.weight", "to_rgb1.conv.weight")
    return isinstance(value, Mapping) and all(mark in value for mark in marks)


def _config(state: State) -> StyleGAN2Config:
    convs = count(state, "convs.")
    names = ["conv1.activate.bias", *(f"convs.{i}.activate.bias" for i in range(0, convs, 2))]
    channels = {4 << step: shape(state, name, 1)[0] for step, name in enumerate(names)}
    w_dim = shape(state, "conv1.conv.modulation.weight", 2)[1]
    depth = count({"0": None, **below(state, "style.")}, "") - 1  # style.0 has no weights
    return StyleGAN2Config(max(channels), channels, w_dim, w_dim, depth)


def _average(latent: Any, w_dim: int) -> Tensor:
    fits = isinstance(latent, Tensor) and latent.ndim in (1, 2) and latent.shape[-1] == w_dim
    if not fits or not latent.numel():
        found = list(latent.shape) if isinstance(latent, Tensor) else "none"
        raise InputError(f"latent_avg: expected {[w_dim]}, found {found}")
    if not latent.isfinite().all():
        raise InputError("latent_avg: holds NaN or infinite numbers")
    return latent.float().reshape(-1, w_dim)[0]


def _check_filters(state: State) -> None:
    """Refuse a filter that would silently give other images."""
    for name in state:
        if name.endswith((".blur.kernel", ".upsample.kernel")):
            kernel = take(state, name, *fir_kernel().shape)
            if not torch.allclose(kernel, 4 * fir_kernel(), atol=1e-5):
                raise InputError(f"layer {name}: expected the filter [1, 3, 3, 1], found another")


def _weights(state: State, config: StyleGAN2Config) -> Iterator[Part]:
    """Every tensor but the mean under our name, with the scales of their run time."""
    widths = list(config.channels.values())
    yield "synthesis.const", take(state, "input.input", 1, widths[0], 4, 4)
    for index in range(config.mapping_layers):
        names = (f"style.{index + 1}", f"mapping.layers.{index}")
        yield from _dense(state, *names, config.w_dim, config.w_dim, RATE)
    drawn = torch.Generator().manual_seed(0)
    for index in range(config.layers - 1):
        width, before = widths[(index + 1) // 2], widths[index // 2]
        theirs = f"convs.{index - 1}" if index else "conv1"
        ours, res = f"synthesis.convs.{index}", 4 << (index + 1) // 2
        yield from _modulated(state, theirs, ours, width, before, 3, config.w_dim)
        yield f"{ours}.bias", take(state, f"{theirs}.activate.bias", width)
        yield f"{ours}.noise_strength", take(state, f"{theirs}.noise.weight", 1)[0]
        if "noises.noise_0" in state:
            yield f"{ours}.noise", take(state, f"noises.noise_{index}", 1, 1, res, res)
        else:
            yield f"{ours}.noise", torch.randn(1, 1, res, res, generator=drawn)
    for index, width in enumerate(widths):
        theirs = f"to_rgbs.{index - 1}" if index else "to_rgb1"
        ours = f"synthesis.to_rgbs.{index}"
        yield from _modulated(state, theirs, ours, 3, width, 1, config.w_dim)
        yield f"{ours}.bias", take(state, f"{theirs}.bias", 1, 3, 1, 1).flatten()


def _modulated(
    state: State, theirs: str, ours: str, outputs: int, inputs: int, kernel: int, w_dim: int
) -> Iterator[Part]:
    weight = take(state, f"{theirs}.conv.weight", 1, outputs, inputs, kernel, kernel)[0]
    yield f"{ours}.conv.weight", weight / math.sqrt(inputs * kernel**2)
    names = (f"{theirs}.conv.modulation", f"{ours}.conv.affine")
    yield from _dense(state, *names, inputs, w_dim)


def _dense(
    state: State, theirs: str, ours: str, outputs: int, inputs: int, rate: float = 1
) -> Iterator[Part]:
    """A fully connected layer whose learning rate was multiplied by `rate`."""
    weight = take(state, f"{theirs}.weight", outputs, inputs)
    yield f"{ours}.weight", weight * (rate / math.sqrt(inputs))
    yield f"{ours}.bias", take(state, f"{theirs}.bias", outputs) * rate
