"""Checkpoints of StyleRes: e4e, and a StyleGAN2 of NVlabs' code with the networks of F in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.psp import PSPEncoder
from dseinvert.encoders.styleres import STAGE, StyleResConfig, StyleResEncoder
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers import psp, stylegan2_ada
from dseinvert.importers.found import Found
from dseinvert.importers.psp_weights import plain
from dseinvert.importers.tensors import State, below, shape, take

LICENCE = (
    "StyleRes: NVIDIA Source Code License, non-commercial (github.com/hamzapehlivan/StyleRes)."
)
_GENERATOR, _PART = "generator_smooth", ".modify_feature_"
_EDITS = "edits move its features by the generator's difference; StyleRes gates them again"
Pairs = Iterator[tuple[str, Tensor]]


def recognise(content: Any) -> bool:
    """Whether this is such a checkpoint."""
    if not isinstance(content, Mapping) or not isinstance(content.get("e4e"), Mapping):
        return False
    state = content.get(_GENERATOR)
    return isinstance(state, Mapping) and any(_PART in str(name) for name in state)


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder to w+ and F, and its generator.

    Raises:
        InputError: a tensor is missing or misshapen, or encoder and generator do not fit.
    """
    state = content[_GENERATOR]
    plain_state = {name: tensor for name, tensor in state.items() if _PART not in str(name)}
    drawn = stylegan2_ada.convert(plain_state)
    assert drawn.generator is not None
    encoder = {f"encoder.{name}": tensor for name, tensor in content["e4e"].items()}
    options = {"encoder_type": "Encoder4Editing", "dataset_type": "ffhq_encode"}
    whole = {"state_dict": encoder, "latent_avg": content.get("latent_avg"), "opts": options}
    base = psp.convert(whole, drawn.generator)
    if not isinstance(base.encoder, PSPEncoder):
        raise InputError("no encoder that looks at photographs")
    side = base.encoder.config.size // 4
    parts = below(state, f"synthesis.b{side}{_PART}")
    config = _config(base.encoder, parts, drawn.generator)
    with torch.device("meta"), Blank():
        built = StyleResEncoder(config)
    built.load_state_dict(base.encoder.state_dict() | dict(_weights(parts, config)), assign=True)
    built.eval().requires_grad_(False).attach(drawn.generator)
    notes = (*drawn.notes, *base.notes, _EDITS)
    return Found("StyleRes checkpoint", drawn.generator, built, {}, "ffhq", notes, LICENCE)


def _config(encoder: PSPEncoder, parts: State, generator: Generator) -> StyleResConfig:
    hidden = shape(parts, "alignment.first_layer.weight", 4)[0]
    channels = shape(parts, "alignment.out_layer.weight", 4)[0]
    narrow = shape(parts, "gates.down1.weight", 4)[0]
    config = StyleResConfig(encoder.config, channels, hidden, narrow)
    found = list(generator.features(generator.mean_latent(), config.layer).shape[1:])
    if found[0] != channels:
        raise InputError(f"features of {channels} channels, and its generator has {found}")
    return config


def _weights(parts: State, config: StyleResConfig) -> Pairs:
    hidden, channels, both = config.hidden, config.channels, 2 * config.narrow
    inputs = config.network.widths[STAGE] + channels
    align, read = "alignment", "extraction"
    yield from plain(parts, f"{align}.first_layer", "aligning.enter", hidden, inputs, 1, 1)
    for k, blocks in enumerate(((1,), (2, 1), (2, 1))):
        for i, stride in enumerate(blocks):
            names = (f"{align}.conv{k + 1}.{i}", f"aligning.down.{k}.{i}")
            yield from _block(parts, *names, hidden, hidden, stride)
    for k in range(2):
        for i in range(2):
            names = (f"{align}.dconv{k + 1}.{i}", f"aligning.up.{k}.{i}")
            yield from _block(parts, *names, hidden, hidden)
    yield from plain(parts, f"{align}.out_layer", "aligning.leave", channels, hidden, 1, 1)
    yield from plain(parts, f"{read}.first_layer", "reading.0", hidden, channels, 1, 1)
    yield from _blocks(parts, f"{read}.convs", "reading", (hidden, hidden, channels, channels), 1)
    for theirs, ours in (("down1", "seen"), ("down2", "read")):
        yield from plain(parts, f"gates.{theirs}", ours, config.narrow, channels, 3, 3)
    for theirs, ours, last in (("convs", "change", channels), ("convs2", "gate", 1)):
        yield from _blocks(parts, f"gates.{theirs}", ours, (both, both, channels, last), 0)


def _blocks(parts: State, theirs: str, ours: str, widths: tuple[int, ...], first: int) -> Pairs:
    """One after the other; ours are counted from `first`."""
    for k in range(len(widths) - 1):
        names = (f"{theirs}.{k}", f"{ours}.{k + first}")
        yield from _block(parts, *names, widths[k], widths[k + 1])


def _block(parts: State, theirs: str, ours: str, before: int, width: int, stride: int = 1) -> Pairs:
    yield from plain(parts, f"{theirs}.res_layer.0", f"{ours}.first", width, before, 3, 3)
    yield from plain(parts, f"{theirs}.res_layer.2", f"{ours}.second", width, width, 3, 3)
    if before != width or stride != 1:
        name = f"{theirs}.shortcut_layer.0.weight"
        yield f"{ours}.bypass.weight", take(parts, name, width, before, 1, 1)
