"""Checkpoints of StyleFeatureEditor: of its inverter alone, and of the whole method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.style_feature import (
    POOLED,
    STAGE,
    StyleFeatureConfig,
    StyleFeatureEncoder,
    stages,
)
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers.found import Found
from dseinvert.importers.psp import average_of, check_feature, mean_rows
from dseinvert.importers.psp_weights import conv_norm, plain
from dseinvert.importers.rosinality import state_to_generator
from dseinvert.importers.tensors import State, below, count, norm, shape, take

LICENCE = (
    "StyleFeatureEditor: MIT (github.com/AIRI-Institute/StyleFeatureEditor). "
    "It grew from InsightFace's ArcFace and NVIDIA's generator: non-commercial use."
)
_MARK = "fs_backbone.conv.0.weight"
_ALONE, _WHOLE = "encoder.", "inverter."
_EDITS = (
    "left out: e4e and the second input of its editor, so that an edit moves F by the "
    "generator's difference and not by what its editor makes of e4e's"
)
Pairs = Iterator[tuple[str, Tensor]]


def recognise(content: Any) -> bool:
    """Whether this is a checkpoint whose state dict holds the backbone of its inverter."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    return isinstance(state, Mapping) and any(p + _MARK in state for p in (_ALONE, _WHOLE))


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder to w+ and F, and the generator it was trained with.

    `generator` stands in where the file holds no decoder.

    Raises:
        InputError: a tensor is missing or misshapen, or encoder and generator do not fit.
    """
    state = content["state_dict"]
    whole = _WHOLE + _MARK in state
    average, decoder = average_of(content.get("latent_avg")), below(state, "decoder.")
    own = None
    if decoder:
        own = generator = state_to_generator(decoder, None if average is None else average[0])
    if generator is None:
        raise InputError("StyleFeatureEditor without its decoder", "give --gan")
    inverter = below(state, _WHOLE if whole else _ALONE)
    config = _config(inverter, edits=whole)
    if (config.layers, config.w_dim) != (generator.spec.layers, generator.spec.dim):
        raise InputError(
            f"its encoder writes w+ {[config.layers, config.w_dim]}, its generator takes "
            f"{[generator.spec.layers, generator.spec.dim]}"
        )
    weights = dict(_weights(inverter, config))
    if whole:
        weights |= dict(_fuser(below(state, _ALONE), "", "editor", config, alone=True))
    weights["w_avg"] = mean_rows(average, config.layers, generator)
    with torch.device("meta"), Blank():
        encoder = StyleFeatureEncoder(config)
    encoder.load_state_dict(weights, assign=True)
    encoder.eval().requires_grad_(False).attach(generator)
    check_feature(generator, config.layer, config.channels, config.size // 4)
    part = "editor" if whole else "inverter"
    notes = (_EDITS,) if whole else ()
    return Found(
        f"StyleFeatureEditor checkpoint ({part})", own, encoder, {}, "ffhq", notes, LICENCE
    )


def _config(state: State, *, edits: bool) -> StyleFeatureConfig:
    blocks = [f"fs_backbone.block_{k}" for k in (1, 2, 3, 4)]
    channels = shape(state, "fs_backbone.content_layer.4.weight", 4)[0]
    return StyleFeatureConfig(
        layers=count(state, "fs_backbone.styles."),
        w_dim=shape(state, "fs_backbone.styles.0.weight", 2)[0],
        channels=channels,
        widths=tuple(shape(state, f"{block}.0.conv2.weight", 4)[0] for block in blocks),
        units=tuple(count(state, f"{block}.") for block in blocks),
        depth=count(state, "fuser.body."),
        edits=edits,
    )


def _weights(state: State, config: StyleFeatureConfig) -> Pairs:
    backbone, first = "fs_backbone", config.widths[0]
    names = (f"{backbone}.conv.0", f"{backbone}.conv.1", "stem")
    yield from conv_norm(state, *names, first, 3, 3, 3)
    yield "slope.weight", take(state, f"{backbone}.conv.2.weight", first)
    for k, stage in enumerate(stages(config)):
        for i, (before, width, stride) in enumerate(stage):
            theirs, ours = f"{backbone}.block_{k + 1}.{i}", f"stages.{k}.{i}"
            yield from _branch(state, _NAMED, theirs, f"{ours}.branch", before, width)
            if before != width or stride != 1:
                bypass = (f"{theirs}.downsample.0", f"{theirs}.downsample.1", f"{ours}.bypass")
                yield from conv_norm(state, *bypass, width, before, 1, 1)
    content = (f"{backbone}.content_layer", "content", config.widths[STAGE], config.channels)
    yield from _branch(state, _COUNTED, *content)
    inputs = POOLED**2 * sum(config.widths)
    rows = [
        dict(plain(state, f"{backbone}.styles.{row}", "", config.w_dim, inputs))
        for row in range(config.layers)
    ]
    for part in ("weight", "bias"):
        yield f"rows.{part}", torch.cat([row[f".{part}"] for row in rows])
    yield from _fuser(state, "fuser.", "fuser", config)


def _fuser(
    state: State, theirs: str, ours: str, config: StyleFeatureConfig, *, alone: bool = False
) -> Pairs:
    """With `alone`, of the two maps that it fuses the second is zero."""
    channels = config.channels
    for name, tensor in plain(state, f"{theirs}conv", f"{ours}.0", channels, 2 * channels, 1, 1):
        yield name, tensor[:, :channels] if alone and tensor.ndim == 4 else tensor
    for k in range(config.depth):
        names = (f"{theirs}body.{k}.body", f"{ours}.{k + 1}.branch")
        yield from _branch(state, _COUNTED, *names, channels, channels)


_NAMED = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")
_COUNTED = ("0", "1", "2", "3", "4", "5")
"""What the six layers of a branch are called."""


def _branch(
    state: State, names: tuple[str, ...], theirs: str, ours: str, before: int, width: int
) -> Pairs:
    entry, first, middle, slope, second, last = (f"{theirs}.{name}" for name in names)
    scale, shift = norm(state, entry, before)
    yield f"{ours}.norm.scale", scale.float()
    yield f"{ours}.norm.shift", shift.float()
    yield from conv_norm(state, first, middle, f"{ours}.first", width, before, 3, 3)
    yield f"{ours}.slope.weight", take(state, f"{slope}.weight", width)
    yield from conv_norm(state, second, last, f"{ours}.second", width, width, 3, 3)
