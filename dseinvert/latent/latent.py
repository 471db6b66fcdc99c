"""A batch of latents, where they came from, and their file.

The file is safetensors that tell what they are; nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from dseinvert.errors import InputError, OutputError
from dseinvert.latent.header import Header, is_latent
from dseinvert.latent.packed import FORMAT as MANY
from dseinvert.latent.packed import SUFFIX, pack_of, read_member
from dseinvert.latent.tracks import every_row
from dseinvert.latent.words import OPTIONAL, TUNING, Skip, Space
from dseinvert.media.atomic import shown, write_bytes
from dseinvert.media.tensors import Head, finite, parse_tensors, read_tensors

_DIMENSIONS = {"feature": 4, "label": 2, "style": 2}
"""Of the tensors of a batch; code and all of a tuning have three."""


@dataclass(frozen=True)
class Latent:
    """A batch of latents of one generator.

    `code` is [B, L, D]. `feature` [B, C, H, W] replaces the output of styled convolution `layer`
    (counted from 1); `skip` says whether the RGB images below that layer are kept (Feature-Style
    Encoder) or dropped (BDInvert). `label` is [B, num_classes]. `origin` is free text about where
    the latent came from: generator and encoder hashes, source file, crop matrix, version. One
    entry is read again: BigGAN draws with `truncation`, so that batches share one value of it.

    `style` [B, S] is added to the styles of all layers of the generator, which stand one after the
    other in the order they are used (StyleSpace, Wu et al., 2021); None = nothing is.
    `tuning` is what was added to the generator's weights for each sample (pivotal tuning), of low
    rank: "NAME.up" [B, out, r] and "NAME.down" [B, r, rest of the weight NAME]; empty = nothing.
    """

    code: Tensor
    space: Space
    feature: Tensor | None = None
    layer: int | None = None
    skip: Skip = "keep"
    label: Tensor | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    style: Tensor | None = None
    tuning: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code.ndim != 3:
            raise ValueError(f"code must be [B, L, D], got {list(self.code.shape)}")
        if (self.feature is None) != (self.layer is None):
            raise ValueError("feature and layer come together")

    def __len__(self) -> int:
        return len(self.code)

    def __iter__(self) -> Iterator[Latent]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | Tensor) -> Latent:
        """The latents of one sample or some, still a batch; a tensor holds their numbers."""
        some = index if isinstance(index, Tensor) else rows_at(index, len(self))
        return self._map({name: tensor[some] for name, tensor in self.tensors().items()})

    def __repr__(self) -> str:
        parts = [f"{name}={list(tensor.shape)}" for name, tensor in self.tensors().items()]
        return f"Latent({self.space}, {', '.join(parts)})"

    def tensors(self) -> dict[str, Tensor]:
        """The tensors present, by field name; those of `tuning` as "tuning/NAME"."""
        named = {"code": self.code} | {name: getattr(self, name) for name in OPTIONAL}
        named |= {TUNING + name: tensor for name, tensor in self.tuning.items()}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device | str) -> Latent:
        """The same latents on another device."""
        return self._map({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def _map(self, tensors: dict[str, Tensor]) -> Latent:
        return replace(self, **fields_of(tensors))

    def with_origin(self, **entries: str) -> Latent:
        """The same latents knowing more about where they came from."""
        return replace(self, origin={**self.origin, **entries})

    def save(self, path: str | Path) -> None:
        """Write the latents to `path`, all or nothing.

        Raises:
            OutputError: it cannot be written, or is not named .safetensors.
        """
        if Path(path).suffix != SUFFIX:
            raise OutputError(f"{path}: latents are written to {SUFFIX} files only")
        write_bytes(Path(path), dumps(self))

    @staticmethod
    def load(path: str | Path) -> Latent:
        """The latents that `save` wrote, or those of a clip, a row each; see `load_latent`.

        Raises:
            InputError: not a latent file of this program, cut short, or holding NaN.
        """
        return load_latent(Path(path))


def rows_at(index: int | slice, count: int) -> slice:
    """The rows of a batch of `count` at an index, one of them as a slice too.

    Raises:
        IndexError: there is no such row.
    """
    if isinstance(index, slice):
        return index
    row = range(count)[index]
    return slice(row, row + 1)


def fields_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `Latent.tensors` gave, as arguments of `Latent`; KeyError without a code."""
    tuning = {n.removeprefix(TUNING): t for n, t in tensors.items() if n.startswith(TUNING)}
    optional = {name: tensors.get(name) for name in OPTIONAL}
    return {"code": tensors["code"], **optional, "tuning": tuning}


def concat(latents: Sequence[Latent]) -> Latent:
    """Join batches of the same kind; `origin` is the first one's."""
    every = [latent.tensors() for latent in latents]
    return latents[0]._map({name: torch.cat([one[name] for one in every]) for name in every[0]})


def from_tensors(header: Header, tensors: Mapping[str, Tensor]) -> Latent:
    """The batch of these tensors, named as `Latent.tensors` names them.

    Raises:
        ValueError, KeyError: they do not go together.
    """
    return Latent(**fields_of(tensors), **vars(header))


def dumps(latent: Latent) -> bytes:
    """The bytes of a latent file: safetensors with all of `origin` as metadata.

    Tensors are float32, those of `tuning` float16, to which pivotal tuning has rounded them.
    """
    tensors = {name: _stored(name, tensor) for name, tensor in latent.tensors().items()}
    return same_every_time(save(tensors, metadata=_header(latent).text()))


def load_latent(path: Path, data: bytes | None = None) -> Latent:
    """Read a latent file, or a latent in a file of many; nothing in it is executed.

    `data`: its bytes, where it lies in a store. None = it is a file.

    Raises:
        InputError: not a latent file of this program, cut short, or holding NaN.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"{shown(path)}: latents are read from {SUFFIX} files only")
    try:
        head, tensors = _read(path) if data is None else parse_tensors(data)
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)}: no such file") from error
    except (ValueError, OSError) as error:
        said = f"{shown(path)}: not a readable safetensors file: {error}"
        raise InputError(said, "invert its picture again") from error
    return _checked(path, head, tensors)


def dumps_member(path: Path, stamp: str = "") -> bytes:
    """The bytes that a latent in a file of many would have by itself; see `packed.read_member`.

    Raises:
        InputError: there is none of that name, or the file is damaged.
    """
    head, tensors = read_member(path, stamp)
    return same_every_time(save(tensors, metadata=dict(head.text)))


def same_every_time(data: bytes) -> bytes:
    """A safetensors file with its header in order; the library's own order is random."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of eight
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _stored(name: str, tensor: Tensor) -> Tensor:
    kept = tensor.detach().cpu().contiguous()
    return kept.half() if name.startswith(TUNING) else kept.float()


def _read(path: Path) -> tuple[Head, dict[str, Tensor]]:
    return read_tensors(path) if pack_of(path) is None else read_member(path)


def _checked(path: Path, head: Head, tensors: dict[str, Tensor]) -> Latent:
    if head.text.get("format") == MANY:
        raise InputError(f"{path}: holds many latents by name", f"name one: {path}:NAME")
    if not is_latent(head.text):
        raise InputError(
            f"{shown(path)}: a safetensors file, but not a latent: it does not name its space",
            "write latents with `dseinvert images`",
        )
    code = tensors.get("code")
    if code is None or code.ndim != 3:
        raise InputError(f"{shown(path)}: holds no code of shape [B, L, D]")
    if not len(code):
        raise InputError(f"{shown(path)}: holds no latents: its batch is empty")
    try:
        header = Header.parse(head.text)
        floats = {name: tensor.float() for name, tensor in tensors.items()}
        if not finite(floats):
            raise InputError(f"{shown(path)}: holds NaN or infinite numbers")
        latent = from_tensors(header, every_row(floats))
        _check_rows(latent)
    except (ValueError, KeyError) as error:
        said = f"{shown(path)}: damaged latent file: {_told(error)}"
        raise InputError(said, "invert its picture again") from error
    return latent


def _told(error: Exception) -> str:
    return f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def _check_rows(latent: Latent) -> None:
    """ValueError where a tensor has not a row for each latent."""
    for name, tensor in latent.tensors().items():
        wanted = _DIMENSIONS.get(name, 3)
        if tensor.ndim != wanted or len(tensor) != len(latent):
            raise ValueError(f"{name} is {list(tensor.shape)} for {len(latent)} latents")


def _header(latent: Latent) -> Header:
    return Header(latent.space, latent.origin, latent.layer, latent.skip)
