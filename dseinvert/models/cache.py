"""Models made from other people's files: each converted once and kept under its sha256."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dseinvert.cards import CARD, DIRECTIONS, GENERATOR, HUB_WEIGHTS, read_card, root
from dseinvert.editing.directions import dumps as dump_directions
from dseinvert.errors import InputError, UsageError
from dseinvert.importers.found import Found
from dseinvert.importers.read import read
from dseinvert.media.digest import file_sha256
from dseinvert.models.attach import attach, directions_of
from dseinvert.models.folder import check_name, save_model, write_parts
from dseinvert.models.model import Model
from dseinvert.models.store import Added, free_name, put, unfinished, whole


def is_checkpoint_folder(path: Path) -> bool:
    """Whether it is a folder as Hugging Face's libraries save one."""
    return (path / HUB_WEIGHTS).is_file()


def add(
    path: Path,
    name: str = "",
    gan: Model | None = None,
    *,
    alignment: str = "",
    about: Mapping[str, Any] | None = None,
    check: Callable[[Found], None] | None = None,
) -> Added:
    """Convert a foreign file into a model of the cache, or attach its directions to `gan`.

    Args:
        path: a checkpoint, encoder or direction file.
        name: what to call the model; "" = after the file.
        gan: the model whose generator an encoder or a direction belongs to; None = none.
        alignment: how the pictures it knows are cropped, "ffhq" or "none"; "" = as the file says,
            or as those of `gan`.
        about: more for its card; None = nothing.
        check: raises where it is not what was expected; None = anything will do.

    Raises:
        UsageError: no such file, a name that is taken, or a wrong `gan`.
        InputError: the file cannot be used. OutputError: the cache cannot be written.
    """
    if name:
        check_name(name)
    source = _source(path)
    folder = root() / _key(source, gan)
    if whole(folder):
        return _again(folder, name, alignment)
    found = read(path, gan.generator if gan else None)
    if alignment:
        found = replace(found, alignment=alignment)
    if check is not None:
        check(found)
    if found.generator is None and found.encoder is None and found.directions:
        return attach(path, found, name, gan)
    _check_belongs(path, found, gan)
    origin = {
        "file": path.name,
        "sha256": source,
        "format": found.format,
        **((about or {}).get("source", {})),
    }
    card = {**(about or {}), "source": origin, "notes": [*found.notes]}
    name = free_name(name, folder) if name else _named_after(path, folder)
    with unfinished() as part:
        if gan is None:
            _write(part, found, name, card)
        else:
            _write_with_encoder(part, found, name, card, gan, alignment or gan.alignment)
        put(part, folder)
    return Added(read_card(folder)["name"], folder, found.format, found.notes, new=True)


def _source(path: Path) -> str:
    """The sha256 of a file, or of the weights in a folder."""
    file = path / "pytorch_model.bin" if is_checkpoint_folder(path) else path
    if (path / CARD).is_file():
        raise UsageError(f"{path}: a model already", f"use it with --model {path}")
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    if not file.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise InputError(f"{path}: {kind}, not a checkpoint")
    return file_sha256(file)


def _key(source: str, gan: Model | None) -> str:
    if gan is None:
        return source[:32]
    return hashlib.sha256(f"{source} for {gan.sha256}".encode()).hexdigest()[:32]


def _again(folder: Path, name: str, alignment: str) -> Added:
    """A file that was converted before; another name or alignment is a new one for it."""
    old = read_card(folder)
    card = {**old, "alignment": alignment or old.get("alignment", "none")}
    if name and name != card["name"]:
        card["name"] = free_name(name, folder)
    if card != old:
        write_parts(folder, card, {})
    told = card.get("source", {}).get("format", "")
    return Added(card["name"], folder, told, tuple(card.get("notes", ())), new=False)


def _check_belongs(path: Path, found: Found, gan: Model | None) -> None:
    if found.generator is None and found.encoder is None:
        raise InputError(f"{path}: {found.format}, with neither generator nor encoder")
    if gan is not None and found.encoder is None:
        raise UsageError(f"{path}: {found.format}: it holds no encoder", "leave --gan out")
    if gan is None and found.generator is None:
        raise InputError(f"{path}: {found.format}, without its generator", "name it with --gan")


def _write(part: Path, found: Found, name: str, card: Mapping[str, Any]) -> None:
    assert found.generator is not None
    generator = found.generator
    save_model(
        part,
        generator,
        found.encoder,
        name=name,
        description=f"{found.format}, {generator.resolution} px",
        licence=card.get("licence", found.licence),
        alignment=found.alignment,
        more={key: value for key, value in card.items() if key != "licence"},
    )
    if found.directions:
        fitted = directions_of(found, generator, file_sha256(part / GENERATOR))
        write_parts(part, read_card(part), {DIRECTIONS: dump_directions(fitted)})


def _write_with_encoder(
    part: Path, found: Found, name: str, card: Mapping[str, Any], gan: Model, alignment: str
) -> None:
    """`gan` as it is on disk, so that its hash and its directions stay, with another encoder."""
    assert found.encoder is not None
    save_model(
        part,
        gan.generator,
        found.encoder,
        gan.directions,
        name=name,
        description=f"{found.format}, for {gan.name}",
        licence=" ".join(filter(None, (gan.card.get("licence", ""), found.licence))),
        alignment=alignment,
        keep_generator=gan.folder / GENERATOR,
        more={**card, "generator_of": gan.name},
    )


def _named_after(path: Path, folder: Path) -> str:
    stem = path.resolve().name if path.is_dir() else path.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "model"
    try:
        return free_name(name, folder)
    except UsageError:
        return f"{name}-{folder.name[:8]}"
