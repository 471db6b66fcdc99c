"""Rows of several arrays in one safetensors file, written and read a few rows at a time.

The length of a clip then costs disk and no memory: the library writes no file piece by piece, and
maps one it reads, so that all that was read stays resident. Chunks of rows are files of the same
kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dseinvert.errors import InputError
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import replacing, shown, write_bytes
from dseinvert.names import (
    LONGEST_JSON,
    brief,
    count,
    each,
    json_value,
    open_regular,
    shape,
    table,
    text,
)

_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "uint8": "U8",
}
_TYPES = {name: np.dtype(kind) for kind, name in _NAMES.items()}
_COPY = 1 << 22
_BLOCK = 1 << 18
"""Bytes that are read together of a file in a store."""
Arrays = Mapping[str, NDArray[Any]]


class Rows:
    """An open file of rows: a context; one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where `path` is not a whole file of this kind."""
        self.path = path
        try:
            self._file, size = _opened(path)
        except OSError as error:
            raise InputError(f"{shown(path)}: cannot be read: {error.strerror}") from error
        try:
            self.header, self._tensors, self._start = _read_header(self._file, size)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._file.close()
            raise InputError(f"{shown(path)}: not a whole safetensors file: {error}") from error

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays in the file."""
        return tuple(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array; its first number counts the rows."""
        return tuple(self._tensors[name]["shape"])

    def dtype(self, name: str) -> np.dtype[Any]:
        """Of an array's numbers."""
        return _TYPES[self._tensors[name]["dtype"]]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows [stop - start, ...] of an array; None = to the last one."""
        count, *rest = self.shape(name)
        stop = count if stop is None else min(stop, count)
        size = self.dtype(name).itemsize * math.prod(rest)
        self._file.seek(self._start + self._tensors[name]["data_offsets"][0] + start * size)
        data = self._file.read(max(0, stop - start) * size)
        return np.frombuffer(data, self.dtype(name)).reshape(max(0, stop - start), *rest)

    def copy(self, name: str, target: BinaryIO) -> None:
        """Append the bytes of a whole array to another file."""
        start, stop = self._tensors[name]["data_offsets"]
        self._file.seek(self._start + start)
        for at in range(start, stop, _COPY):
            target.write(self._file.read(min(_COPY, stop - at)))


def _opened(path: Path) -> tuple[BinaryIO, int]:
    """A file of a disk or store, and its size."""
    if url := far(path):
        return stores.open_ranges(url, _BLOCK)
    return open_regular(path), path.stat().st_size


def write_rows(path: Path, arrays: Arrays, header: Mapping[str, str] | None = None) -> None:
    """Write arrays that fit into memory, atomically; header: text, None = no text."""
    shapes = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    order = _order(shapes)
    data = b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in order)
    write_bytes(path, _head(shapes, header or {}) + data)


def join_rows(path: Path, parts: Sequence[Path], more: Arrays, header: Mapping[str, str]) -> None:
    """Write the rows of all parts one behind the other, and `more` arrays beside them.

    Parts without a row may lack arrays. OutputError where the file cannot be written.
    """
    opened = [Rows(part) for part in parts]
    full = [rows for rows in opened if rows.names and rows.shape(rows.names[0])[0]]
    shapes = {name: (array.dtype, array.shape) for name, array in more.items()}
    for name in full[0].names if full else ():
        count = sum(rows.shape(name)[0] for rows in full)
        shapes[name] = full[0].dtype(name), (count, *full[0].shape(name)[1:])
    try:
        with replacing(path) as part, part.open("wb") as file:
            file.write(_head(shapes, header))
            for name in _order(shapes):
                if name in more:
                    file.write(np.ascontiguousarray(more[name]).tobytes())
                    continue
                for rows in full:
                    rows.copy(name, file)
    finally:
        for rows in opened:
            rows.close()


Shapes = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]


def _order(shapes: Shapes) -> list[str]:
    """Wide numbers first, so that all of them are aligned."""
    return sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name))


def _head(shapes: Shapes, header: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(header)}
    at = 0
    for name in _order(shapes):
        dtype, shape = shapes[name]
        end = at + dtype.itemsize * math.prod(shape)
        entries[name] = {
            "dtype": _NAMES[dtype.name],
            "shape": list(shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(entries, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, str], dict[str, Any], int]:
    """Text, tensors by name, and where their bytes begin; ValueError where the file is cut.

    An array has one dimension at least.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size, LONGEST_JSON):
        raise ValueError("no header")
    tensors = json_value(file.read(length))
    header = table(tensors.pop("__metadata__", {}), text, text)
    for name, tensor in tensors.items():
        start, stop = each(tensor["data_offsets"], count)
        sides = shape(tensor["shape"])
        if not sides or stop - start != math.prod(sides) * _TYPES[text(tensor["dtype"])].itemsize:
            raise ValueError(f"{brief(name)} has the wrong length")
    if 8 + length + max((t["data_offsets"][1] for t in tensors.values()), default=0) != size:
        raise ValueError("it is cut short")
    return header, tensors, 8 + length
