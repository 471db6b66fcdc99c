"""Saved latents of one generator, and pictures of latents in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from dseinvert.errors import InputError, NoInputError
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.tuned import synthesize
from dseinvert.importers.latents import LEFT_OUT, SUFFIXES, read_foreign
from dseinvert.latent import Latent, concat, dumps, load_latent
from dseinvert.latent.packed import SUFFIX, member, pack_of
from dseinvert.media.address import far, member_of
from dseinvert.media.atomic import shown
from dseinvert.media.digest import file_sha256
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import Content, Scan
from dseinvert.models import Model
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import BatchSize, auto_size, in_batches
from dseinvert.run.flow.names import assign
from dseinvert.run.play.packs import content_of, unpacked
from dseinvert.run.sources import files_of


@dataclass(frozen=True)
class Named:
    """One latent [1, L, D] and the name that its pictures get."""

    name: str
    latent: Latent


@dataclass(frozen=True)
class Read:
    """The latents of some files, and what is wrong with others of them."""

    latents: list[Named]
    problems: tuple[InputError, ...]


def read_latents(found: Scan, model: Model, watcher: Watcher) -> Read:
    """All samples of some latent files, in order.

    A file that cannot be read, or belongs to another generator, is told and passed over.

    Raises:
        InputError: the last of them, where none can be read.
    """
    problems = [InputError(f"{shown(one.path)}: {one.reason}") for one in found.problems]
    every: list[Named] = []
    for path, name in assign(found.files, {}, ()).items():
        try:
            latent = read_latent(path, model, found.contents.get(path))
            every += _named(name, latent)
            for note in left_out(path, latent):
                watcher.note(note)
        except InputError as error:
            problems.append(error)
    for problem in problems if every else problems[:-1]:
        watcher.problem(str(problem))
    if not every:
        raise problems[-1]
    return Read(every, tuple(problems))


def some_latent_files(patterns: Sequence[str]) -> Scan:
    """As `latent_files`, where there has to be one; asked before a model is loaded.

    Raises:
        NoInputError: there is none.
    """
    found = latent_files(patterns)
    if found.files:
        return found
    what, more = "no latent files found", len(found.problems) - 1
    for problem in found.problems[:1]:
        what = f"{what}: {shown(problem.path)}: {problem.reason}"
    what = f"{what}; {more} more like it" if more > 0 else what
    raise NoInputError(what, "name files that `dseinvert images` wrote")


def latent_files(patterns: Sequence[str]) -> Scan:
    """The files that the patterns mean, on disks and in stores.

    In folders those of this program are taken, and where there are none, those of others. A file
    of many latents stands for them all; see `latent.packed`. What a run made again into a later
    shard of its folder counts once, as its journal says.

    Raises:
        NoInputError, MissingError: as `files_of`.
    """
    named = {one: member_of(one) for one in patterns}
    whole = [one for one, (_, name) in named.items() if not name]
    found = files_of(whole, wanted=lambda path: path.suffix == SUFFIX)
    own = unpacked(found, frozenset(map(Path, whole)))
    picked = [member(Path(pack), name) for pack, name in named.values() if name]
    fetched = {path: content_of(path) for path in picked if far(path)}
    files, contents = (*own.files, *picked), {**own.contents, **fetched}
    own = replace(own, files=files, contents=contents)
    if own.files or own.problems:
        return own
    return files_of(patterns, wanted=lambda path: path.suffix in SUFFIXES)


def latent_sha256(path: Path) -> str:
    """Of a latent file; of a latent in a file of many, that of the file it would have by itself.

    Raises:
        InputError: it cannot be read.
    """
    if pack_of(path) is None:
        return file_sha256(path)
    return hashlib.sha256(dumps(load_latent(path))).hexdigest()


def left_out(path: Path, latent: Latent) -> list[str]:
    """A line about what of a file has no place in a latent; nothing where all has."""
    parts = latent.origin.get(LEFT_OUT)
    return [f"{shown(path)}: {parts} left out; the generator's own are used"] if parts else []


def _named(name: str, latent: Latent) -> list[Named]:
    count = len(latent)
    if count == 1:
        return [Named(name, latent)]
    return [Named(f"{name}-{k + 1}", latent[k : k + 1]) for k in range(count)]


def read_latent(path: Path, model: Model, content: Content | None = None) -> Latent:
    """The latents in a file; InputError names `path` where they are none of this model's.

    `content`: of what lies in a store. None = it is a file.
    Files of other programs do not say whose latents they hold: they are taken for this model's.
    """
    data = None if content is None else content.read()
    if path.suffix != SUFFIX:
        found = read_foreign(path, model.generator, data)
        latent = found.with_origin(generator=model.name, generator_sha256=model.sha256)
    else:
        latent = load_latent(path, data)
    try:
        model.check_latent(latent)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error.what}", error.advice) from error
    return latent


def draw(model: Model, latents: Sequence[Latent], batch: int | None) -> list[Pixels]:
    """Pictures uint8 [R, R, 3] of latents of one kind; `batch` at once, None = as many as suit."""
    size = batch or auto_size(model.generator.resolution, model.generator.device)
    return in_batches(partial(_draw, model), latents, BatchSize(size))


@torch.inference_mode()
def _draw(model: Model, latents: Sequence[Latent]) -> list[Pixels]:
    return to_pixels(synthesize(model.generator, concat(latents).to(model.generator.device)))
