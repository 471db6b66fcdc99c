"""Encoders of In-Domain Inversion: `*_encoder.pth`, with the generator that lies beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.idinvert import IDInvertConfig, IDInvertEncoder
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers import genforce
from dseinvert.importers.found import Found
from dseinvert.importers.tensors import State, count, norm, shape, take

LICENCE = (
    "In-Domain Inversion: MIT (github.com/genforce/idinvert_pytorch). "
    "Its generator: trained with NVIDIA's StyleGAN code, non-commercial use."
)
_FIRST, _LAST = "block0.conv.weight", "block{0}.fc.weight"
_ENDS = ("_encoder.pth", "_generator.pth")
_GENERATOR = "generator"
_MOST = 12
Pairs = Iterator[tuple[str, Tensor]]


def recognise(content: Any) -> bool:
    """Whether this is the state dict of such an encoder, perhaps with its generator."""
    return isinstance(content, Mapping) and _FIRST in content and "block1.conv1.weight" in content


def neighbour(content: Any, path: Path) -> Path | None:
    """The generator's file beside `styleganinv_ffhq256_encoder.pth`; None = there is none."""
    beside = path.with_name(path.name.removesuffix(_ENDS[0]) + _ENDS[1])
    fits = recognise(content) and path.name.endswith(_ENDS[0]) and beside.is_file()
    return beside if fits else None


def together(content: Mapping[str, Any], generator: Any) -> dict[str, Any]:
    """The encoder's state dict with that of its neighbour."""
    return {**content, _GENERATOR: generator}


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder, and the generator that lies beside it.

    `generator`, where one is given, is what it is attached to instead.

    Raises:
        InputError: a tensor is missing or misshapen, there is no generator, or it does not fit.
    """
    own = None
    if generator is None and _GENERATOR in content:
        own = generator = genforce.convert(content[_GENERATOR]).generator
    if generator is None:
        raise InputError("an encoder of In-Domain Inversion without its generator", _WANTED)
    config = _config(content, generator)
    with torch.device("meta"), Blank():
        encoder = IDInvertEncoder(config)
    encoder.load_state_dict(dict(_weights(content, config)), assign=True)
    encoder.eval().requires_grad_(False).attach(generator)
    return Found("In-Domain Inversion encoder", own, encoder, licence=LICENCE)


_WANTED = f"put *{_ENDS[1]} beside it, or name it with --gan"


def checked(config: IDInvertConfig, generator: Generator) -> IDInvertConfig:
    """The same; InputError where the generator takes other rows or draws another size."""
    spec = generator.spec
    found = (config.size, config.layers, config.w_dim)
    wanted = (generator.resolution, spec.layers, spec.dim)
    if spec.space.startswith("z") or found != wanted:
        raise InputError(
            f"an encoder of {found[0]} px to w+ {list(found[1:])}, and a generator of "
            f"{wanted[0]} px from {spec.space} {list(wanted[1:])}"
        )
    return config


def _config(state: State, generator: Generator) -> IDInvertConfig:
    blocks = count({name.removeprefix("block"): 0 for name in state if _numbered(name)}, "")
    if not 2 <= blocks <= _MOST:
        raise InputError(f"an encoder of {blocks} blocks; expected 2 to {_MOST}")
    names = ["block0.conv.weight", *(f"block{k}.conv2.weight" for k in range(1, blocks - 1))]
    widths = tuple(shape(state, name, 4)[0] for name in names)
    outputs, _ = shape(state, _LAST.format(blocks - 1), 2)
    layers = 2 * (blocks - 1)
    return checked(IDInvertConfig(layers, outputs // layers, widths), generator)


def _numbered(name: Any) -> bool:
    return isinstance(name, str) and name.startswith("block")


def _weights(state: State, config: IDInvertConfig) -> Pairs:
    yield from _normed(state, "block0.conv", "block0.bn", "stem.conv", config.widths[0], 3, 3, 3)
    for k, (before, width) in enumerate(pairwise(config.widths)):
        theirs, ours, hidden = f"block{k + 1}", f"blocks.{k}", min(before, width)
        for part, number, out, inputs in (
            ("first", 1, hidden, before),
            ("second", 2, width, hidden),
        ):
            names = (f"{theirs}.conv{number}", f"{theirs}.bn{number}", f"{ours}.{part}.conv")
            bias = take(state, f"{theirs}.wscale{number}.bias", out)
            yield from _normed(state, *names, out, inputs, 3, 3, bias=bias)
        if before != width:
            names = (f"{theirs}.conv", f"{theirs}.bn", f"{ours}.bypass")
            yield from _normed(state, *names, width, before, 1, 1)
    last, inputs = f"block{len(config.widths)}", 16 * config.widths[-1]
    # Of this layer alone the scale is applied as it runs.
    names = (f"{last}.fc", f"{last}.bn", "rows")
    yield from _normed(state, *names, config.layers * config.w_dim, inputs, gain=inputs**-0.5)


def _normed(
    state: State,
    theirs: str,
    after: str,
    ours: str,
    *sizes: int,
    bias: Tensor | None = None,
    gain: float = 1,
) -> Pairs:
    """A layer and the batch norm after it, folded into one; a file may have been trained without.

    Args:
        bias: added before the norm [sizes[0]]; None = nothing.
    """
    weight = take(state, f"{theirs}.weight", *sizes).double() * gain
    scale, shift = weight.new_ones(sizes[0]), weight.new_zeros(sizes[0])
    if any(str(name).startswith(f"{after}.") for name in state):
        scale, shift = norm(state, f"{after}.bn", sizes[0])
    if bias is not None:
        shift = shift + scale * bias
    yield f"{ours}.weight", (weight * scale.view(-1, *[1] * (len(sizes) - 1))).float()
    yield f"{ours}.bias", shift.float()
