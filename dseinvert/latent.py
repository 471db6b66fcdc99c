"""The currency of dseinvert: a batch of latents, where they came from, and their file format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dseinvert.errors import InputError

Space = Literal["z", "z+", "w", "w+"]
Skip = Literal["keep", "drop"]
FORMAT = "dseinvert-latent-1"
_OPTIONAL = ("feature", "label", "style")
_TUNING = "tuning/"


@dataclass(frozen=True)
class LatentSpec:
    """The latent a generator takes: its space, number of layers L and width D."""

    space: Space
    layers: int
    dim: int
    classes: int = 0
    """Width of `Latent.label`; 0 = the generator has no classes."""


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

    def __getitem__(self, index: slice | Tensor) -> Latent:
        """The latents of some samples, still a batch; a tensor holds their numbers."""
        return self._map({name: tensor[index] for name, tensor in self.tensors().items()})

    def __repr__(self) -> str:
        parts = [f"{name}={list(tensor.shape)}" for name, tensor in self.tensors().items()]
        return f"Latent({self.space}, {', '.join(parts)})"

    def tensors(self) -> dict[str, Tensor]:
        """The tensors present, by field name; those of `tuning` as "tuning/NAME"."""
        named = {"code": self.code} | {name: getattr(self, name) for name in _OPTIONAL}
        named |= {_TUNING + name: tensor for name, tensor in self.tuning.items()}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device | str) -> Latent:
        """The same latents on another device."""
        return self._map({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def _map(self, tensors: dict[str, Tensor]) -> Latent:
        return replace(self, **_fields(tensors))

    def with_origin(self, **entries: str) -> Latent:
        """The same latents knowing more about where they came from."""
        return replace(self, origin={**self.origin, **entries})


def _fields(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `Latent.tensors` gave, as arguments of `Latent`."""
    tuning = {n.removeprefix(_TUNING): t for n, t in tensors.items() if n.startswith(_TUNING)}
    optional = {name: tensors.get(name) for name in _OPTIONAL}
    return {"code": tensors["code"], **optional, "tuning": tuning}


def concat(latents: Sequence[Latent]) -> Latent:
    """Join batches of the same kind; `origin` is the first one's."""
    every = [latent.tensors() for latent in latents]
    return latents[0]._map({name: torch.cat([one[name] for one in every]) for name in every[0]})


def dumps(latent: Latent) -> bytes:
    """The bytes of a latent file: safetensors with all of `origin` as metadata.

    Tensors are float32, those of `tuning` float16, to which pivotal tuning has rounded them.
    """
    tensors = {name: _stored(name, tensor) for name, tensor in latent.tensors().items()}
    header = {"format": FORMAT, "space": latent.space, "origin": json.dumps(dict(latent.origin))}
    if latent.layer is not None:
        header |= {"layer": str(latent.layer), "skip": latent.skip}
    return same_every_time(save(tensors, metadata=header))


def _stored(name: str, tensor: Tensor) -> Tensor:
    kept = tensor.detach().cpu().contiguous()
    return kept.half() if name.startswith(_TUNING) else kept.float()


def same_every_time(data: bytes) -> bytes:
    """A safetensors file with its header in order; the library's own order is random."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of eight
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def load_latent(path: Path) -> Latent:
    """Read a latent file; nothing in it is executed.

    Raises:
        InputError: not a latent file of this program, cut short, or holding NaN.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: latents are read from .safetensors files only")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}") from error
    return _checked(path, header, tensors)


def _checked(path: Path, header: Mapping[str, str], tensors: dict[str, Tensor]) -> Latent:
    if header.get("format") != FORMAT or header.get("space") not in get_args(Space):
        raise InputError(
            f"{path}: a safetensors file, but not a latent: it does not name its space",
            "write latents with `dseinvert images`",
        )
    code = tensors.get("code")
    if code is None or code.ndim != 3:
        raise InputError(f"{path}: holds no code of shape [B, L, D]")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"{path}: holds NaN or infinite numbers")
    skip = header.get("skip", "keep")
    if skip not in get_args(Skip):
        raise InputError(f"{path}: damaged latent file: unknown skip {skip!r}")
    try:
        return Latent(
            **_fields(_of_rows({name: tensor.float() for name, tensor in tensors.items()})),
            space=header["space"],  # type: ignore[arg-type]
            layer=int(header["layer"]) if "layer" in header else None,
            skip=skip,  # type: ignore[arg-type]
            origin=json.loads(header.get("origin", "{}")),
        )
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged latent file: {error}") from error


def _of_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, with what it holds once for each track of a clip given to every row.

    A clip's "tuning/TRACK/NAME" has no batch axis; a row of another track is not tuned.
    """
    plain = {name: tensor for name, tensor in tensors.items() if name.count("/") < 2}
    of_tracks: dict[str, dict[int, Tensor]] = {}
    for name in tensors.keys() - plain.keys():
        track, _, factor = name.removeprefix(_TUNING).partition("/")
        of_tracks.setdefault(factor, {})[int(track)] = tensors[name]
    for factor in sorted(of_tracks):
        found = of_tracks[factor]
        none = torch.zeros_like(next(iter(found.values())))
        tracks, rows = tensors["track"].unique(return_inverse=True)
        every = [found.get(track, none) for track in tracks.int().tolist()]
        if all(torch.equal(one, every[0]) for one in every):  # takes no memory
            plain[_TUNING + factor] = every[0].expand(len(rows), *none.shape)
        else:
            plain[_TUNING + factor] = torch.stack(every)[rows]
    return plain
