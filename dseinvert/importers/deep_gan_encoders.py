"""Encoders of Deep-GAN-Encoders (DSE): state dicts of E, E_Blur and E_BIG, saved alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders import Encoder
from dseinvert.encoders.deep_gan import (
    STRIDED,
    DeepGanBigConfig,
    DeepGanBigEncoder,
    DeepGanConfig,
    DeepGanEncoder,
)
from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.found import Found
from dseinvert.importers.tensors import State, count, shape, take

STEM, FIRST = "FromRGB.from_rgb.weight", "decode_block.0.conv_1.weight"
TAP = "decode_block.0.inver_mod1.weight"
FINAL = "new_final_1.weight"
ROW = 20  # the row of statistics its code reads: truncation 0.4 of 51 rows
EPS = 1e-12
NOISE = "the noise of its layers is left out: a code is the same each time"
Z = "in training it was handed the z it was to find; it now gets zeros, the mean"


def recognise(content: Any) -> bool:
    """Whether this is the state dict of an encoder of Deep-GAN-Encoders."""
    return isinstance(content, Mapping) and {STEM, FIRST} <= set(content)


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder; the file holds no generator, so `generator` says whose it is.

    Raises:
        InputError: a tensor is missing or misshapen, no generator is given or it does not fit, or
            the encoder is PGGAN's, whose output is zero as released.
    """
    if "new_final.weight" in content:
        raise InputError(
            "an encoder of Deep-GAN-Encoders for PGGAN: as released its output is zero, so it "
            "was never trained",
            "train one with dseinvert train",
        )
    if generator is None:
        raise InputError("an encoder of Deep-GAN-Encoders, which come alone", "give --gan")
    widths = _widths(content)
    if 2 ** (len(widths) + 1) != generator.resolution:
        raise InputError(
            f"an encoder of {2 ** (len(widths) + 1)} px, and a generator of {generator.resolution}"
        )
    if FINAL in content:
        name, noted, built = "E_BIG", Z, _big(content, widths, generator)
    elif "decode_block.0.blur.weight" in content:
        name, noted, built = "E_Blur", NOISE, _blurred(content, widths, generator)
    else:
        name, noted, built = "E", NOISE, _plain(content, widths, generator)
    return Found(f"{name} of Deep-GAN-Encoders", encoder=built, notes=(noted,))


def _widths(state: State) -> tuple[int, ...]:
    """Channels of each block, from the image's resolution down to 4x4."""
    blocks = range(count(state, "decode_block."))
    return tuple(shape(state, f"decode_block.{i}.conv_1.weight", 4)[0] for i in blocks)


def _plain(state: State, widths: tuple[int, ...], generator: Generator) -> Encoder:
    """E is a DSE whose rows are not offsets: its mean latent is zero."""
    w_dim = _w_dim(state, widths, generator)
    weights = {"w_avg": torch.zeros(w_dim), **_stem(state, widths[0])}
    for block in _blocks(widths):
        weights |= _taps(state, block, w_dim) | _convolutions(state, block) | _bypass(state, block)
        for part, number, out in block.parts:
            noise = take(state, f"{block.theirs}.noise_weight_{number}", 1, out, 1, 1)
            weights[f"{block.ours}.{part}.noise_scale"] = noise.flatten()
    config = DSEConfig(generator.resolution, 2 * len(widths), w_dim, widths)
    return _filled(DSEEncoder(config), weights)


def _blurred(state: State, widths: tuple[int, ...], generator: Generator) -> Encoder:
    w_dim = _w_dim(state, widths, generator)
    weights = _stem(state, widths[0])
    for i, block in enumerate(_blocks(widths)):
        weights |= _taps(state, block, w_dim) | _convolutions(state, block) | _bypass(state, block)
        if i < STRIDED and not block.last:
            name = f"{block.ours}.second.weight"
            weights[name] = _spread(weights[name])
    return _filled(DeepGanEncoder(DeepGanConfig(widths, w_dim)), weights)


def _big(state: State, widths: tuple[int, ...], generator: Generator) -> Encoder:
    vectors = generator.class_vectors
    if vectors is None:
        raise InputError(f"an encoder for BigGAN, and a generator of {generator.family}")
    z_dim, class_dim = generator.z_dim, vectors.shape[1]
    weights = _stem(state, widths[0]) | _final(state, 16 * widths[-1], z_dim)
    for block in _blocks(widths):
        bypass = {} if block.last else _bypass(state, block)
        weights |= _convolutions(state, block) | bypass
        for norm in "a" if block.last else "abc" if bypass else "ab":
            weights |= _class_norm(state, block, norm, z_dim, class_dim)
    encoder = _filled(DeepGanBigEncoder(DeepGanBigConfig(widths, z_dim, class_dim)), weights)
    encoder.attach(generator)
    return encoder


def _w_dim(state: State, widths: tuple[int, ...], generator: Generator) -> int:
    """Width of its rows, once it is known that the generator takes such rows."""
    rows, w_dim, spec = 2 * len(widths), shape(state, TAP, 2)[0], generator.spec
    if (spec.space, spec.layers, spec.dim) != ("w+", rows, w_dim):
        raise InputError(
            f"an encoder of w+ {[rows, w_dim]}, and a generator of "
            f"{spec.space} {[spec.layers, spec.dim]}"
        )
    return w_dim


def _filled(encoder: nn.Module, weights: dict[str, Tensor]) -> Any:
    encoder.load_state_dict(weights, assign=True)
    return encoder.eval().requires_grad_(False)


@dataclass(frozen=True)
class _Block:
    ours: str
    theirs: str
    width: int
    out: int
    last: bool

    @property
    def parts(self) -> tuple[tuple[str, int, int], ...]:
        """Of each convolution our name, their number, and its outputs."""
        both = (("first", 1, self.width), ("second", 2, self.out))
        return both[:1] if self.last else both


def _blocks(widths: tuple[int, ...]) -> Iterator[_Block]:
    for i, (width, out) in enumerate(pairwise((*widths, widths[-1]))):
        yield _Block(f"blocks.{i}", f"decode_block.{i}", width, out, i == len(widths) - 1)


def _stem(state: State, width: int) -> dict[str, Tensor]:
    return {
        "from_rgb.weight": take(state, STEM, width, 3, 1, 1),
        "from_rgb.bias": take(state, "FromRGB.from_rgb.bias", width),
    }


def _taps(state: State, block: _Block, w_dim: int) -> dict[str, Tensor]:
    taps = {}
    for tap, number in (("tap_a", 1), ("tap_b", 2)):
        theirs, ours = f"{block.theirs}.inver_mod{number}", f"{block.ours}.{tap}.fc"
        taps[f"{ours}.weight"] = take(state, f"{theirs}.weight", w_dim, 2 * block.width)
        taps[f"{ours}.bias"] = take(state, f"{theirs}.bias", w_dim)
    return taps


def _convolutions(state: State, block: _Block) -> dict[str, Tensor]:
    convs = {}
    for part, number, out in block.parts:
        theirs, ours = block.theirs, f"{block.ours}.{part}"
        convs[f"{ours}.weight"] = take(
            state, f"{theirs}.conv_{number}.weight", out, block.width, 3, 3
        )
        convs[f"{ours}.bias"] = take(state, f"{theirs}.bias_{number}", 1, out, 1, 1).flatten()
    return convs


def _bypass(state: State, block: _Block) -> dict[str, Tensor]:
    if block.width == block.out:
        return {}
    theirs, ours = f"{block.theirs}.conv_3", f"{block.ours}.bypass"
    return {
        f"{ours}.weight": take(state, f"{theirs}.weight", block.out, block.width, 1, 1),
        f"{ours}.bias": take(state, f"{theirs}.bias", block.out),
    }


def _spread(kernel: Tensor) -> Tensor:
    """A 3x3 kernel and the 2x2 mean after it as one of 4x4, for a stride of two."""
    padded = F.pad(kernel, (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return (rows[..., 1:] + rows[..., :-1]) * 0.25


def _class_norm(
    state: State, block: _Block, norm: str, z_dim: int, class_dim: int
) -> dict[str, Tensor]:
    """(x - mean) / sqrt(var + eps) * (1 + scale(c)) + offset(c), as one affine function of c.

    c is z and the class embedding side by side; with z = 0 only the latter's columns are left.
    """
    theirs = f"{block.theirs}.batch_norm_{'abc'.index(norm) + 1}"
    rows, width = shape(state, f"{theirs}.running_vars", 2)[0], block.width
    if rows <= ROW:
        raise InputError(f"layer {theirs}.running_vars: expected 51 rows, found {rows}")
    variance = take(state, f"{theirs}.running_vars", rows, width)[ROW].double()
    if (variance < 0).any():
        raise InputError(f"layer {theirs}.running_vars: holds negative variances")
    mean = take(state, f"{theirs}.running_means", rows, width)[ROW].double()
    scale, offset = (
        _normalised(state, f"{theirs}.{part}", width, z_dim + class_dim)[:, z_dim:]
        for part in ("scale", "offset")
    )
    gain = (variance + EPS).rsqrt()
    scale = scale * gain[:, None]
    weight = torch.cat([scale, offset - mean[:, None] * scale])
    bias = torch.cat([gain, -mean * gain])
    ours = f"{block.ours}.norm_{norm}.fc"
    return {f"{ours}.weight": weight.float(), f"{ours}.bias": bias.float()}


def _normalised(state: State, name: str, outputs: int, inputs: int) -> Tensor:
    """A weight divided by its largest singular value, as spectral norm does at rest."""
    weight = take(state, f"{name}.weight_orig", outputs, inputs).double()
    u = take(state, f"{name}.weight_u", outputs).double()
    v = take(state, f"{name}.weight_v", inputs).double()
    sigma = u @ (weight @ v)
    if sigma == 0:
        raise InputError(f"layer {name}: its spectral norm is 0")
    return weight / sigma


def _final(state: State, inputs: int, z_dim: int) -> dict[str, Tensor]:
    """Two fully connected layers with nothing between them, as one."""
    hidden, _ = shape(state, FINAL, 2)
    first = take(state, FINAL, hidden, inputs).double()
    second = take(state, "new_final_2.weight", z_dim, hidden).double()
    bias = second @ take(state, "new_final_1.bias", hidden).double()
    bias += take(state, "new_final_2.bias", z_dim)
    return {"fc.weight": (second @ first).float(), "fc.bias": bias.float()}
