"""Many latents in one safetensors file, by name.

The tensors of latent NAME are called NAME/TENSOR; what the header of its own file would say stands
in the header of this one. A latent in such a file has a path, which is that of the file with
NAME.safetensors behind.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.latent.header import Header
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.media.rows import Rows
from dseinvert.media.tensors import Head
from dseinvert.names import brief, file_name, json_value, open_regular, table, text

SUFFIX = ".safetensors"
FORMAT = "dseinvert-latents-1"
_MARK = json.dumps({"__metadata__": {"format": FORMAT}})[:-2].encode()
"""How the header of such a file begins."""
_OPEN = 4
_KNOWN = 1024


class Packing:
    """Latent files on their way into one; their numbers wait on the disk, not in memory."""

    def __init__(self, wide: BinaryIO, narrow: BinaryIO) -> None:
        """Both are empty files, to be written and read: of float32, and of float16."""
        self._files = {"F32": wide, "F16": narrow}
        self._latents: dict[str, dict[str, Any]] = {}
        self._tensors: dict[str, dict[str, Any]] = {}
        self.header_bytes = 0
        """About how long the header of the file would be."""

    def add(self, name: str, data: bytes) -> None:
        """The latent in the bytes of a latent file; OSError where there is no room."""
        start = 8 + int.from_bytes(data[:8], "little")
        tensors = json.loads(data[8:start])
        about = vars(Header.parse(tensors.pop("__metadata__")))
        self._latents[name] = {key: value for key, value in about.items() if value is not None}
        for tensor, told in sorted(tensors.items()):
            file = self._files[told["dtype"]]
            begin, end = told["data_offsets"]
            at = file.tell()
            file.write(memoryview(data)[start + begin : start + end])
            own = {**told, "data_offsets": [at, file.tell()]}
            self._tensors[f"{name}/{tensor}"] = own
            self.header_bytes += len(json.dumps(own)) + len(name) + len(tensor) + 8
        self.header_bytes += len(json.dumps(json.dumps(self._latents[name]))) + len(name) + 8
        for file in self._files.values():
            file.flush()

    def write(self, target: BinaryIO) -> None:
        """All of them as one file; the same latents give the same bytes."""
        behind = {"F32": 0, "F16": self._files["F32"].tell()}  # wide numbers first: all are aligned
        about = {"format": FORMAT, "latents": json.dumps(self._latents)}
        entries: dict[str, Any] = {"__metadata__": about}
        for name, told in self._tensors.items():
            shift = behind[told["dtype"]]
            entries[name] = {**told, "data_offsets": [at + shift for at in told["data_offsets"]]}
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 8)
        target.write(len(header).to_bytes(8, "little") + header)
        for file in self._files.values():
            file.seek(0)
            shutil.copyfileobj(file, target)


class Pack:
    """An open file of many latents; threads may read at once."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where it is none, or damaged."""
        self._rows, self._lock = Rows(path), Lock()
        try:
            about = table(json_value(self._rows.header["latents"]), file_name, _header_text)
            if self._rows.header["format"] != FORMAT:
                raise ValueError("of another kind")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{shown(path)}: no whole file of many latents: {error}"
            raise InputError(said, "invert their pictures again") from error
        self.latents: Mapping[str, Mapping[str, str]] = about
        """What the header of each one's own file would hold, by name."""
        self._tensors: dict[str, list[str]] = {}
        for name in self._rows.names:
            self._tensors.setdefault(name.partition("/")[0], []).append(name)

    def read(self, name: str) -> tuple[Head, dict[str, Tensor]]:
        """A latent's head and tensors, as of a file of its own; KeyError where there is none."""
        head = Head(self.latents[name], {})
        with self._lock:
            arrays = {one.partition("/")[2]: self._rows.read(one) for one in self._tensors[name]}
        return head, {one: torch.from_numpy(array.copy()) for one, array in arrays.items()}


def names_in(path: Path, stamp: str = "") -> list[str] | None:
    """The names of the latents in a file of many, in their order; None = it is no such file.

    stamp: see `read_member`.

    Raises:
        InputError: it is damaged.
    """
    return [*_opened(path, stamp).latents] if is_pack(path) else None


def is_pack(path: Path) -> bool:
    """Whether a file begins as one of many latents does."""
    size = 8 + len(_MARK)
    try:
        if url := far(path):
            return stores.read(url, 0, size)[8:] == _MARK
        with open_regular(path) as file:
            return file.read(size)[8:] == _MARK
    except (OSError, InputError):
        return False


def member(pack: Path, name: str) -> Path:
    """The path of a latent in a file of many."""
    return pack / f"{name}{SUFFIX}"


def pack_of(path: Path) -> Path | None:
    """The file of many latents that a path leads into; None = it is a file by itself."""
    pack = path.parent
    there = pack.suffix == SUFFIX and (_is_object(pack) if far(pack) else pack.is_file())
    return pack if there else None


@lru_cache(maxsize=_KNOWN)
def _is_object(path: Path) -> bool:
    try:
        return bool(stores.stored(far(path)).size)
    except InputError:
        return False


def read_member(path: Path, stamp: str = "") -> tuple[Head, dict[str, Tensor]]:
    """As `read_tensors`, of a latent in a file of many.

    stamp: what a store says of the version of that file; "" = nothing.

    Raises:
        InputError: there is none of that name, or the file is damaged.
    """
    name = path.name.removesuffix(SUFFIX)
    pack = _opened(path.parent, stamp)
    if name not in pack.latents:
        raise InputError(f"{shown(path.parent)}: holds no latent {brief(name)}")
    try:
        return pack.read(name)
    except (ValueError, KeyError) as error:
        said = f"{shown(path.parent)}: damaged at {brief(name)}: {error}"
        raise InputError(said, "invert its picture again") from error


def _opened(path: Path, stamp: str) -> Pack:
    if far(path):
        return _of_store(path, stamp)
    about = path.stat()
    return _kept(path.absolute(), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=_OPEN)
def _kept(path: Path, changed: int, size: int) -> Pack:
    """Of each version of a file the header is read once."""
    return Pack(path)


@lru_cache(maxsize=_OPEN)
def _of_store(path: Path, stamp: str) -> Pack:
    """The same."""
    return Pack(path)


def _header_text(told: Any) -> dict[str, str]:
    """What `Header.text` gives; ValueError for what it would not take."""
    origin = json.dumps(table(told["origin"], text, text))
    plain = {"space": text(told["space"]), "origin": origin}
    if "layer" in told:
        plain |= {"layer": str(told["layer"]), "skip": text(told["skip"])}
    return Header.parse(plain).text()
