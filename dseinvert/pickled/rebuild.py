"""Arrays and tensors as a pickle describes them, never larger than the bytes that are there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dseinvert.pickled.machine import Foreign

_NO_EXPANSION = 2**20
_MAX_DIMS = 16


@dataclass(eq=False)
class Storage:
    """The numbers that tensors are views of."""

    dtype: torch.dtype
    data: bytearray

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return len(self.data) // self.dtype.itemsize


def _new_array(*_: Any) -> Any:
    return np.empty((0,), np.int8)


def _array_state(array: Any, state: Any) -> None:
    if not isinstance(state, tuple) or len(state) not in (4, 5) or array.size:
        raise ValueError("a damaged array")
    shape, dtype, fortran, raw = state[-4:]
    known = _dtype(dtype)
    if _count(shape) * known.itemsize != len(bytes_of(raw)):
        raise ValueError(f"an array of {shape} {known} with {len(raw)} bytes")
    array.__setstate__((1, shape, known, bool(fortran), bytes_of(raw)))


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Any:
    known = _dtype(dtype)
    if _count(shape) * known.itemsize != len(bytes_of(raw)):
        raise ValueError(f"an array of {shape} {known} with {len(raw)} bytes")
    return np.frombuffer(bytes_of(raw), known).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, raw: Any) -> Any:
    known = _dtype(dtype)
    if len(bytes_of(raw)) != known.itemsize or not known.itemsize:
        raise ValueError("a damaged number")
    return np.frombuffer(bytes_of(raw), known)[0]


def _dtype(value: Any) -> Any:
    code = value.args[0] if isinstance(value, Foreign) and value.args else None
    if not isinstance(value, Foreign) or value.name != "dtype" or not isinstance(code, str):
        raise ValueError("an array of unknown numbers")
    if code[:1] not in {*"biufcSU"} or len(code) > 8:
        raise ValueError(f"an array of {code!r}, which are no numbers")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    return np.dtype(code).newbyteorder(">" if order == ">" else "<" if order == "<" else "=")


def bytes_of(value: Any) -> bytes:
    """Python 2 wrote bytes as text."""
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise ValueError("an array without its bytes")
    return bytes(value) if isinstance(value, bytearray) else value


def _count(shape: Any) -> int:
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMS:
        raise ValueError("a tensor without a shape")
    if not all(isinstance(side, int) and 0 <= side < 2**48 for side in shape):
        raise ValueError("a tensor of no possible shape")
    return math.prod(shape)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without its storage")
    return _strided(storage.data, storage.dtype, offset, size, stride)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    known = getattr(torch, dtype.name, None) if isinstance(dtype, Foreign) else None
    if not isinstance(storage, Storage) or not isinstance(known, torch.dtype):
        raise ValueError("a tensor of unknown numbers")
    return _strided(storage.data, known, offset, size, stride)


def _strided(data: bytearray, dtype: torch.dtype, offset: Any, size: Any, stride: Any) -> Tensor:
    held, count = len(data) // dtype.itemsize, _count(size)
    _count(stride)
    if len(size) != len(stride) or not isinstance(offset, int) or not 0 <= offset < 2**48:
        raise ValueError("a tensor whose strides do not fit")
    if not count:
        return torch.empty(size, dtype=dtype)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if last >= held or count > max(held, _NO_EXPANSION):
        raise ValueError(f"a tensor of shape {list(size)} that its storage of {held} cannot hold")
    return torch.frombuffer(data, dtype=dtype).as_strided(size, stride, offset)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _from_type(function: Any, _type: Any, args: Any, *_: Any) -> Any:
    """A Tensor with attributes: what rebuilds it, and with what."""
    known = isinstance(function, Foreign) and function.name == "_rebuild_tensor_v2"
    if not known or not isinstance(args, tuple):
        raise ValueError("a tensor of an unknown class")
    return _tensor(*args)


def _encoded(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise ValueError("text of an unknown encoding")
    return text.encode(encoding)


def _byte_array(*args: Any) -> bytearray:
    return bytearray(bytes_of(args[0])) if args else bytearray()


def _size(sides: Any = ()) -> tuple[int, ...]:
    _count(tuple(sides) if isinstance(sides, list) else sides)
    return tuple(sides)


def _set_of(kind: type[Any], items: Any = ()) -> Any:
    if not all(isinstance(item, str | float | bytes) or _is_small(item) for item in items):
        raise ValueError("a set of what are no plain values")
    return kind(items)


def _is_small(item: Any) -> bool:
    """Whether it is a number whose hash takes no time."""
    return isinstance(item, int) and abs(item) < 2**64


REBUILD: dict[str, Callable[..., Any]] = {
    "state of ndarray": _array_state,
    "numpy.core.multiarray._reconstruct": _new_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _size,
    "_codecs.encode": _encoded,
    "builtins.bytearray": _byte_array,
    "builtins.set": partial(_set_of, set),
    "builtins.frozenset": partial(_set_of, frozenset),
}
