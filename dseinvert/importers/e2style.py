"""Checkpoints of E2Style: its encoders, one for each stage, and their generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.e2style import E2StyleConfig, E2StyleEncoder
from dseinvert.encoders.psp import POOLED
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers import psp_weights
from dseinvert.importers.found import Found
from dseinvert.importers.psp import average_of, mean_rows, options_of
from dseinvert.importers.rosinality import state_to_generator
from dseinvert.importers.tensors import State, below, count, norm, shape, take

FIRST, NEXT = "encoder_firststage.", "encoder_refinestage_list."
LICENCE = "E2Style: see github.com/wty-ustc/e2style. Its generator: NVIDIA, non-commercial use."
_HEADS = ("output_layer_3", "output_layer_4", "output_layer_5")
"""The coarsest first, on the last of the three stages."""


@dataclass(frozen=True)
class _Shape:
    """Of the trunk of one network."""

    widths: tuple[int, ...]
    units: tuple[int, ...]
    in_channels: int
    trunk: str = "irse"


def recognise(content: Any) -> bool:
    """Whether this is a checkpoint whose state dict holds the encoder of its first stage."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    return isinstance(state, Mapping) and f"{FIRST}input_layer.0.weight" in state


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder with all its stages, and the generator it was trained with.

    `generator` stands in where the file holds no decoder.

    Raises:
        InputError: a tensor is missing or misshapen, or encoder and generator do not fit.
    """
    state, options = content["state_dict"], options_of(content)
    average, decoder = average_of(content.get("latent_avg")), below(state, "decoder.")
    own = None
    if decoder:
        own = generator = state_to_generator(decoder, None if average is None else average[0])
    if generator is None:
        raise InputError("an encoder of E2Style without its decoder", "give --gan")
    networks = [below(state, FIRST)]
    networks += [below(state, f"{NEXT}{k}.") for k in range(count(state, NEXT))]
    config = _config(networks, generator.spec.dim)
    if config.layers != generator.spec.layers:
        raise InputError(
            f"its encoder writes {config.layers} rows, its generator takes {generator.spec.layers}"
        )
    weights = {
        f"stages.{k}.{name}": tensor
        for k, network in enumerate(networks)
        for name, tensor in _weights(network, config, 6 if k else 3)
    }
    start = torch.zeros(config.layers, config.w_dim)
    if options.get("start_from_latent_avg", average is not None):
        start = mean_rows(average, config.layers, generator)
    with torch.device("meta"), Blank():
        encoder = E2StyleEncoder(config)
    encoder.load_state_dict({**weights, "w_avg": start}, assign=True)
    encoder.eval().requires_grad_(False).attach(generator)
    stages = f"{config.stages} stage{'s' * (config.stages > 1)}"
    return Found(f"E2Style checkpoint ({stages})", own, encoder, {}, "ffhq", licence=LICENCE)


def _config(networks: Sequence[State], w_dim: int) -> E2StyleConfig:
    found = psp_weights.stages(networks[0])[: len(_HEADS)]
    names = [f"{name}.3.weight" for name in _HEADS]
    rows = [shape(networks[0], name, 2)[0] // w_dim for name in names]
    try:
        widths, units = zip(*found, strict=True)
        return E2StyleConfig(w_dim, tuple(rows), widths, units, len(networks))
    except ValueError as error:
        raise InputError(f"an encoder that cannot be built: {error}") from error


def _weights(state: State, config: E2StyleConfig, in_channels: int) -> Iterator[tuple[str, Tensor]]:
    """Of one stage; the blocks after its third scale are in the files, and do nothing."""
    yield from psp_weights.trunk(state, _Shape(config.widths, config.units, in_channels))
    sizes = zip(_HEADS, reversed(config.widths), config.rows, strict=True)
    for number, (name, width, rows) in enumerate(sizes):
        yield from _head(state, name, f"heads.{number}", width, rows * config.w_dim)


def _head(
    state: State, theirs: str, ours: str, width: int, outputs: int
) -> Iterator[tuple[str, Tensor]]:
    """A norm of each channel passes through the pooling and folds into what reads its means."""
    scale, shift = norm(state, f"{theirs}.0", width)
    each = take(state, f"{theirs}.3.weight", outputs, width * POOLED**2).double()
    each = each.unflatten(1, (width, -1))
    yield f"{ours}.weight", (each * scale[:, None]).flatten(1).float()
    bias = take(state, f"{theirs}.3.bias", outputs) + each.sum(dim=2) @ shift
    yield f"{ours}.bias", bias.float()
