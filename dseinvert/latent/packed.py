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
from dseinvert.media.rows import Rows
from dseinvert.media.tensors import Head
from dseinvert.names import brief, file_name, json_value, open_regular, table, text

SUFFIX = ".safetensors"
FORMAT = "dseinvert-latents-1"
_MARK = json.dumps({"__metadata__": {"format": FORMAT}})[:-2].encode()
"""How the header of such a file begins."""
_OPEN = 4


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
            said = f"{path}: no whole file of many latents: {error}"
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


def names_in(path: Path) -> list[str] | None:
    """The names of the latents in a file of many, in their order; None = it is no such file.

    Raises:
        InputError: it is damaged.
    """
    try:
        with open_regular(path) as file:
            if file.read(8 + len(_MARK))[8:] != _MARK:
                return None
    except OSError:
        return None
    return [*_opened(path).latents]


def member(pack: Path, name: str) -> Path:
    """The path of a latent in a file of many."""
    return pack / f"{name}{SUFFIX}"


def pack_of(path: Path) -> Path | None:
    """The file of many latents that a path leads into; None = it is a file by itself."""
    pack = path.parent
    return pack if pack.suffix == SUFFIX and pack.is_file() else None


def read_member(path: Path) -> tuple[Head, dict[str, Tensor]]:
    """As `read_tensors`, of a latent in a file of many.

    Raises:
        InputError: there is none of that name, or the file is damaged.
    """
    name = path.name.removesuffix(SUFFIX)
    pack = _opened(path.parent)
    if name not in pack.latents:
        raise InputError(f"{path.parent}: holds no latent {brief(name)}")
    try:
        return pack.read(name)
    except (ValueError, KeyError) as error:
        said = f"{path.parent}: damaged at {brief(name)}: {error}"
        raise InputError(said, "invert its picture again") from error


def _opened(path: Path) -> Pack:
    about = path.stat()
    return _kept(path.absolute(), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=_OPEN)
def _kept(path: Path, changed: int, size: int) -> Pack:
    """Of each version of a file the header is read once."""
    return Pack(path)


def _header_text(told: Any) -> dict[str, str]:
    """What `Header.text` gives; ValueError for what it would not take."""
    origin = json.dumps(table(told["origin"], text, text))
    plain = {"space": text(told["space"]), "origin": origin}
    if "layer" in told:
        plain |= {"layer": str(told["layer"]), "skip": text(told["skip"])}
    return Header.parse(plain).text()
