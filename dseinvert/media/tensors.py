"""A safetensors file of a stranger: its head is looked at before its tensors are made."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load
from torch import Tensor

from dseinvert import names

_MOST = 100_000
"""Tensors in a file."""
_SIZES = {
    **{"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2},
    **{"I8": 1, "U8": 1, "BOOL": 1},
}
"""The kinds of numbers that all of PyTorch can compute with, and their bytes."""


@dataclass(frozen=True)
class Head:
    """What a file says of itself."""

    text: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    """By name."""

    @property
    def numbers(self) -> int:
        """How many it holds."""
        return sum(map(math.prod, self.shapes.values()))


def read_head(path: Path) -> Head:
    """The head of a file; no tensor is read.

    Raises:
        FileNotFoundError: there is none. ValueError, OSError: not a whole file of such tensors.
    """
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        return head_of(file, path.stat().st_size)


def head_of(file: BinaryIO, size: int) -> Head:
    """The head at the beginning of an open file of `size` bytes.

    Raises:
        ValueError: not that of a file of such tensors.
    """
    head = _json(file, size)
    if not isinstance(head, dict) or len(head) > _MOST:
        raise ValueError("a damaged header")
    text = names.table(head.pop("__metadata__", {}), names.text, names.text)
    return Head(text, {name: _shape(name, about) for name, about in head.items()})


def read_tensors(path: Path) -> tuple[Head, dict[str, Tensor]]:
    """The head of a file, and its tensors on the CPU, by name.

    Raises:
        FileNotFoundError: there is none. ValueError, OSError: not a whole file of such tensors.
    """
    head = read_head(path)
    try:
        with safe_open(path, "pt") as file:
            return head, {name: file.get_tensor(name) for name in head.shapes}
    except SafetensorError as error:
        raise ValueError(names.printable(str(error))[:200]) from error


def parse_tensors(data: bytes) -> tuple[Head, dict[str, Tensor]]:
    """As `read_tensors`, of the bytes of a file.

    Raises:
        ValueError: not those of a whole file of such tensors.
    """
    head = head_of(io.BytesIO(data), len(data))
    try:
        return head, load(data)
    except SafetensorError as error:
        raise ValueError(names.printable(str(error))[:200]) from error


def finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all numbers are."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def _json(file: BinaryIO, size: int) -> Any:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise ValueError("no header")
    return names.json_value(file.read(min(length, names.LONGEST_JSON + 1)))


def _shape(name: str, about: Any) -> tuple[int, ...]:
    """ValueError where the library would not say in a line what is wrong."""
    names.text(name)
    told = names.table(about, names.text, lambda value: value)
    dtype = names.text(told.get("dtype"))
    if dtype not in _SIZES:
        raise ValueError(f"{names.brief(name)} is of unknown numbers: {names.brief(dtype)}")
    shape = names.shape(told.get("shape"))
    ends = names.each(told.get("data_offsets"), names.count)
    if len(ends) != 2 or math.prod(shape) * _SIZES[dtype] != ends[1] - ends[0]:
        raise ValueError(f"{names.brief(name)} has the wrong length")
    return shape
