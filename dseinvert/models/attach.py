"""Directions of other people's files, given to a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dseinvert.cards import BUNDLED, DIRECTIONS, ENCODER, FEATURE_EDITOR, GENERATOR, root
from dseinvert.editing.directions import Direction, load_directions
from dseinvert.editing.directions import dumps as dump_directions
from dseinvert.editing.feature_editor import FeatureEditor
from dseinvert.errors import InputError, UsageError
from dseinvert.generators import Generator
from dseinvert.importers import directions as direction_files
from dseinvert.importers.found import Found
from dseinvert.importers.read import read
from dseinvert.models.folder import check_name, weights, write_parts
from dseinvert.models.model import Model
from dseinvert.models.store import Added, free_name, put, unfinished


def directions_of(found: Found, generator: Generator, sha256: str) -> dict[str, Direction]:
    """What a file holds as directions of that generator, whose weights have that hash.

    Raises:
        InputError: they do not fit its latents.
    """
    spec, unit = generator.spec, direction_files.unit(found)
    how = direction_files.learned(found)
    return {
        name: Direction(
            name, direction_files.fitted(rows, spec), spec.space, unit, sha256, learned=how
        )
        for name, rows in found.directions.items()
    }


def attach(path: Path, found: Found, name: str, gan: Model | None) -> Added:
    """Give directions to a model, or with a name to a copy of it.

    Raises:
        UsageError: no model is named, it is the bundled one, or has such a direction.
        InputError: they do not fit its latents.
    """
    if gan is None:
        raise UsageError(f"{path}: {found.format}: it belongs to a GAN", "name it with --gan")
    clash = sorted({*found.directions} & {*gan.directions})
    if clash:
        raise UsageError(f"{gan.name} has a direction {clash[0]} already", "rename the file")
    own = _fitted(path, found, gan)
    given, folder = give(gan, {**gan.directions, **own}, name, option="--name")
    return Added(given, folder, found.format, (*found.notes, *_told(own)), new=True)


def read_directions(path: Path, gan: Model) -> tuple[tuple[str, ...], dict[str, Direction]]:
    """The format of a directions file, with notes on it, and what it has for a model.

    Raises:
        UsageError: no such file. InputError: none of directions, or not of this model.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        own = load_directions(path)
        try:
            for direction in own.values():
                check_fits(direction, gan)
        except InputError as error:
            raise InputError(f"{path}: {error.what}", error.advice) from error
        return ("directions of this program",), own
    found = read(path, gan.generator)
    if found.generator is not None or found.encoder is not None or not found.directions:
        raise InputError(
            f"{path}: {found.format}: not a file of directions", "dseinvert models add"
        )
    return (found.format, *found.notes), _fitted(path, found, gan)


def check_fits(direction: Direction, gan: Model) -> None:
    """InputError where a direction is of another generator, space or shape than a model takes."""
    spec, name = gan.generator.spec, f"direction {direction.name}"
    if direction.generator != gan.sha256:
        theirs, own = direction.generator[:12], gan.sha256[:12]
        raise InputError(
            f"{name}: found for generator {theirs}, and {gan.name} is {own}", "name its model"
        )
    layers = gan.generator.style_layers
    if direction.space == "s" and layers:
        shapes = [[1, layers[-1].columns.stop]]
    elif direction.space[0] == spec.space[0]:
        shapes = [[spec.layers, spec.dim], [1, spec.dim]]
    else:
        raise InputError(f"{name}: in {direction.space}, and {gan.name} takes {spec.space}")
    if (shape := [*direction.vector.shape]) not in shapes:
        raise InputError(f"{name}: {shape} in {direction.space}, and {gan.name} has {shapes[0]}")


def _fitted(path: Path, found: Found, gan: Model) -> dict[str, Direction]:
    try:
        direction_files.check_space(path.stem, gan.generator.spec)
        return directions_of(found, gan.generator, gan.sha256)
    except InputError as error:
        raise InputError(f"{path}: {error.what}", error.advice) from error


def give(
    gan: Model, directions: Mapping[str, Direction], copy: str = "", option: str = "--copy"
) -> tuple[str, Path]:
    """Make `directions` all those that a model has, or that a copy of it has.

    Args:
        gan: stays as it is where a copy is made.
        directions: by name, those it keeps among them.
        copy: the name of the copy; "" = none, the model itself changes.
        option: what names a copy on the command line.

    Returns:
        The name and the folder of the model that has them now.

    Raises:
        UsageError: it is the bundled one and no copy is asked for, or the name is taken.
    """
    check_may_change(gan, copy, option)
    return _given(gan, {}, {DIRECTIONS: dump_directions(directions)}, copy)


def give_editor(gan: Model, editor: FeatureEditor, copy: str = "") -> tuple[str, Path]:
    """Make `editor` the one by which a model moves features, or a copy of it; see `give`."""
    check_may_change(gan, copy)
    more = {"feature_editor": editor.config.asdict()}
    return _given(gan, more, {FEATURE_EDITOR: weights(editor)}, copy)


def _given(
    gan: Model, more: Mapping[str, Any], parts: Mapping[str, bytes], copy: str
) -> tuple[str, Path]:
    """Write files and what the card says of them."""
    card = {**gan.card, **more}
    if copy:
        return _copy(gan, copy, card, parts)
    write_parts(gan.folder, card, parts)
    return gan.name, gan.folder


def check_may_change(gan: Model, copy: str = "", option: str = "--copy") -> None:
    """What `give` would refuse, before the work that leads to it."""
    if copy:
        check_name(copy)
    elif gan.folder == BUNDLED:
        advice = f"{option} N makes a model of its own"
        raise UsageError(f"{gan.name} is part of the program", advice)


def _copy(
    gan: Model, name: str, card: Mapping[str, Any], parts: Mapping[str, bytes]
) -> tuple[str, Path]:
    told = b"".join(parts.values())
    folder = root() / hashlib.sha256(f"{gan.sha256} as {name}".encode() + told).hexdigest()[:32]
    name = free_name(name, folder)
    kept = {
        file: (gan.folder / file).read_bytes()
        for file in (GENERATOR, ENCODER, DIRECTIONS, FEATURE_EDITOR)
        if (gan.folder / file).is_file()
    }
    with unfinished() as part:
        write_parts(part, {**card, "name": name}, {**kept, **parts})
        put(part, folder)
    return name, folder


def _told(own: Mapping[str, Direction]) -> tuple[str, ...]:
    names = [*own]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    unit = next(iter(own.values())).unit
    return (f"directions {', '.join(names[:4])}{more}: a strength of one is {unit}",)
