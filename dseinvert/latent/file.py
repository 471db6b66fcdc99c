"""The file of latents: safetensors that tell where they came from; nothing in it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.latent.clip import every_row
from dseinvert.latent.header import Header, is_latent
from dseinvert.latent.latent import TUNING, Latent
from dseinvert.media.atomic import write_bytes


def dumps(latent: Latent) -> bytes:
    """The bytes of a latent file: safetensors with all of `origin` as metadata.

    Tensors are float32, those of `tuning` float16, to which pivotal tuning has rounded them.
    """
    tensors = {name: _stored(name, tensor) for name, tensor in latent.tensors().items()}
    return same_every_time(save(tensors, metadata=Header.of(latent).text()))


def save_latent(latent: Latent, path: Path) -> None:
    """Write `latent` to `path`, all or nothing; `load_latent` reads it again.

    Raises:
        OutputError: it cannot be written.
    """
    write_bytes(path, dumps(latent))


def load_latent(path: Path) -> Latent:
    """Read a latent file; nothing in it is executed.

    Raises:
        InputError: not a latent file of this program, cut short, or holding NaN.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: latents are read from .safetensors files only")
    try:
        with safe_open(path, "pt") as file:
            text = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}") from error
    return _checked(path, text, tensors)


def same_every_time(data: bytes) -> bytes:
    """A safetensors file with its header in order; the library's own order is random."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of eight
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _stored(name: str, tensor: Tensor) -> Tensor:
    kept = tensor.detach().cpu().contiguous()
    return kept.half() if name.startswith(TUNING) else kept.float()


def _checked(path: Path, text: Mapping[str, str], tensors: dict[str, Tensor]) -> Latent:
    if not is_latent(text):
        raise InputError(
            f"{path}: a safetensors file, but not a latent: it does not name its space",
            "write latents with `dseinvert images`",
        )
    code = tensors.get("code")
    if code is None or code.ndim != 3:
        raise InputError(f"{path}: holds no code of shape [B, L, D]")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"{path}: holds NaN or infinite numbers")
    try:
        floats = {name: tensor.float() for name, tensor in tensors.items()}
        return Header.parse(text).latent(every_row(floats))
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged latent file: {error}") from error
