"""Codes with labels: pictures of a table that are inverted, or samples that are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dseinvert.config import DirectionsOptions
from dseinvert.editing.discover import Score
from dseinvert.errors import InputError, NoInputError, UsageError
from dseinvert.faces.crops import Crop, Wanted
from dseinvert.generators.pixels import to_tensor
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import Latent, concat
from dseinvert.media.sets import kind_of
from dseinvert.models import Model
from dseinvert.progress import Watcher
from dseinvert.run.directions.labels import Table, read_table
from dseinvert.run.inputs import Item, read_faces
from dseinvert.run.play.latents import read_latent
from dseinvert.run.sources import Found, pictures_of

AT_ONCE = 32
_SUFFIX = ".safetensors"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Latents, and what is known of each."""

    latents: Latent
    columns: dict[str, Values]
    """By attribute: [N]; NaN = unknown."""
    pictures: bool
    """Whether they were inverted; else they are samples."""


def gather(
    options: DirectionsOptions, model: Model, score: Score | None, watcher: Watcher
) -> Labelled:
    """What a direction is learned from.

    Raises:
        UsageError: options that do not belong together. InputError, NoInputError: a table or
            pictures that cannot be used. MissingError: pictures, and no encoder.
    """
    if options.labels is None:
        if score is None:
            advice = "--labels TABLE.csv with --images FOLDER, or --scorer FILE.onnx"
            raise UsageError(f"{options.method} learns from labels", advice)
        seeds = range(options.seed, options.seed + options.samples)
        latents, values = scored(options, model, score, seeds, watcher)
        return Labelled(latents, {attribute(options): values}, pictures=False)
    table = read_table(options.labels)
    table.column(attribute(options))
    if table.of_seeds:
        latents = sampled(options, model, table.seeds())
        return Labelled(latents, table.columns, pictures=False)
    if options.images is None:
        raise UsageError(f"{table.path} names files", "--images FOLDER says where they are")
    latents, kept = _inverted(options, model, table, options.images, watcher)
    columns = {name: values[kept] for name, values in table.columns.items()}
    return Labelled(latents, columns, pictures=True)


def attribute(options: DirectionsOptions) -> str:
    """The one that is learned.

    Raises:
        UsageError: none is named.
    """
    wanted = options.attribute or options.name
    if not wanted:
        raise UsageError(f"{options.method} learns one attribute", "--name says which")
    return wanted


@torch.inference_mode()
def sampled(options: DirectionsOptions, model: Model, seeds: Sequence[int]) -> Latent:
    """The generator's samples of some seeds, as the options have them."""
    return concat([_sample(options, model, some) for some in _parts(seeds)])


@torch.inference_mode()
def scored(
    options: DirectionsOptions, model: Model, score: Score, seeds: Sequence[int], watcher: Watcher
) -> tuple[Latent, Values]:
    """Samples and the score of each."""
    watcher.begin("scoring", len(seeds))
    latents, values = [], []
    for some in _parts(seeds):
        latents.append(_sample(options, model, some))
        images = model.generator.synthesize(latents[-1]).clamp(-1, 1)
        values.append(score(images).double().cpu().numpy())
        for _ in some:
            watcher.advance()
    return concat(latents), np.concatenate(values)


def _sample(options: DirectionsOptions, model: Model, seeds: Sequence[int]) -> Latent:
    labels = None if options.label is None else [options.label] * len(seeds)
    psi = 1.0 if options.psi is None else options.psi
    return model.generator.sample(seeds, psi, labels=labels)


def _parts(seeds: Sequence[int]) -> list[Sequence[int]]:
    return [seeds[k : k + AT_ONCE] for k in range(0, len(seeds), AT_ONCE)]


def _inverted(
    options: DirectionsOptions, model: Model, table: Table, folder: Path, watcher: Watcher
) -> tuple[Latent, NDArray[np.int64]]:
    """The latents of the table's files, and which of its lines they are of."""
    with ExitStack() as stack:
        find = _finder(folder, watcher, stack)
        return _inverted_of(options, model, table, folder, find, watcher)


def _finder(folder: Path, watcher: Watcher, stack: ExitStack) -> Callable[[str], Found | None]:
    """What finds a file of the table: in a folder by its path, in a set by its name there."""
    if not kind_of(folder):
        return lambda name: _file(folder, name)
    found = stack.enter_context(pictures_of([str(folder)], watcher))
    known = {one.source.name: one for one in found}
    known |= {one.source.relative_to(folder).as_posix(): one for one in found}
    return known.get


def _inverted_of(
    options: DirectionsOptions,
    model: Model,
    table: Table,
    folder: Path,
    find: Callable[[str], Found | None],
    watcher: Watcher,
) -> tuple[Latent, NDArray[np.int64]]:
    files = [find(name) for name in table.names]
    lines = [line for line, file in enumerate(files) if file is not None]
    if not lines:
        first = table.names[0]
        raise NoInputError(f"{folder}: no file of the table is here, such as {first}")
    if missing := len(files) - len(lines):
        watcher.problem(f"{folder}: {missing} files of the table are not here")
    watcher.begin("inverting", len(lines))
    saved = {
        line: file.source
        for line in lines
        if (file := files[line]) and file.source.suffix == _SUFFIX
    }
    found = _read(saved, model, watcher)
    pictures = {line: file for line in lines if (file := files[line]) and line not in saved}
    if pictures:
        found |= _encoded(options, model, pictures, watcher)
    if not found:
        raise NoInputError(f"{folder}: nothing of it could be inverted")
    kept = sorted(found)
    latents = [replace(found[line], origin=found[kept[0]].origin) for line in kept]
    if len({_kind(one) for one in latents}) > 1:
        raise InputError(f"{folder}: latents of several kinds", "invert all of it alike")
    return concat(latents), np.array(kept)


def _read(files: dict[int, Path], model: Model, watcher: Watcher) -> dict[int, Latent]:
    """The first latent of each file; one that cannot be read is told, and passed over."""
    found = {}
    for line, file in files.items():
        try:
            found[line] = read_latent(file, model)[:1]
        except InputError as error:
            watcher.problem(str(error))
    return found


def _kind(latent: Latent) -> tuple[object, ...]:
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in latent.tensors().items()}
    return latent.space, latent.layer, latent.skip, tuple(shapes.items())


def _file(folder: Path, name: str) -> Found | None:
    picture = folder / name
    choices = (picture, picture.with_suffix(_SUFFIX))
    return next((Found(file) for file in choices if file.is_file()), None)


def _encoded(
    options: DirectionsOptions, model: Model, files: dict[int, Found], watcher: Watcher
) -> dict[int, Latent]:
    encoder = model.require_encoder()
    side, detector = model.generator.resolution, model.detector(align=options.align)
    inverter = Inverter(model.generator, encoder, options.label)
    items = [Item(file.source, str(line), file.content) for line, file in files.items()]
    waiting: dict[int, Crop] = {}
    found: dict[int, Latent] = {}
    wanted = Wanted(options.rotate)
    for one in read_faces(items, side, detector, watcher, 2 * AT_ONCE, wanted):
        if one.crops:
            waiting[int(one.item.name)] = one.crops[0]
        if len(waiting) == AT_ONCE:
            found |= _encode(inverter, waiting)
            waiting = {}
    return found | (_encode(inverter, waiting) if waiting else {})


def _encode(inverter: Inverter, crops: dict[int, Crop]) -> dict[int, Latent]:
    images = to_tensor([crop.pixels for crop in crops.values()])
    latents = inverter.invert(images).latent
    return {line: latents[k : k + 1] for k, line in enumerate(crops)}
