"""The content of other people's checkpoint files, read without running anything in them.

Raw pickles, PyTorch's zip files, its older format, .npy, .npz and .safetensors.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.media.tensors import head_of
from dseinvert.pickled.budget import TIMES, Budget
from dseinvert.pickled.machine import Foreign, kind, printable, unpickle
from dseinvert.pickled.modules import Module, module
from dseinvert.pickled.rebuild import REBUILD, Storage, bytes_of

__all__ = ["Foreign", "Module", "load", "module", "printable"]

Part = tuple[str, Any]
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How PyTorch's format before 1.6 begins: its magic number, pickled."""

_AGAIN = "download it again"
_UNPACKED = 64 << 20  # bytes that any .npz may be unpacked to
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ZIP_DAMAGES = (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, EOFError)
_NUMBERS = {*"biufcSU"}
_NPY_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
}
_LOOKS_LIKE = {
    b"": "empty",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"\xfd7zXZ": "an xz archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
    b"<!DOCTYPE": "a web page: the download was refused",
    b"<!doctype": "a web page: the download was refused",
    b"<html": "a web page: the download was refused",
}


DAMAGE = (ValueError, TypeError, RuntimeError, OverflowError, EOFError)
"""What `loads` raises of bytes that are damaged, of another kind, or declare too much."""


def load(path: Path, data: bytes | None = None) -> Any:
    """What a file holds: plain containers, tensors, arrays; every other class is a `Foreign`.

    Tensors come as torch tensors from PyTorch's files and as numpy arrays from numpy's. Nothing
    named in the file is imported or run. `data`: its bytes, where they are there already.

    Raises:
        InputError: not readable, of another kind, damaged, or declaring more than it holds.
    """
    try:
        return loads(_bytes_of(path) if data is None else data)
    except DAMAGE as error:
        raise InputError(f"{shown(path)}: {_one_line(error)}", _AGAIN) from error


def _bytes_of(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a regular file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {(error.strerror or str(error)).lower()}") from None


def loads(data: bytes) -> Any:
    """What the bytes of a file hold, as `load` gives it; raises what is in DAMAGE."""
    return _content(data, Budget(len(data)), nested=False)


def _content(data: bytes, budget: Budget, *, nested: bool) -> Any:
    if data.startswith(b"PK\x03\x04"):
        return _zip(data, budget)
    if data.startswith(LEGACY):
        return _legacy(data, budget)
    if nested:
        raise ValueError("a pickle inside the pickle")
    if data.startswith(b"\x93NUMPY"):
        return _npy(data, budget)
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return _safetensors(data)
    return _raw(data, budget)


def _raw(data: bytes, budget: Budget) -> Any:
    for start, what in _LOOKS_LIKE.items():
        if data.startswith(start) if start else not data:
            raise ValueError(f"{what}, not a checkpoint")
    if not data.startswith(b"\x80") and not data.rstrip().endswith(b"."):
        raise ValueError("neither a pickle, a PyTorch file, .npy nor .safetensors")
    file = io.BytesIO(data)
    content = _unpickle(file, _refuse, budget)
    if file.tell() != len(data):
        raise ValueError(f"{len(data) - file.tell()} bytes after the end of the pickle")
    return content


def _refuse(_: Any) -> Any:
    raise ValueError("a pickle that refers to data outside itself")


def _unpickle(file: io.BytesIO, persistent: Callable[[Any], Any], budget: Budget) -> Any:
    nested = {_NESTED: partial(_nested_storage, budget)}
    return unpickle(file, {**REBUILD, **nested}, persistent, budget)


# ---- numpy


def _npy(data: bytes, budget: Budget | None = None) -> Any:
    """numpy makes room for what a header claims before it reads.

    Args:
        budget: of an array of objects, which is a pickle; None = such are refused.
    """
    file = io.BytesIO(data)
    read_header = _NPY_HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("an array of an unknown version of .npy")
    try:
        shape, fortran, dtype = read_header(file)
    except (SyntaxError, TokenError, RecursionError, MemoryError) as error:  # it parses Python
        raise ValueError("an array with a damaged header") from error
    if dtype.kind == "O" and budget is not None and len(shape) < 2:
        return _objects(file, shape, budget)
    if dtype.kind not in _NUMBERS or not all(0 <= side < 2**48 for side in shape):
        raise ValueError(f"an array {list(shape)} of {dtype}, which are no numbers")
    left = data[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(left):
        raise ValueError(f"an array {list(shape)} of {dtype} with {len(left)} bytes")
    return np.frombuffer(bytearray(left), dtype).reshape(shape, order="F" if fortran else "C")


def _objects(file: io.BytesIO, shape: tuple[int, ...], budget: Budget) -> Any:
    """What `numpy.save` was given: one object, or a list of them, pickled inside an array."""
    held: list[tuple[Any, Any]] = []

    def state(array: Any, described: Any) -> None:
        if isinstance(described, tuple) and isinstance(described[-1], list):
            held.append((array, described[-1]))
        else:
            REBUILD["state of ndarray"](array, described)

    own = {**REBUILD, "state of ndarray": state}
    array = unpickle(file, own, _refuse, budget)
    if file.read(1):
        raise ValueError("bytes after the end of the pickle")
    if len(held) != 1 or held[0][0] is not array or len(held[0][1]) != math.prod(shape):
        raise ValueError("an array of objects in which there are others")
    items: list[Any] = held[0][1]
    return items if shape else items[0]


# ---- PyTorch


def _zip(data: bytes, budget: Budget) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = _records(archive, len(data))
            if "data.pkl" in records:
                return _torch_zip(archive, records, budget)
            if records and all(name.endswith(".npy") for name in records):
                return {n[:-4]: _npy(archive.read(r)) for n, r in records.items()}
            raise ValueError(f"a zip archive of {len(records)} files, not a PyTorch file")
    except _ZIP_DAMAGES as error:
        raise ValueError(f"a damaged zip file: {_one_line(error)}") from error


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """By name without the archive's own folder; refused where they declare too much."""
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if any(info.compress_type not in _COMPRESSIONS for info in infos):
        raise ValueError("compressed as neither PyTorch nor numpy does")
    torch_file = any(info.filename.endswith("/data.pkl") for info in infos)
    if torch_file and any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise ValueError("compressed, which PyTorch never does")
    allowed = size if torch_file else max(_UNPACKED, TIMES * size)
    if sum(info.file_size for info in infos) > allowed:
        raise ValueError("its zip directory declares more than it holds")
    records = {
        info.filename.split("/", 1)[-1] if torch_file else info.filename: info for info in infos
    }
    if len(records) != len(infos):
        raise ValueError("a zip file with several files of one name")
    return records


def _torch_zip(
    archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo], budget: Budget
) -> Any:
    order = archive.read(records["byteorder"]) if "byteorder" in records else b"little"
    storages: dict[str, Storage] = {}

    def persistent(value: Any) -> Any:
        if _is_class(value):
            return value[1]
        dtype, key, count = _storage_id(value)
        if key not in storages:
            if f"data/{key}" not in records:
                raise ValueError(f"storage {key} is missing")
            data = bytearray(archive.read(records[f"data/{key}"]))
            if len(data) != count * dtype.itemsize:
                raise ValueError(f"storage {key}: {len(data)} bytes for {count} of {dtype}")
            storages[key] = Storage(dtype, _swapped(data, dtype) if order == b"big" else data)
        return storages[key]

    return _unpickle(io.BytesIO(archive.read(records["data.pkl"])), persistent, budget)


def _legacy(data: bytes, budget: Budget) -> Any:
    """Three small pickles, the content, the list of storages, then each: a count and its bytes."""
    file = io.BytesIO(data)
    storages: dict[str, Storage] = {}
    _, _, system = (_unpickle(file, _refuse, budget) for _ in range(3))

    left = len(data)

    def persistent(value: Any) -> Any:
        nonlocal left
        if _is_class(value):
            return value[1]
        dtype, key, count = _storage_id(value)
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                raise ValueError("declares more than it holds")
            storages[key] = Storage(dtype, bytearray(count * dtype.itemsize))
        return storages[key]

    content = _unpickle(file, persistent, budget)
    keys = _unpickle(file, _refuse, budget)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("a damaged list of storages")
    if {*keys} != {*storages}:
        raise ValueError("its list of storages does not fit")
    little = not isinstance(system, dict) or system.get("little_endian", True)
    for key in keys:
        _fill(storages[key], file, swap=not little)
    if file.read(1):
        raise ValueError("bytes after its end")
    return content


def _fill(storage: Storage, file: io.BytesIO, *, swap: bool) -> None:
    count = int.from_bytes(file.read(8), "big" if swap else "little")
    data = file.read(len(storage.data))
    if count not in (storage.count, len(storage.data)) or len(data) != len(storage.data):
        raise ValueError("cut short")
    storage.data[:] = _swapped(bytearray(data), storage.dtype) if swap else data


def _is_class(value: Any) -> bool:
    """A class with its source text beside it, as whole networks were saved."""
    return isinstance(value, tuple) and len(value) > 1 and value[0] == "module"


def _storage_id(value: Any) -> tuple[torch.dtype, str, int]:
    if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage":
        raise ValueError("refers to data outside itself")
    cls, key, count = value[1], value[2], value[4]
    name = cls.name.removesuffix("Storage") if isinstance(cls, Foreign) else ""
    if name not in _DTYPES or not isinstance(key, str) or not _is_count(count):
        raise ValueError(f"an unknown kind of storage: {kind(cls)}")
    if len(value) > 5 and value[5] is not None:
        raise ValueError("a view of a storage, as PyTorch before 0.4 wrote")
    return _DTYPES[name], key, count


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**48


def _swapped(data: bytearray, dtype: torch.dtype) -> bytearray:
    size = dtype.itemsize // (2 if dtype.is_complex else 1)
    np.frombuffer(data, f"u{size}").byteswap(inplace=True)
    return data


def _nested_storage(budget: Budget, data: Any) -> Storage:
    content = _content(bytes_of(data), budget, nested=True)
    if not isinstance(content, Storage):
        raise ValueError("a file inside the pickle that is no storage")
    return content


def _safetensors(data: bytes) -> Any:
    try:
        head_of(io.BytesIO(data), len(data))
        return load_safetensors(data)
    except SafetensorError as error:
        raise ValueError(f"a damaged safetensors file: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    text = printable(str(error))
    return text if len(text) <= 200 else f"{text[:200]}..."


_NESTED = "torch.storage._load_from_bytes"
