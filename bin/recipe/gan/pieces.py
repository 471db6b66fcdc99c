"""Checkpoints that travel: halved in precision, and cut into pieces of a few megabytes."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.media.atomic import write_bytes
from dseinvert.training.checkpoints import dumps, load

PIECE = 15 * 2**20
"""Bytes of a piece."""


def pack(folder: Path, name: str, files: Mapping[str, bytes], piece: int = PIECE) -> None:
    """Write `files` as NAME.000, NAME.001, ... and NAME.json, which lists and proves them."""
    data = tar_bytes(files)
    parts = [data[at : at + piece] for at in range(0, len(data), piece)]
    folder.mkdir(parents=True, exist_ok=True)
    for old in _pieces(folder, name):
        old.unlink()
    index = {f"{name}.{number:03}": _sha256(part) for number, part in enumerate(parts)}
    for file, part in zip(index, parts, strict=True):
        write_bytes(folder / file, part)
    write_bytes(folder / f"{name}.json", (json.dumps(index, indent=2) + "\n").encode())


def unpack(folder: Path, name: str) -> dict[str, bytes]:
    """The files that `pack` wrote; empty where there are none.

    Raises:
        MissingError: a piece is absent or not what was written.
    """
    index = folder / f"{name}.json"
    if not index.exists():
        return {}
    parts = [
        _piece(folder / file, sha256) for file, sha256 in json.loads(index.read_text()).items()
    ]
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files, the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def shrink(content: Any, key: str = "") -> Any:
    """A checkpoint at a third of its size: weights in float16, squared gradients in a byte each.

    Adam's first moment is left out: with a first beta of 0 it is the last gradient, never read.
    """
    if isinstance(content, dict):
        return {k: shrink(v, str(k)) for k, v in content.items() if k != "exp_avg"}
    if isinstance(content, Tensor) and content.dtype == torch.float32 and content.ndim:
        return _to_bytes(content) if key == "exp_avg_sq" else content.half()
    return [shrink(value) for value in content] if isinstance(content, list) else content


def grow(content: Any) -> Any:
    """What `shrink` made, in float32 and with a first moment again."""
    if isinstance(content, dict) and content.keys() == {"log", "low", "high"}:
        return _from_bytes(**content)
    if isinstance(content, dict):
        grown = {k: grow(v) for k, v in content.items()}
        if "exp_avg_sq" in grown:
            grown["exp_avg"] = torch.zeros_like(grown["exp_avg_sq"])
        return grown
    if isinstance(content, Tensor) and content.dtype == torch.float16:
        return content.float()
    return [grow(value) for value in content] if isinstance(content, list) else content


def _to_bytes(squares: Tensor) -> dict[str, Tensor]:
    """Squares on a logarithmic scale of 256 steps; Adam cannot tell those below 1e-20 from 0."""
    log = squares.clamp(min=1e-20).log()
    low, high = log.aminmax()
    steps = 255 * (log - low) / (high - low).clamp(min=1e-9)
    return {"log": steps.round().byte(), "low": low, "high": high}


def _from_bytes(log: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (low + (high - low) * log.float() / 255).exp()


def shrunk(checkpoint: bytes) -> bytes:
    """`shrink` from file to file."""
    return dumps(shrink(load(io.BytesIO(checkpoint))))


def grown(checkpoint: bytes) -> bytes:
    """`grow` from file to file."""
    return dumps(grow(load(io.BytesIO(checkpoint))))


def _piece(file: Path, sha256: str) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise MissingError(f"{file}: cannot read this piece: {error.strerror}") from error
    if _sha256(data) != sha256:
        raise MissingError(f"{file}: damaged piece: its SHA-256 differs", "copy it again")
    return data


def _pieces(folder: Path, name: str) -> list[Path]:
    return [f for f in folder.iterdir() if re.fullmatch(re.escape(name) + r"\.\d{3,}", f.name)]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
