"""StyleGAN2 of NVlabs' PyTorch code, with or without classes, from its two repositories."""

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
from dseinvert.importers.nvlabs import CLAMP, attribute, dense, generator_in, is_state
from dseinvert.importers.tensors import shape, take
from dseinvert.pickled.pickles import Module

State = Mapping[str, Any]
Part = tuple[str, Tensor]

MARK = "synthesis.b4.conv1.affine.weight"


def recognise(content: Any) -> bool:
    """Whether this is such a pickle, a generator among its networks or alone, or a state dict."""
    network, _ = generator_in(content, MARK)
    return network is not None


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator, of the moving average where there is one.

    Raises:
        InputError: a tensor is missing, misshapen or not finite, or the network has a part that
            none of the published ones has.
    """
    network, notes = generator_in(content, MARK)
    if network is None:
        raise InputError("no StyleGAN2 generator of NVlabs' PyTorch code")
    _check(network)
    try:
        built = StyleGAN2(_config(network))
    except ValueError as error:
        raise InputError(f"a StyleGAN2 that cannot be built: {error}") from error
    state = network.tensors
    known = "mapping.w_avg" in state
    weights = dict(_weights(network, built.config))
    built.load_state_dict({"mapping.w_avg": built.mapping.w_avg, **weights})
    if not known:
        built.measure_mean()
        notes += ("no mean of w in the file: measured",)
    if is_state(network):
        notes += (f"a state dict alone: layers are bounded by {CLAMP:g}, as NVlabs trains them",)
    return Found(
        f"StyleGAN2-ADA {'state dict' if is_state(network) else 'pickle'} of NVlabs",
        generator=built.eval().requires_grad_(False),
        notes=notes,
    )


def _config(network: Module) -> StyleGAN2Config:
    state = network.tensors
    widths = _widths(state)
    last = f"synthesis.b{max(widths)}"
    classes, embedded = 0, None
    if "mapping.embed.weight" in state:
        embedded, classes = shape(state, "mapping.embed.weight", 2)
    depth = sum(f"mapping.fc{index}.weight" in state for index in range(len(state)))
    w_dim = shape(state, "synthesis.b4.conv1.affine.weight", 2)[1]
    inputs = shape(state, "mapping.fc0.weight", 2)[1] if depth else w_dim
    hidden = shape(state, "mapping.fc0.weight", 2)[0] if depth > 1 else w_dim
    if f"{last}.skip.weight" in state:
        architecture = "resnet"
    else:
        architecture = "skip" if "synthesis.b4.torgb.weight" in state else "orig"
    usual = CLAMP if is_state(network) else None
    clamp = attribute(network, "synthesis.b4.conv1", "conv_clamp", usual)
    return StyleGAN2Config(
        resolution=max(widths),
        channels=widths,
        w_dim=w_dim,
        z_dim=inputs - (embedded or 0),
        mapping_layers=depth,
        mapping_width=hidden,
        classes=classes,
        embed_dim=embedded,
        architecture=architecture,  # type: ignore[arg-type]
        image_channels=shape(state, f"{last}.torgb.weight", 4)[0],
        clamp=None if clamp is None else float(clamp),
    )


def _widths(state: State) -> dict[int, int]:
    """Resolution -> width of its features."""
    resolution, widths = 4, {}
    while f"synthesis.b{resolution}.conv1.weight" in state:
        name = f"synthesis.b{resolution}.conv1.weight"
        widths[resolution] = shape(state, name, 4)[0]
        resolution *= 2
    if not widths:
        raise InputError("layer synthesis.b4.conv1.weight: expected 4 dimensions, found none")
    return widths


def _weights(network: Module, config: StyleGAN2Config) -> Iterator[Part]:
    """Every tensor under our name, with the scales that theirs are multiplied by at run time."""
    state, widths = network.tensors, config.channels
    yield from _mapping(network, config)
    const = take(state, "synthesis.b4.const", widths[4], 4, 4)
    yield "synthesis.const", const[None]
    index, before = 0, widths[4]
    for block, res in enumerate(config.resolutions):
        theirs, width = f"synthesis.b{res}", widths[res]
        for conv in ("conv1",) if res == 4 else ("conv0", "conv1"):
            sides = (width, before, res, config.w_dim)
            yield from _styled(state, f"{theirs}.{conv}", f"synthesis.convs.{index}", *sides)
            index, before = index + 1, width
        if f"{theirs}.skip.weight" in state:
            inputs = widths[res // 2]
            kernel = take(state, f"{theirs}.skip.weight", width, inputs, 1, 1)
            # The sum of the two branches is scaled by sqrt(1/2).
            yield f"synthesis.bypasses.{block - 1}.weight", kernel * math.sqrt(0.5 / inputs)
        if config.architecture == "skip" or res == config.resolution:
            place = block if config.architecture == "skip" else 0
            yield from _to_rgb(
                state, f"{theirs}.torgb", f"synthesis.to_rgbs.{place}", width, config
            )


def _mapping(network: Module, config: StyleGAN2Config) -> Iterator[Part]:
    state = network.tensors
    if "mapping.w_avg" in state:
        yield "mapping.w_avg", take(state, "mapping.w_avg", config.w_dim)
    width, hidden = config.z_dim, config.mapping_width or config.w_dim
    if config.classes:
        embedded = config.embed_dim or config.w_dim
        yield from dense(state, "mapping.embed", "mapping.embed", embedded, config.classes)
        width += embedded
    for index in range(config.mapping_layers):
        out = config.w_dim if index == config.mapping_layers - 1 else hidden
        rate = float(attribute(network, f"mapping.fc{index}", "bias_gain", 0.01))
        names = (f"mapping.fc{index}", f"mapping.layers.{index}")
        yield from dense(state, *names, out, width, rate)
        width = out


def _styled(
    state: State, theirs: str, ours: str, width: int, before: int, res: int, w_dim: int
) -> Iterator[Part]:
    yield f"{ours}.conv.weight", take(state, f"{theirs}.weight", width, before, 3, 3)
    yield from dense(state, f"{theirs}.affine", f"{ours}.conv.affine", before, w_dim)
    yield f"{ours}.bias", take(state, f"{theirs}.bias", width)
    noisy = f"{theirs}.noise_const" in state
    noise = take(state, f"{theirs}.noise_const", res, res) if noisy else torch.zeros(res, res)
    yield f"{ours}.noise", noise[None, None]
    strength = take(state, f"{theirs}.noise_strength") if noisy else torch.zeros(())
    yield f"{ours}.noise_strength", strength


def _to_rgb(
    state: State, theirs: str, ours: str, width: int, config: StyleGAN2Config
) -> Iterator[Part]:
    kernel = take(state, f"{theirs}.weight", config.image_channels, width, 1, 1)
    yield f"{ours}.conv.weight", kernel / math.sqrt(width)
    yield from dense(state, f"{theirs}.affine", f"{ours}.conv.affine", width, config.w_dim)
    yield f"{ours}.bias", take(state, f"{theirs}.bias", config.image_channels)


def _check(network: Module) -> None:
    """Refuse what would silently give other images: another filter, another activation."""
    state = network.tensors
    for name in state:
        path, _, kind = name.rpartition(".")
        if kind == "resample_filter":
            kernel = take(state, name, *fir_kernel().shape)
            if not torch.allclose(kernel, fir_kernel(), atol=1e-6):
                raise InputError(f"layer {name}: expected the filter [1, 3, 3, 1], found another")
        elif kind == "bias" and not path.endswith((".affine", ".embed")):
            used = attribute(network, path, "activation", "lrelu")
            if used != "lrelu":
                raise InputError(f"layer {path}: expected the activation lrelu, found {used}")
