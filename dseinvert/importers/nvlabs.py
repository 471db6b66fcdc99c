"""What NVlabs' PyTorch networks of StyleGAN2-ADA and StyleGAN3 have in common.

They come as pickles, or as state dicts alone, which do not say what the networks were made with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.importers.tensors import shape, take
from dseinvert.pickled.pickles import Foreign, Module, module

State = Mapping[str, Any]
Part = tuple[str, Tensor]
CLAMP = 256.0
"""What NVlabs' training bounds the outputs of layers by, for 16 bits."""
_STATE = "a state dict alone"
_NAMES = ("G_ema", "G", "g_ema", "g")


def generator_in(content: Any, mark: str) -> tuple[Module | None, tuple[str, ...]]:
    """The generator that has a tensor named `mark`, and a note on what was beside it.

    That of the moving average where there is one; None = there is no such generator.
    """
    if not isinstance(content, Mapping) or mark in content:
        return _network(content, mark), ()
    for name in _NAMES:
        network = _network(content.get(name), mark)
        if network is not None:
            others = ", ".join(str(other) for other in content if other != name)
            return network, (f"took {name}; left out {others}",) if others else ()
    return None, ()


def _network(value: Any, mark: str) -> Module | None:
    """A pickled network, or a state dict, that has a tensor named `mark`."""
    if isinstance(value, Mapping):
        tensors = {name: one for name, one in value.items() if isinstance(one, Tensor)}
        network = Module(_STATE, (), {}, tensors, {}, {})
    elif isinstance(value, Foreign):
        try:
            network = module(value)
        except (ValueError, TypeError, AttributeError):
            return None
    else:
        return None
    return network if mark in network.tensors else None


def is_state(network: Module) -> bool:
    """Whether a network came without what it was made with."""
    return network.name == _STATE


def attribute(network: Module, path: str, name: str, default: Any) -> Any:
    """What the module of that dotted name has, beside tensors, by a name; else the default.

    Raises:
        InputError: there is no such module.
    """
    return default if is_state(network) else inner(network, path).attributes.get(name, default)


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
        rate = attribute(network, f"mapping.fc{index}", "bias_gain", 0.01)
        if not isinstance(rate, int | float) or not math.isfinite(rate):
            raise InputError(f"layer mapping.fc{index}: a learning rate of {rate!r}")
        names = (f"mapping.fc{index}", f"mapping.layers.{index}")
        yield from dense(state, *names, w_dim, width, rate)
        width = w_dim
