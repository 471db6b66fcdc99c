"""Named tensors of other people's state dicts, taken one by one and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import InputError

State = Mapping[str, Any]


def take(state: State, name: str, *shape: int) -> Tensor:
    """A tensor of that shape, in float32.

    Raises:
        InputError: missing, of another shape, or not finite.
    """
    tensor = state.get(name)
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
        found = list(tensor.shape) if isinstance(tensor, Tensor) else "none"
        raise InputError(f"layer {name}: expected {list(shape)}, found {found}")
    if not tensor.isfinite().all():
        raise InputError(f"layer {name}: holds NaN or infinite numbers")
    if tensor.is_complex():
        raise InputError(f"layer {name}: holds complex numbers")
    return tensor.float()


def shape(state: State, name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there.

    Raises:
        InputError: missing, empty, or of another number of dimensions.
    """
    tensor = state.get(name)
    if not isinstance(tensor, Tensor) or tensor.ndim != dimensions or 0 in tensor.shape:
        found = list(tensor.shape) if isinstance(tensor, Tensor) else "none"
        raise InputError(f"layer {name}: expected {dimensions} dimensions, found {found}")
    return tuple(tensor.shape)


def below(state: State, prefix: str) -> dict[str, Any]:
    """What is named `prefix` and more, by the rest of its name."""
    return {n[len(prefix) :]: t for n, t in state.items() if str(n).startswith(prefix)}


def count(state: State, prefix: str) -> int:
    """How many there are of `prefix`0, `prefix`1, ...

    Raises:
        InputError: a gap between them.
    """
    numbers = set(_numbers(state, prefix))
    for number in range(len(numbers)):
        if number not in numbers:
            raise InputError(f"layer {prefix}{number} is missing")
    return len(numbers)


def _numbers(state: State, prefix: str) -> Iterator[int]:
    for name in below(state, prefix):
        first = name.split(".")[0]
        if first.isdecimal():
            yield int(first)


def norm(state: State, name: str, channels: int) -> tuple[Tensor, Tensor]:
    """The scale and shift [C], in float64, of a batch norm that learns no more (eps 1e-5).

    Raises:
        InputError: a part is missing or misshapen, or a variance is negative.
    """
    parts = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (take(state, f"{name}.{p}", channels).double() for p in parts)
    if (variance < 0).any():
        raise InputError(f"layer {name}.running_var: holds negative variances")
    scale = weight / torch.sqrt(variance + 1e-5)
    return scale, bias - mean * scale
