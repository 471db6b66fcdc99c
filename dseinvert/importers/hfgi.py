"""Checkpoints of HFGI: e4e with its generator, and the two networks of lost details."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.hfgi import HFGIConfig, HFGIEncoder, upward
from dseinvert.encoders.psp import PSPEncoder
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers import psp
from dseinvert.importers.found import Found
from dseinvert.importers.psp_weights import conv_norm, ir_unit
from dseinvert.importers.tensors import State, below, shape, take

LICENCE = "HFGI: see github.com/Tengfei-Wang/HFGI. Its generator: NVIDIA, non-commercial use."
_READER, _ALIGNER = "residue.", "grid_align."
_EDITS = "edits move its features by the generator's difference; HFGI aligns the details again"
Pairs = Iterator[tuple[str, Tensor]]


def recognise(content: Any) -> bool:
    """Whether this is a checkpoint of the pSp family with networks of lost details."""
    if not psp.recognise(content):
        return False
    marks = (f"{_READER}conv_layer1.0.weight", f"{_ALIGNER}conv_layer1.0.weight")
    return all(mark in content["state_dict"] for mark in marks)


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder to w+ and F, and the generator it was trained with.

    `generator` stands in where the file holds no decoder.

    Raises:
        InputError: a tensor is missing or misshapen, or encoder and generator do not fit.
    """
    options = {"encoder_type": "Encoder4Editing", **psp.options_of(content)}
    base = psp.convert({**content, "opts": options}, generator)
    owner = base.generator or generator
    if not isinstance(base.encoder, PSPEncoder) or owner is None:
        raise InputError("no encoder that looks at photographs")
    reader, aligner = (below(content["state_dict"], name) for name in (_READER, _ALIGNER))
    config = _config(base.encoder, reader, aligner)
    weights = base.encoder.state_dict()
    weights |= {f"reader.{name}": tensor for name, tensor in _reader(reader, config)}
    weights |= {f"aligner.{name}": tensor for name, tensor in _aligner(aligner, config)}
    with torch.device("meta"), Blank():
        encoder = HFGIEncoder(config)
    encoder.load_state_dict(weights, assign=True)
    encoder.eval().requires_grad_(False).attach(owner)
    psp.check_feature(owner, config.layer, config.channels, config.network.size // 4)
    notes = (*base.notes, _EDITS)
    return Found("HFGI checkpoint", base.generator, encoder, {}, base.alignment, notes, LICENCE)


def _config(encoder: PSPEncoder, reader: State, aligner: State) -> HFGIConfig:
    hidden, _, _, _ = shape(reader, "condition_scale3.0.weight", 4)
    channels, _, _, _ = shape(reader, "condition_scale3.2.weight", 4)
    reads = [shape(reader, "conv_layer1.0.weight", 4)[0]]
    reads += [shape(reader, f"conv_layer{k}.0.res_layer.1.weight", 4)[0] for k in (2, 3)]
    aligns = [shape(aligner, "conv_layer1.0.weight", 4)[0]]
    aligns += [shape(aligner, f"conv_layer{k}.0.res_layer.1.weight", 4)[0] for k in (2, 3, 4)]
    return HFGIConfig(encoder.config, channels, hidden, tuple(reads), tuple(aligns))


def _reader(state: State, config: HFGIConfig) -> Pairs:
    yield from _stem(state, 3, config.reads[0])
    for scale, (before, width) in enumerate(pairwise(config.reads)):
        names = (f"conv_layer{scale + 2}", f"scales.{scale}")
        yield from _units(state, *names, before, (width,) * config.units)
    for theirs, ours in (("condition_scale3", "scale"), ("condition_shift3", "shift")):
        width, hidden = config.reads[-1], config.hidden
        yield from _equal_conv(state, f"{theirs}.0", f"{ours}.first", hidden, width)
        yield from _equal_conv(state, f"{theirs}.2", f"{ours}.second", config.channels, hidden)


def _aligner(state: State, config: HFGIConfig) -> Pairs:
    yield from _stem(state, 6, config.aligns[0])
    for scale, (before, width) in enumerate(pairwise(config.aligns)):
        names = (f"conv_layer{scale + 2}", f"down.{scale}")
        yield from _units(state, *names, before, (width,) * config.units)
    for scale, (before, widths) in enumerate(upward(config)):
        yield from _units(state, f"dconv_layer{scale + 1}", f"up.{scale}", before, widths)


def _stem(state: State, channels: int, width: int) -> Pairs:
    names = ("conv_layer1.0", "conv_layer1.1", "stem.conv")
    yield from conv_norm(state, *names, width, channels, 3, 3)
    yield "stem.slope.weight", take(state, "conv_layer1.2.weight", width)


def _units(state: State, theirs: str, ours: str, before: int, widths: tuple[int, ...]) -> Pairs:
    for number, width in enumerate(widths):
        yield from ir_unit(state, f"{theirs}.{number}", f"{ours}.{number}", before, width)
        before = width


def _equal_conv(state: State, theirs: str, ours: str, outputs: int, inputs: int) -> Pairs:
    """A convolution scaled as it runs by 1 / sqrt(fan-in): folded."""
    weight = take(state, f"{theirs}.weight", outputs, inputs, 3, 3)
    yield f"{ours}.weight", weight / math.sqrt(inputs * 9)
    yield f"{ours}.bias", take(state, f"{theirs}.bias", outputs)
