"""PGGAN checkpoints of Facebook's PyTorch GAN zoo: `.pth` and `.pt` of its PGAN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.found import Found
from dseinvert.importers.progressive import Source, pggan
from dseinvert.importers.tensors import State, shape, take
from dseinvert.pickled.pickles import Foreign

LICENCE = "PyTorch GAN zoo: BSD 3-Clause (github.com/facebookresearch/pytorch_GAN_zoo)."
_NETWORKS = ("avgG", "netG")
_MARK = "formatLayer.weight"
_SLOPE = 0.2
_WITH_TANH = ("MSE", "DCGAN")
"""Losses whose generators end with it."""


def recognise(content: Any) -> bool:
    """Whether this is a checkpoint with such a generator; the zoo's StyleGAN is another."""
    return isinstance(content, Mapping) and any(_MARK in _state(content, n) for n in _NETWORKS)


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator; of two, the one averaged over the training.

    Raises:
        InputError: a tensor is missing or misshapen, or the network is half-grown or was built
            otherwise than the published ones.
    """
    name = next(name for name in _NETWORKS if _MARK in _state(content, name))
    numbers = _numbers(content.get("config"))
    _check(numbers)
    state = _state(content, name)
    first, pixels = _first(state)
    source = Source({**first, **dict(_weights(state))}, _name, scaled=True)
    network = pggan(source, _classes(numbers), fused=False, pixels=pixels)
    others = [str(other) for other in content if other not in (name, "config")]
    notes = (f"took {name}; left out {', '.join(others)}",) if others else ()
    return Found("PGAN of the PyTorch GAN zoo", network, notes=notes, licence=LICENCE)


def _state(content: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """A network's weights, with the names of before and after its layers were wrapped alike."""
    state = content.get(name)
    if not isinstance(state, Mapping):
        return {}
    return {str(n).removeprefix("module.").replace(".module.", "."): t for n, t in state.items()}


def _numbers(config: Any) -> Mapping[str, Any]:
    """What the network was built from; nothing where the file does not say."""
    found = config.state if isinstance(config, Foreign) else config
    return found if isinstance(found, Mapping) else {}


def _check(numbers: Mapping[str, Any]) -> None:
    alpha = numbers.get("alpha", 0)
    if alpha != 0:
        raise InputError(
            f"a network that is still growing: its last size is blended in by alpha={alpha!r}",
            "take the snapshot of the end of the training",
        )
    known = {"leakyReluLeak": _SLOPE, "perChannelNormalization": True, "equalizedlR": True}
    for name, value in known.items():
        if numbers.get(name, value) != value:
            raise InputError(f"a network built with {name}={numbers[name]!r}, not known here")
    if numbers.get("lossCriterion") in _WITH_TANH:
        raise InputError(f"a network trained with {numbers['lossCriterion']}, not known here")


def _classes(numbers: Mapping[str, Any]) -> int:
    """Numbers of its label, which says one thing."""
    said, classes = numbers.get("attribKeysOrder"), numbers.get("categoryVectorDim", 0)
    if isinstance(said, Mapping) and len(said) > 1:
        raise InputError(f"a network whose label says {len(said)} things, not known here")
    if not isinstance(classes, int) or classes < 0:
        raise InputError(f"a network built with categoryVectorDim={classes!r}")
    return classes


def _name(part: str, index: int = 0) -> str:
    """What this reader calls a part of a layer."""
    return f"{part}.{index}"


def _weights(state: State) -> Iterator[tuple[str, Tensor]]:
    """Every convolution with its run-time scale, which here reaches the bias as well."""
    names = ["groupScale0.0", *_scales(state)]
    for index, name in enumerate(names, 1):
        for part, tensor in _scaled(state, name, 4):
            yield _name(part, index), tensor
    last = len(names) // 2
    for part, tensor in _scaled(state, f"toRGBLayers.{last}", 4):
        yield _name(f"rgb.{part}", last), tensor


def _scales(state: State) -> list[str]:
    """The convolutions of every scale but the first, in the order they run."""
    found = [f"scaleLayers.{k}.{i}" for k in range(_most(state)) for i in (0, 1)]
    if not found:
        raise InputError("a PGAN of 4 px, which has not grown")
    return found


def _most(state: State) -> int:
    numbers = [n.split(".")[1] for n in state if n.startswith("scaleLayers.")]
    return len({number for number in numbers if number.isdecimal()})


def _first(state: State) -> tuple[dict[str, Tensor], Tensor]:
    """The fully connected layer as a kernel, turned as `pggan` takes it, and its bias [C, 4, 4]."""
    weight, bias = (tensor for _, tensor in _scaled(state, "formatLayer", 2))
    if len(weight) % 16:
        raise InputError(f"layer formatLayer.weight: {len(weight)} outputs, which are no 4x4")
    kernel = weight.unflatten(0, (-1, 4, 4)).permute(0, 3, 1, 2).flip(2, 3)
    none = bias.new_zeros(len(kernel))
    return {_name("weight"): kernel, _name("bias"): none}, bias.unflatten(0, (-1, 4, 4))


def _scaled(state: State, name: str, dimensions: int) -> Iterator[tuple[str, Tensor]]:
    sizes = shape(state, f"{name}.weight", dimensions)
    scale = math.sqrt(2 / math.prod(sizes[1:]))
    yield "weight", take(state, f"{name}.weight", *sizes) * scale
    yield "bias", take(state, f"{name}.bias", sizes[0]) * scale
