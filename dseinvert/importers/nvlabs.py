"""What NVlabs' PyTorch pickles of StyleGAN2-ADA and StyleGAN3 have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.importers.pickles import Foreign, Module, module
from dseinvert.importers.tensors import shape, take

State = Mapping[str, Any]
Part = tuple[str, Tensor]


def generator_in(content: Any, mark: str) -> tuple[Module | None, tuple[str, ...]]:
    """The generator that has a tensor named `mark`, and a note on what was beside it.

    That of the moving average where there is one; None = there is no such generator.
    """
    named = content if isinstance(content, Mapping) else {"G_ema": content}
    for name in ("G_ema", "G"):
        if isinstance(named.get(name), Foreign):
            try:
                network = module(named[name])
            except (ValueError, TypeError, AttributeError):
                continue
            if mark in network.tensors:
                others = ", ".join(str(other) for other in named if other != name)
                return network, (f"took {name}; left out {others}",) if others else ()
    return None, ()


def inner(network: Module, path: str) -> Module:
    """The module of that dotted name.

    Raises:
        InputError: there is none.
    """
    for name in path.split("."):
        try:
            network = module(network.modules.get(name))
        except ValueError as error:
            raise InputError(f"layer {path}: {error}") from error
    return network


def dense(
    state: State, theirs: str, ours: str, outputs: int, inputs: int, rate: float = 1
) -> Iterator[Part]:
    """A fully connected layer whose learning rate was multiplied by `rate`."""
    weight = take(state, f"{theirs}.weight", outputs, inputs)
    yield f"{ours}.weight", weight * (rate / math.sqrt(inputs))
    yield f"{ours}.bias", take(state, f"{theirs}.bias", outputs) * rate


def mapping_sizes(state: State, w_dim: int) -> dict[str, int]:
    """`z_dim`, `mapping_layers` and `classes` of a mapping network of one width."""
    embedded, classes = 0, 0
    if "mapping.embed.weight" in state:
        embedded, classes = shape(state, "mapping.embed.weight", 2)
    depth = sum(f"mapping.fc{index}.weight" in state for index in range(len(state)))
    inputs = shape(state, "mapping.fc0.weight", 2)[1] if depth else w_dim + embedded
    return {"z_dim": inputs - embedded, "mapping_layers": depth, "classes": classes}


def mapping(network: Module, z_dim: int, w_dim: int, depth: int, classes: int) -> Iterator[Part]:
    """The mapping network's tensors under our names, ready for use."""
    state, width = network.tensors, z_dim
    yield "mapping.w_avg", take(state, "mapping.w_avg", w_dim)
    if classes:
        yield from dense(state, "mapping.embed", "mapping.embed", w_dim, classes)
        width += w_dim
    for index in range(depth):
        rate = inner(network, f"mapping.fc{index}").attributes.get("bias_gain", 0.01)
        if not isinstance(rate, int | float) or not math.isfinite(rate):
            raise InputError(f"layer mapping.fc{index}: a learning rate of {rate!r}")
        names = (f"mapping.fc{index}", f"mapping.layers.{index}")
        yield from dense(state, *names, w_dim, width, rate)
        width = w_dim
