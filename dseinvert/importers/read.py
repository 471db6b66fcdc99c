"""One foreign file of any known kind, by content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dseinvert.errors import InputError
from dseinvert.generators import Generator, families
from dseinvert.generators.blank import Bounded
from dseinvert.importers import (
    deep_gan_encoders,
    deep_gan_generators,
    directions,
    e2style,
    hfgi,
    hyperstyle,
    idinvert,
    psp,
    style_feature,
    styleres,
)
from dseinvert.importers.found import Found
from dseinvert.importers.wrapped import forms
from dseinvert.names import json_value, read_regular
from dseinvert.pickled.pickles import Foreign, load, printable

_MOST_PARTS = 100_000
_SLACK, _TIMES = 1 << 25, 4
"""Numbers that any network may have, and more for each byte of its file."""
_DAMAGES = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)


class Reader(Protocol):
    """What each module of a format offers."""

    def recognise(self, content: Any) -> bool:
        """Whether `pickles.load` returned this format; never raises."""

    def convert(self, content: Any, generator: Generator | None = None) -> Found:
        """What it holds; InputError where a tensor is missing or misshapen."""


ENCODERS: tuple[Reader, ...] = (
    *(styleres, hyperstyle, hfgi, psp, e2style, style_feature, idinvert),
    deep_gan_encoders,
)
"""Readers of what is no family's own."""


def readers() -> tuple[Reader, ...]:
    """Those of encoders, of every family in its table, and of directions."""
    rows = families.FAMILIES.values()
    named = dict.fromkeys(name for row in rows for name in row.importers)
    return (*ENCODERS, *(import_module(name, __package__) for name in named), directions)


def read(path: Path, generator: Generator | None = None) -> Found:
    """Read a checkpoint, encoder or direction file; nothing in it is run.

    Args:
        path: the file, or a folder with pytorch_model.bin and config.json.
        generator: what an encoder or a direction that comes alone belongs to; None = none.

    Raises:
        InputError: of no known kind (says what was found), damaged, or holding NaN.
    """
    held, stem = _open(path)
    reader, content, unpacked = _known(held)
    if reader is None:
        raise InputError(f"{path}: no model of a known kind; it holds {printable(inventory(held))}")
    try:
        with Bounded(_SLACK + _TIMES * _size(path), _MOST_PARTS):
            found = reader.convert(content, generator)
    except InputError as error:
        raise InputError(f"{path}: {printable(error.what)}", error.advice) from error
    except (*_DAMAGES, MemoryError) as error:  # a foreign decoder at work on a damaged file
        said = printable(str(error))[:200]
        raise InputError(f"{path}: damaged: {type(error).__name__}: {said}") from error
    _check_finite(path, found)
    told = tuple(printable(note) for note in (*unpacked, *found.notes))
    return directions.named(replace(found, format=printable(found.format), notes=told), stem)


def _known(content: Any) -> tuple[Reader | None, Any, tuple[str, ...]]:
    """Who reads a content, in which of its forms, and notes on that; None = nobody.

    Directions are any small arrays with names, so they are looked for as the file has them only.
    """
    everyone = readers()
    if _recognises(directions, content):
        return directions, content, ()
    for form, notes in forms(content):
        for reader in everyone:
            if reader is not directions and _recognises(reader, form):
                return reader, form, notes
    return None, content, ()


def _recognises(reader: Reader, content: Any) -> bool:
    try:
        return reader.recognise(content)
    except _DAMAGES:
        return False


def inventory(content: Any) -> str:
    """What a file of no known kind holds, in a line: keys, classes, tensors."""
    parts = list(_walk(content))
    tensors = [part for part in parts if isinstance(part, Tensor | np.ndarray)]
    classes = Counter(_class(part) for part in parts if isinstance(part, Foreign))
    told = [_kind(content)]
    if tensors:
        numbers = sum(int(np.prod(tensor.shape)) for tensor in tensors)
        told.append(f"{len(tensors)} tensors of {numbers:,} numbers in all")
    if classes:
        names = ", ".join(name for name, _ in classes.most_common(4))
        told.append(f"instances of {names}")
    return "; ".join(told)


def _kind(content: Any) -> str:
    if isinstance(content, dict):
        keys = [str(key)[:60] for key in list(content)[:6]]
        more = f" and {len(content) - 6:,} more" if len(content) > 6 else ""
        return f"a table of {', '.join(keys) or 'nothing'}{more}"
    if isinstance(content, Tensor | np.ndarray):
        return f"one tensor of shape {list(content.shape)}"
    if isinstance(content, list | tuple):
        return f"a list of {len(content)}"
    return _class(content) if isinstance(content, Foreign) else f"a {type(content).__name__}"


def _class(part: Foreign) -> str:
    """The name of a class, also of one of NVlabs' persistent ones."""
    described = part.args[0] if part.args else None
    if isinstance(described, dict) and isinstance(described.get("class_name"), str):
        return described["class_name"][:60]
    return f"{part.module}.{part.name}"[:60]


def _walk(content: Any) -> Iterator[Any]:
    """Every part once, without recursion: a hostile file may nest or repeat without end."""
    left, seen = [content], {id(content)}
    while left and len(seen) < _MOST_PARTS:
        part = left.pop()
        yield part
        for child in _children(part):
            if id(child) not in seen:
                seen.add(id(child))
                left.append(child)


def _children(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, list | tuple):
        return list(part)
    if isinstance(part, Foreign):
        own = [part.args, part.kwargs, part.state, part.items, part.entries]
        return [child for child in own if child]
    return []


def _open(path: Path) -> tuple[Any, str]:
    """The content, and what to call it."""
    weights, config = path / "pytorch_model.bin", path.with_name("config.json")
    if path.is_dir() and weights.is_file():
        return _open(weights)[0], path.resolve().name
    if path.is_dir() and (path / deep_gan_generators.SYNTHESIS).is_file():
        return _open(path / deep_gan_generators.SYNTHESIS)[0], path.resolve().name
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a checkpoint")
    if path.name in deep_gan_generators.FILES:
        together = [path.with_name(name) for name in deep_gan_generators.FILES]
        return {file.name: load(file) for file in together if file.is_file()}, path.stem
    content = load(path)
    for reader in (hyperstyle, idinvert):
        if (beside := reader.neighbour(content, path)) is not None:
            content = reader.together(content, load(beside))
    if path.name == weights.name and config.is_file():
        try:
            content = {path.name: content, config.name: json_value(read_regular(config))}
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{config}: not JSON: {error}") from error
    return content, path.stem


def _size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder or beside one."""
    folder = path if path.is_dir() else path.parent
    parts = [folder / name for name in (*deep_gan_generators.FILES, "pytorch_model.bin")]
    return sum(file.stat().st_size for file in {path, *parts} if file.is_file())


def _check_finite(path: Path, found: Found) -> None:
    named = dict(found.directions)
    for what, network in (("generator", found.generator), ("encoder", found.encoder)):
        if isinstance(network, nn.Module):
            named |= {f"{what} {name}": t for name, t in network.state_dict().items()}
    for name, tensor in named.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {name}: holds NaN or infinite numbers")
