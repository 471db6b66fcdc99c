"""StyleGAN3 of NVlabs' PyTorch code, configurations T and R, with or without classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.stylegan3 import Signal, StyleGAN3, StyleGAN3Config
from dseinvert.importers import nvlabs
from dseinvert.importers.found import Found
from dseinvert.importers.tensors import shape, take
from dseinvert.pickled.pickles import Module

Part = tuple[str, Tensor]

MARK = "synthesis.input.freqs"
NUMBERS = (
    "channel_base",
    "channel_max",
    "num_layers",
    "num_critical",
    "first_cutoff",
    "first_stopband",
    "last_stopband_rel",
    "margin_size",
    "output_scale",
    "conv_kernel",
    "use_radial_filters",
    "filter_size",
    "lrelu_upsampling",
    "conv_clamp",
)
"""What the synthesis network was constructed with; the defaults are ours as well."""
_LARGEST = 16_384
_BASES = range(4, 21)  # powers of two that channel_base may be
_PICKLE = "bring the .pkl, which does"


def recognise(content: Any) -> bool:
    """Whether this is such a pickle, a generator among its networks or alone, or a state dict."""
    network, _ = nvlabs.generator_in(content, MARK)
    return network is not None


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator, of the moving average where there is one.

    Raises:
        InputError: a tensor is missing, misshapen or not finite, or does not fit the numbers that
            the network says it was made with.
    """
    network, notes = nvlabs.generator_in(content, MARK)
    if network is None:
        raise InputError("no StyleGAN3 generator of NVlabs' PyTorch code")
    try:
        config = _config(network)
        weights = dict(_weights(network, config))  # checked before anything of its size is made
        built = StyleGAN3(config)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise InputError(f"a StyleGAN3 that cannot be built: {error}") from error
    built.load_state_dict(weights)
    return Found(
        f"StyleGAN3 {'state dict' if nvlabs.is_state(network) else 'pickle'} of NVlabs",
        generator=built.eval().requires_grad_(False),
        notes=notes,
    )


def _config(network: Module) -> StyleGAN3Config:
    if nvlabs.is_state(network):
        return _implied(network.tensors)
    state = network.tensors
    synthesis = nvlabs.inner(network, "synthesis")
    numbers: dict[str, Any] = {
        name: synthesis.kwargs[name] for name in NUMBERS if name in synthesis.kwargs
    }
    for name, number in numbers.items():
        if not _sensible(number) and not (name == "conv_clamp" and number is None):
            raise InputError(f"a StyleGAN3 that cannot be built: {name} is {number!r}")
    layers, resolution = _layers(state)
    w_dim = shape(state, "synthesis.input.affine.weight", 2)[1]
    numbers |= nvlabs.mapping_sizes(state, w_dim)
    config = StyleGAN3Config(resolution, w_dim=w_dim, **numbers)
    if config.num_layers != layers - 1:
        raise InputError(f"expected {config.num_layers + 1} synthesis layers, found {layers}")
    return config


def _implied(state: Mapping[str, Any]) -> StyleGAN3Config:
    """The numbers that names and shapes imply, where the others are those of T and R.

    Raises:
        InputError: they are not.
    """
    layers, resolution = _layers(state)
    named = sorted(_named(state))
    first = f"synthesis.L0_{named[0][1]}_{named[0][2]}"
    w_dim = shape(state, "synthesis.input.affine.weight", 2)[1]
    config = StyleGAN3Config(
        resolution,
        channel_max=max(channels for *_, channels in named),
        w_dim=w_dim,
        num_layers=layers - 1,
        conv_kernel=shape(state, f"{first}.weight", 4)[3],
        use_radial_filters=state.get(f"{first}.down_filter", torch.ones(1)).ndim == 2,
        **nvlabs.mapping_sizes(state, w_dim),
    )
    for power in _BASES:
        config = replace(config, channel_base=2**power)
        signals = [config.signals[0], *config.signals]
        if [(s.size, s.channels) for s in signals[1:]] == [pair[1:] for pair in named]:
            return config
    raise InputError("a StyleGAN3 state dict does not say how its network was made", _PICKLE)


def _sensible(number: Any) -> bool:
    return isinstance(number, int | float) and 0 <= number <= 2**20


def _layers(state: Mapping[str, Any]) -> tuple[int, int]:
    """How many layers there are, and the last one's side."""
    sides = {index: side for index, side, _ in _named(state)}
    last = max(sides, default=-1)
    if set(sides) != set(range(len(sides))) or not 0 < sides.get(last, 0) <= _LARGEST:
        raise InputError("layer synthesis.L0: expected layers L0, L1, ..., found a gap or none")
    return len(sides), sides[last]


def _named(state: Mapping[str, Any]) -> set[tuple[int, int, int]]:
    """Index, side and channels of the layers, which are named L<index>_<side>_<channels>."""
    found = set()
    for name in state:
        part = name.removeprefix("synthesis.L").split(".")[0].split("_")
        if name.startswith("synthesis.L") and len(part) == 3 and all(p.isdecimal() for p in part):
            found.add((int(part[0]), int(part[1]), int(part[2])))
    return found


def _weights(network: Module, config: StyleGAN3Config) -> Iterator[Part]:
    """Every tensor under our name, with the scales that theirs are multiplied by at run time."""
    state, signals, w_dim = network.tensors, config.signals, config.w_dim
    yield from nvlabs.mapping(network, config.z_dim, w_dim, config.mapping_layers, config.classes)
    yield from _input(state, signals[0].channels, w_dim)
    for index, (before, after) in enumerate(pairwise([signals[0], *signals])):
        theirs = f"synthesis.L{index}_{after.size}_{after.channels}"
        if index == config.num_layers:
            yield from _to_rgb(state, theirs, before, w_dim)
        else:
            _check_filters(state, theirs, config, index)
            ours = f"synthesis.layers.{index}"
            yield from _layer(state, theirs, ours, before, after, config)


def _input(state: Mapping[str, Any], channels: int, w_dim: int) -> Iterator[Part]:
    name = "synthesis.input"
    weight = take(state, f"{name}.weight", channels, channels)
    yield f"{name}.weight", weight[:, :, None, None] / math.sqrt(channels)
    yield from nvlabs.dense(state, f"{name}.affine", f"{name}.affine", 4, w_dim)
    yield f"{name}.freqs", take(state, f"{name}.freqs", channels, 2)
    yield f"{name}.phases", take(state, f"{name}.phases", channels)
    yield f"{name}.transform", take(state, f"{name}.transform", 3, 3)


def _layer(
    state: Mapping[str, Any],
    theirs: str,
    ours: str,
    before: Signal,
    after: Signal,
    config: StyleGAN3Config,
) -> Iterator[Part]:
    kernel = config.conv_kernel
    weight = take(state, f"{theirs}.weight", after.channels, before.channels, kernel, kernel)
    norm = torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)
    if (norm == 0).any():
        raise InputError(f"layer {theirs}.weight: holds a channel of zeros")
    yield f"{ours}.weight", weight / norm  # demodulation undoes any scale
    yield f"{ours}.bias", take(state, f"{theirs}.bias", after.channels)
    yield from nvlabs.dense(
        state, f"{theirs}.affine", f"{ours}.affine", before.channels, config.w_dim
    )
    yield f"{ours}.gain", _gain(state, theirs)


def _to_rgb(state: Mapping[str, Any], theirs: str, before: Signal, w_dim: int) -> Iterator[Part]:
    ours = "synthesis.to_rgb"
    weight = take(state, f"{theirs}.weight", 3, before.channels, 1, 1)
    yield f"{ours}.weight", weight * _gain(state, theirs) / math.sqrt(before.channels)
    yield f"{ours}.bias", take(state, f"{theirs}.bias", 3)
    yield from nvlabs.dense(state, f"{theirs}.affine", f"{ours}.affine", before.channels, w_dim)


def _gain(state: Mapping[str, Any], theirs: str) -> Tensor:
    magnitude = take(state, f"{theirs}.magnitude_ema")
    if magnitude <= 0:
        raise InputError(f"layer {theirs}.magnitude_ema: expected more than 0, found {magnitude}")
    return magnitude.rsqrt()


def _check_filters(
    state: Mapping[str, Any], theirs: str, config: StyleGAN3Config, index: int
) -> None:
    """Refuse what would silently give other images; the filters follow from the numbers."""
    for name, expected in zip(("up_filter", "down_filter"), config.filters(index), strict=True):
        if expected.taps == 1:
            continue
        shape = (expected.taps,) * (2 if expected.radial else 1)
        found = take(state, f"{theirs}.{name}", *shape)
        if not torch.allclose(found.double(), torch.from_numpy(expected.design()), atol=1e-5):
            raise InputError(f"layer {theirs}.{name}: not the filter that its numbers ask for")
