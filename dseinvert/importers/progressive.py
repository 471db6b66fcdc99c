"""PGGAN, StyleGAN and StyleGAN2 from tensors named in any way, their run-time scales folded in.

All three learn with weight scaling at run time ("equalised learning rate", PGGAN, Section 4.1):
what a file holds has to be multiplied by gain / sqrt(fan-in) before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators.pggan import PGGAN, PGGANConfig, doubling_kernel
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import Architecture, StyleGAN2, StyleGAN2Config
from dseinvert.importers.tensors import shape, take

GAIN = math.sqrt(2)
"""Of a layer before a leaky ReLU that has no gain of its own."""
MOST = 20
"""Layers of a network of 2048 px, twice as large as any that was published."""


class Namer(Protocol):
    """The name in a file of one part of one layer."""

    def __call__(self, part: str, index: int = 0) -> str:
        """Index: the layer from 0; of rgb.* the resolution from 0 (4x4).

        Parts: const, weight, bias, noise, strength, style.weight, style.bias, bypass, rgb.weight,
        rgb.bias, rgb.style.weight, rgb.style.bias, mapping.weight, mapping.bias, w_avg, lod,
        embedding (of StyleGAN), embed.weight, embed.bias (of StyleGAN2). A name that is in no file
        where a format has no such part.
        """


@dataclass(frozen=True)
class Source:
    """The tensors of a file, kernels as [O, I, H, W] and matrices as [O, I]."""

    state: Mapping[str, Any]
    name: Namer
    scaled: bool = False
    """Whether the file holds weights with their scale, ready for use."""

    def take(self, part: str, index: int, *sides: int) -> Tensor:
        """One part of that shape; InputError where it is not so."""
        return take(self.state, self.name(part, index), *sides)

    def shape(self, part: str, index: int, dimensions: int) -> tuple[int, ...]:
        """The shape of a part that must be there."""
        return shape(self.state, self.name(part, index), dimensions)

    def has(self, part: str, index: int = 0) -> bool:
        """Whether the file has it."""
        return self.name(part, index) in self.state

    def count(self, *parts: str) -> int:
        """How many layers have one of them.

        Raises:
            InputError: a gap between them.
        """
        there = [index for index in range(MOST + 2) if any(self.has(part, index) for part in parts)]
        for index, layer in enumerate(there):
            if index != layer:
                raise InputError(f"layer {self.name(parts[0], index)} is missing")
        return len(there)

    def weight(self, part: str, index: int, *sides: int, gain: float = GAIN) -> Tensor:
        """A weight [O, I, ...] with its scale."""
        scale = 1 if self.scaled else gain / math.sqrt(math.prod(sides[1:]))
        return self.take(part, index, *sides) * scale

    def doubling(self, index: int, outputs: int, inputs: int, *, fused: bool) -> Tensor:
        """The kernel [I, O, 4, 4] of a doubling convolution.

        `fused` networks use the kernel of the convolution in a transposed one, which turns it.
        """
        kernel = self.weight("weight", index, outputs, inputs, 3, 3).transpose(0, 1)
        return doubling_kernel(kernel if fused else kernel.flip(2, 3))


def pggan(source: Source, classes: int, *, fused: bool, pixels: Tensor | None = None) -> PGGAN:
    """A PGGAN; all its sizes but `classes` follow from the shapes.

    `pixels` [C, 4, 4] are biases of the first layer's pixels; None = they have none of their own.

    Raises:
        InputError: half-grown, or a tensor is missing, misshapen or not finite.
    """
    _grown(source)
    layers = _even(source.count("bias", "weight"), "a PGGAN")
    inputs = source.shape("weight", 0, 4)[1]
    if inputs <= classes:
        raise InputError(f"layer {source.name('weight', 0)}: {inputs} inputs for {classes} classes")
    channels = _channels([source.shape("bias", i, 1)[0] for i in range(0, layers, 2)])
    widths = list(channels.values())
    first = source.weight("weight", 0, widths[0], inputs, 4, 4)
    weights = {"convs.0.weight": first.transpose(0, 1).flip(2, 3)}
    for index in range(layers):
        width, before = widths[index // 2], widths[(index - 1) // 2]
        weights[f"convs.{index}.bias"] = source.take("bias", index, width)
        if index % 2:
            kernel = source.weight("weight", index, width, width, 3, 3)
        elif index:
            kernel = source.doubling(index, width, before, fused=fused)
        else:
            continue
        weights[f"convs.{index}.weight"] = kernel
    weights |= _rgb(source, "to_rgb", len(widths) - 1, widths[-1])
    sizes = (max(channels), channels, inputs - classes, classes)
    if pixels is not None:
        weights["pixels"] = pixels
    return _filled(PGGAN(PGGANConfig(*sizes, pixels is not None)), weights)


def stylegan1(source: Source, fused: Callable[[int], bool], *, tanh: bool = False) -> StyleGAN1:
    """A StyleGAN; all its sizes follow from the shapes.

    Args:
        source: its tensors.
        fused: whether the network doubles to a resolution with a transposed convolution.
        tanh: whether one with an output for each row of w+ ends with it.

    Raises:
        InputError: half-grown, or a tensor is missing, misshapen or not finite.
    """
    _grown(source)
    layers = _even(source.count("bias", "style.weight"), "a StyleGAN")
    channels = _channels([source.shape("bias", i, 1)[0] for i in range(0, layers, 2)])
    w_dim = source.shape("style.weight", 0, 2)[1]
    numbers = _mapping_numbers(source, w_dim, layers)
    tanh = tanh and numbers["own_rows"]
    config = StyleGAN1Config(max(channels), channels, **numbers, tanh=tanh)
    weights = {
        "synthesis.layers.0.source.value": source.take("const", 0, 1, channels[4], 4, 4),
        **_mapping(source, config),
        **_rgb(source, "synthesis.to_rgb", len(channels) - 1, list(channels.values())[-1]),
    }
    for index in range(layers):
        weights |= _styled_layer(source, config, index, fused)
    return _filled(StyleGAN1(config), weights)


def _styled_layer(
    source: Source, config: StyleGAN1Config, index: int, fused: Callable[[int], bool]
) -> dict[str, Tensor]:
    res = 2 ** (index // 2 + 2)
    width, name = config.channels[res], f"synthesis.layers.{index}"
    style = source.take("style.bias", index, 2 * width)
    weights = {
        f"{name}.bias": source.take("bias", index, width),
        f"{name}.noise": source.take("noise", index, 1, 1, res, res),
        f"{name}.noise_strength": source.take("strength", index, width),
        f"{name}.style.weight": source.weight(
            "style.weight", index, 2 * width, config.w_dim, gain=1
        ),
        f"{name}.style.bias": torch.cat((style[:width] + 1, style[width:])),
    }
    if index % 2:
        weights[f"{name}.source.weight"] = source.weight("weight", index, width, width, 3, 3)
    elif index:
        before = config.channels[res // 2]
        kernel = source.doubling(index, width, before, fused=fused(res))
        weights[f"{name}.source.0.weight"] = kernel
    return weights


def stylegan2(
    source: Source, architecture: Architecture | None = None, clamp: float | None = None
) -> StyleGAN2:
    """A StyleGAN2; its sizes follow from the shapes.

    Args:
        source: its tensors.
        architecture: None = follows from the names.
        clamp: bound of the convolutions' outputs; None = none.

    Raises:
        InputError: a tensor is missing, misshapen or not finite.
    """
    convs = source.count("bias", "weight")
    _even(convs + 1, "a StyleGAN2")
    channels = _channels([source.shape("bias", i, 1)[0] for i in range(0, convs, 2)])
    if architecture is None:
        architecture = "resnet" if source.has("bypass", 1) else "orig"
        architecture = "skip" if source.has("rgb.bias", 0) else architecture
    last = len(channels) - 1
    config = StyleGAN2Config(
        resolution=max(channels),
        channels=channels,
        w_dim=source.shape("style.weight", 0, 2)[1],
        architecture=architecture,
        image_channels=_colours(source, last),
        clamp=clamp,
        **_stylegan2_mapping_numbers(source),
    )
    weights = {
        "synthesis.const": source.take("const", 0, 1, channels[4], 4, 4),
        **_stylegan2_mapping(source, config),
    }
    for index in range(convs):
        weights |= _styled_conv(source, config, index)
    for place, index in enumerate(range(0 if architecture == "skip" else last, last + 1)):
        weights |= _to_rgb(source, config, index, f"synthesis.to_rgbs.{place}")
    return _filled(StyleGAN2(config), weights)


def _styled_conv(source: Source, config: StyleGAN2Config, index: int) -> dict[str, Tensor]:
    res, name = 2 ** ((index + 5) // 2), f"synthesis.convs.{index}"
    width, before = config.channels[res], config.channels[res // 2 if index % 2 else res]
    kernel = source.weight("weight", index, width, before, 3, 3, gain=1)
    weights = {
        # Doubling is a transposed convolution with the kernel turned back.
        f"{name}.conv.weight": kernel.flip(2, 3) if index % 2 else kernel,
        f"{name}.bias": source.take("bias", index, width),
        f"{name}.noise": source.take("noise", index, 1, 1, res, res),
        f"{name}.noise_strength": source.take("strength", index),
        **_style(source, "style", index, before, config.w_dim, f"{name}.conv.affine"),
    }
    if index % 2 and config.architecture == "resnet":
        bypass = source.weight("bypass", index, width, before, 1, 1, gain=math.sqrt(0.5))
        weights[f"synthesis.bypasses.{index // 2}.weight"] = bypass
    return weights


def _to_rgb(source: Source, config: StyleGAN2Config, index: int, name: str) -> dict[str, Tensor]:
    width, colours = config.channels[2 ** (index + 2)], config.image_channels
    return {
        f"{name}.conv.weight": source.weight("rgb.weight", index, colours, width, 1, 1, gain=1),
        f"{name}.bias": source.take("rgb.bias", index, colours),
        **_style(source, "rgb.style", index, width, config.w_dim, f"{name}.conv.affine"),
    }


def _style(
    source: Source, part: str, index: int, width: int, w_dim: int, name: str
) -> dict[str, Tensor]:
    """The affine map from w to the scale of each input channel, around one."""
    return {
        f"{name}.weight": source.weight(f"{part}.weight", index, width, w_dim, gain=1),
        f"{name}.bias": source.take(f"{part}.bias", index, width) + 1,
    }


def _stylegan2_mapping_numbers(source: Source) -> dict[str, Any]:
    layers = source.count("mapping.weight", "mapping.bias")
    width, inputs = source.shape("mapping.weight", 0, 2)
    embedded, classes = _label(source)
    together = source.has("embedding")
    if inputs <= embedded or (together and inputs != 2 * embedded):
        name = source.name("mapping.weight")
        raise InputError(f"layer {name}: {inputs} inputs, {embedded} of them of the label")
    return {
        "z_dim": inputs - embedded,
        "mapping_layers": layers,
        "mapping_width": width if layers > 1 else None,
        "classes": classes,
        "embed_dim": embedded or None,
        "normed_together": together,
    }


def _label(source: Source) -> tuple[int, int]:
    """Width of the label's embedding, and of the label; zeros where there is none."""
    if source.has("embedding"):
        classes, embedded = source.shape("embedding", 0, 2)
    elif source.has("embed.weight"):
        embedded, classes = source.shape("embed.weight", 0, 2)
    else:
        return 0, 0
    return embedded, classes


def _stylegan2_mapping(source: Source, config: StyleGAN2Config) -> dict[str, Tensor]:
    weights = {"mapping.w_avg": source.take("w_avg", 0, config.w_dim)}
    inputs, embedded = config.z_dim, config.embed_dim or 0
    if config.normed_together:  # the embedding of before has neither a bias nor a run-time scale
        weights["mapping.embed.weight"] = source.take("embedding", 0, config.classes, embedded).t()
        weights["mapping.embed.bias"] = torch.zeros(embedded)
    elif embedded:
        embed = source.weight("embed.weight", 0, embedded, config.classes, gain=1)
        weights["mapping.embed.weight"] = embed
        weights["mapping.embed.bias"] = source.take("embed.bias", 0, embedded)
    hidden = [config.mapping_width or config.w_dim] * (config.mapping_layers - 1)
    return weights | _stack(source, [inputs + embedded, *hidden, config.w_dim], 1)


def _mapping_numbers(source: Source, w_dim: int, rows: int) -> dict[str, Any]:
    layers = source.count("mapping.weight", "mapping.bias")
    width, inputs = source.shape("mapping.weight", 0, 2)
    classes = source.shape("embedding", 0, 2)[0] if source.has("embedding") else 0
    last = source.shape("mapping.weight", max(layers - 1, 0), 2)[0]
    return {
        "w_dim": w_dim,
        "z_dim": inputs // 2 if classes else inputs,
        "mapping_layers": layers,
        "mapping_width": width if layers > 1 else w_dim,
        "classes": classes,
        "own_rows": last == rows * w_dim,
    }


def _mapping(source: Source, config: StyleGAN1Config) -> dict[str, Tensor]:
    rows = config.layers if config.own_rows else 1
    inputs = config.z_dim * (2 if config.classes else 1)
    hidden = [config.mapping_width] * (config.mapping_layers - 1)
    weights = {"mapping.w_avg": _average(source, rows, config.w_dim)}
    if config.classes:
        weights["mapping.embedding"] = source.take("embedding", 0, config.classes, config.z_dim)
    return weights | _stack(source, [inputs, *hidden, config.w_dim * rows], GAIN)


def _stack(source: Source, widths: list[int], gain: float) -> dict[str, Tensor]:
    """The layers of a mapping network, which learn a hundred times slower: lrmul 0.01."""
    weights = {}
    for index, (before, width) in enumerate(pairwise(widths)):
        name = f"mapping.layers.{index}"
        weight = source.weight("mapping.weight", index, width, before, gain=gain * 0.01)
        weights[f"{name}.weight"] = weight
        bias = source.take("mapping.bias", index, width)
        weights[f"{name}.bias"] = bias if source.scaled else bias * 0.01
    return weights


def _average(source: Source, rows: int, w_dim: int) -> Tensor:
    """The mean of w [rows, D]; files of own rows may hold one mean for them all."""
    (count,) = source.shape("w_avg", 0, 1)
    if count == w_dim:
        return source.take("w_avg", 0, w_dim).expand(rows, -1)
    return source.take("w_avg", 0, rows * w_dim).view(rows, w_dim)


def _rgb(source: Source, name: str, index: int, width: int) -> dict[str, Tensor]:
    """The last convolution; grey comes out as three equal channels."""
    colours = _colours(source, index)
    kernel = source.weight("rgb.weight", index, colours, width, 1, 1, gain=1)
    bias = source.take("rgb.bias", index, colours)
    return {f"{name}.weight": kernel.expand(3, -1, -1, -1), f"{name}.bias": bias.expand(3)}


def _colours(source: Source, index: int) -> int:
    return 1 if source.shape("rgb.bias", index, 1) == (1,) else 3


def _grown(source: Source) -> None:
    lod = float(source.take("lod", 0)) if source.has("lod") else 0.0
    if lod != 0:
        raise InputError(
            f"a network that is still growing: its level of detail is {lod:g}",
            "take the snapshot of the end of the training",
        )


def _even(layers: int, what: str) -> int:
    if not 4 <= layers <= MOST or layers % 2:
        raise InputError(f"{what} of {layers} layers; expected an even number, 4 to {MOST}")
    return layers


def _channels(widths: list[int]) -> dict[int, int]:
    return {2 ** (index + 2): width for index, width in enumerate(widths)}


def _filled(network: Any, weights: dict[str, Tensor]) -> Any:
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
