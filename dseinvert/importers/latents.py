"""Latents in the layouts of other programs: theirs in, and ours out.

pSp's and e4e's latents.pt, ReStyle's and HyperStyle's latents.npy, the pivots of PTI,
projected_w.npz of NVlabs, the files of rosinality's projector, and arrays that lie alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.read import inventory
from dseinvert.latent import Latent
from dseinvert.latent.words import OPTIONAL, LatentSpec
from dseinvert.media.atomic import shown
from dseinvert.pickled.pickles import load, printable

Layout = Literal["npz", "pt"]
SUFFIXES = frozenset({".pt", ".pth", ".npz", ".npy"})
"""Of files that hold such latents, as a rule; a file that is named may have any other."""
LEFT_OUT = "left_out"
"""What `origin` says of a file's parts that have no place in a `Latent`."""
_W = (
    *("w", "ws", "wp", "w_plus", "w_pivot", "projected_w", "dlatents"),
    *("latent", "latents", "latent_code", "latent_codes", "code", "codes"),
)
"""What a latent of w or w+ is called where it does not lie alone."""
_Z = "z"
_NOISE = "noise"
_DEEPEST, _MOST = 4, 100_000
_SLACK = 1 << 24
"""Numbers that any file may come to, and one more for each of its bytes."""


@dataclass(frozen=True)
class _Part:
    """One array of a file."""

    array: Tensor
    z: bool
    """Whether it is called z; else it is of the space that the generator takes."""


def read_foreign(path: Path, generator: Generator, data: bytes | None = None) -> Latent:
    """The latents of a file, one after the other; nothing in it is run.

    One row of w is spread over all rows; of the steps that ReStyle keeps the last is taken. What
    the file cannot tell is the generator they belong to: they are taken for latents of the one that
    is given. `data`: the file's bytes, where it lies in a store; None = it is read.

    Raises:
        InputError: no latents, of other sizes than the generator takes, damaged, or holding NaN.
    """
    content = load(path, data)
    content = _last_steps(content) if path.suffix == ".npy" else content
    size = path.stat().st_size if data is None else len(data)
    try:
        parts = [*_parts(content, _SLACK + size)]
        if not parts or len({part.z for part in parts}) > 1:
            raise InputError(f"no latents; it holds {inventory(content)}")
        codes = [_rows(part, generator) for part in parts]
        if sum(map(len, codes)) > _MOST:
            raise InputError(f"more than {_MOST:,} latents")
        # A row of w is spread over all rows, and half precision is widened.
        if sum(map(Tensor.numel, codes)) > _SLACK + generator.spec.layers * size:
            raise InputError("latents that are more than their file")
    except InputError as error:
        raise InputError(f"{shown(path)}: {printable(error.what)}", error.advice) from error
    spec = generator.spec
    space = "z" if parts[0].z and not spec.space.startswith("z") else spec.space
    latent = Latent(codes[0] if len(codes) == 1 else torch.cat(codes), space)
    return latent.with_origin(**{LEFT_OUT: "noise maps"}) if _noisy(content) else latent


def dumps_foreign(latent: Latent, generator: Generator, layout: Layout) -> bytes:
    """The bytes of a file that other programs read.

    npz: `w` [B, L, D], as the projectors of NVlabs write it. pt: one tensor [B, L, D], as e4e and
    PTI do. A latent in z or w is mapped to w+; where there is no w, it is `z` [B, D].
    """
    spec = generator.spec
    named, code = "w", latent.code
    if spec.space.startswith("z"):
        named, code = "z", code.flatten(1) if code.shape[1] == 1 else code
    elif tuple(code.shape[1:]) != (spec.layers, spec.dim) or latent.space != spec.space:
        code = generator.rows(latent)
    code = code.detach().cpu().float().contiguous()
    buffer = io.BytesIO()
    if layout == "npz":
        arrays: dict[str, Any] = {named: code.numpy()}
        np.savez(buffer, **arrays)
    else:
        torch.save(code.clone(), buffer)
    return buffer.getvalue()


def not_carried(latent: Latent) -> tuple[str, ...]:
    """What such a file leaves out of a latent, and what it draws without will differ by."""
    own = [name for name in OPTIONAL if getattr(latent, name) is not None]
    return (*own, *(["tuning"] if latent.tuning else ()))


def _last_steps(content: Any) -> Any:
    """ReStyle's table of images, each with a list of what its steps found: the last of each."""
    if not isinstance(content, Mapping):
        return content
    return {
        name: found[-1] if isinstance(found, list) and found else found
        for name, found in content.items()
    }


def _parts(content: Any, allowed: int) -> Iterator[_Part]:
    """Every array that is called a latent, or that could be called so, in the file's order.

    Raises:
        InputError: one of them cannot be, or they are more than the file can hold.
    """
    left, taken, seen = [(content, False, 0)], 0, 0
    while left:
        one, z, depth = left.pop()
        seen += 1
        if seen > _MOST or depth > _DEEPEST:
            raise InputError("lists in lists that hold no latents")
        if isinstance(one, Tensor | np.ndarray):
            array = _numbers(one)
            taken += array.numel()
            if taken > allowed:
                raise InputError("latents that are more than their file")
            yield _Part(array, z)
            continue
        inner = _inner(one, z)
        if seen + len(left) + len(inner) > _MOST:
            raise InputError(f"more than {_MOST:,} parts")
        left += [(*part, depth + 1) for part in reversed(inner)]


def _inner(content: Any, z: bool) -> list[tuple[Any, bool]]:
    """The parts of a list or a table; InputError for what is neither."""
    if isinstance(content, list | tuple):
        return [(part, z) for part in content]
    if not isinstance(content, Mapping):
        raise InputError(f"no latents; it holds {inventory(content)}")
    known = [content[key] for key in _W if key in content]
    if known:
        return [(known[0], False)]
    if _Z in content:
        return [(content[_Z], True)]
    return [(value, z) for value in content.values()]


def _numbers(array: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """The same in float32, finite; nothing is repeated in memory that is not in the file."""
    if isinstance(array, np.ndarray):
        if array.dtype.kind != "f":
            raise InputError(f"no latents; it holds {inventory(array)} of {array.dtype}")
        array = torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))
    if not array.is_floating_point() or not array.numel():
        raise InputError(f"no latents; it holds {inventory(array)} of {array.dtype}")
    found = array.detach().float()
    if not found.isfinite().all():
        raise InputError("holds NaN or infinite numbers")
    return found


def _rows(part: _Part, generator: Generator) -> Tensor:
    """[N, L, D] of an array [D], [N, D], [L, D], [N, 1, D] or [N, L, D].

    Of the two that look alike, [L, D] is meant where there are L rows.
    """
    spec, shape = generator.spec, tuple(part.array.shape)
    z = part.z or spec.space.startswith("z")
    wide = generator.z_dim if z else spec.dim
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 3 and shape[1:] == (spec.layers, wide):
        return part.array.reshape(shape)
    if len(shape) == 2 and shape == (spec.layers, wide):
        return part.array[None] if part.array.ndim == 2 else part.array.reshape(1, *shape)
    single = len(shape) in (1, 2) or (len(shape) == 3 and shape[1] == 1)
    if not single or shape[-1] != wide:
        raise InputError(_wanted(list(part.array.shape), z, wide, spec))
    alone = part.array.reshape(-1, 1, wide)
    return alone if z else alone.expand(-1, spec.layers, -1)


def _wanted(found: list[int], z: bool, wide: int, spec: LatentSpec) -> str:
    numbers = math.prod(found)
    several = f"[N, {spec.layers}, {wide}] in w+ or " if not z and spec.layers > 1 else ""
    one = f"[N, {wide}] in {'z' if z else 'w'}"
    return f"latents {found} ({numbers:,} numbers), but the generator needs {several}{one}"


def _noisy(content: Any) -> bool:
    """Whether noise maps lie beside a latent, as rosinality's projector leaves them."""
    tables = [content, *content.values()] if isinstance(content, Mapping) else []
    return any(isinstance(table, Mapping) and _NOISE in table for table in tables)
