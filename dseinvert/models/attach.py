"""Directions of other people's files, given to a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from dseinvert.checkpoints import directions as direction_files
from dseinvert.checkpoints.found import Found
from dseinvert.editing.directions import Direction
from dseinvert.editing.directions import dumps as dump_directions
from dseinvert.errors import InputError, UsageError
from dseinvert.generators import Generator
from dseinvert.models.folder import BUNDLED, DIRECTIONS, ENCODER, GENERATOR, Model, write_parts
from dseinvert.models.store import Added, free_name, put, root, unfinished


def directions_of(found: Found, generator: Generator, sha256: str) -> dict[str, Direction]:
    """What a file holds as directions of that generator, whose weights have that hash.

    Raises:
        InputError: they do not fit its latents.
    """
    spec, unit = generator.spec, direction_files.unit(found)
    return {
        name: Direction(name, direction_files.fitted(rows, spec), spec.space, unit, sha256)
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
    try:
        direction_files.check_space(path.stem, gan.generator.spec)
        own = directions_of(found, gan.generator, gan.sha256)
    except InputError as error:
        raise InputError(f"{path}: {error.what}", error.advice) from error
    if name:
        return _copy(gan, name, own, found)
    if gan.folder == BUNDLED:
        raise UsageError(f"{gan.name} is part of the program", "--name N makes a model of its own")
    write_parts(gan.folder, gan.card, {DIRECTIONS: dump_directions({**gan.directions, **own})})
    return Added(gan.name, gan.folder, found.format, _told(own), new=True)


def _copy(gan: Model, name: str, own: Mapping[str, Direction], found: Found) -> Added:
    told = dump_directions({**gan.directions, **own})
    folder = root() / hashlib.sha256(f"{gan.sha256} as {name}".encode() + told).hexdigest()[:32]
    name = free_name(name, folder)
    parts = {
        file: (gan.folder / file).read_bytes()
        for file in (GENERATOR, ENCODER)
        if (gan.folder / file).is_file()
    }
    with unfinished() as part:
        write_parts(part, {**gan.card, "name": name}, {**parts, DIRECTIONS: told})
        put(part, folder)
    return Added(name, folder, found.format, _told(own), new=True)


def _told(own: Mapping[str, Direction]) -> tuple[str, ...]:
    names = [*own]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    unit = next(iter(own.values())).unit
    return (f"directions {', '.join(names[:4])}{more}: a strength of one is {unit}",)
