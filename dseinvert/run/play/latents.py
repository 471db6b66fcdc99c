"""Saved latents of one generator, and pictures of latents in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from dseinvert.errors import InputError, NoInputError
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.tuned import synthesize
from dseinvert.importers.latents import LEFT_OUT, SUFFIXES, read_foreign
from dseinvert.latent import Latent, concat, dumps, dumps_member, load_latent
from dseinvert.latent.packed import SUFFIX, is_pack, member, names_in, pack_of
from dseinvert.media import stores
from dseinvert.media.address import far, member_of
from dseinvert.media.atomic import shown
from dseinvert.media.digest import file_sha256
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import Content, Scan
from dseinvert.models import Model
from dseinvert.progress import Watcher
from dseinvert.run.flow.batchsize import BatchSize, auto_size, in_batches
from dseinvert.run.flow.names import assign
from dseinvert.run.images.journal import read_all
from dseinvert.run.images.packed import prefix_of
from dseinvert.run.sources import files_of

_AT_ONCE = 16
"""Files in stores that are asked for at once."""


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
    own = _unpacked(found, frozenset(map(Path, whole)))
    picked = [member(Path(pack), name) for pack, name in named.values() if name]
    fetched = {path: _content(path, partial(_stamp, path.parent)) for path in picked if far(path)}
    files, contents = (*own.files, *picked), {**own.contents, **fetched}
    own = replace(own, files=files, contents=contents)
    if own.files or own.problems:
        return own
    return files_of(patterns, wanted=lambda path: path.suffix in SUFFIXES)


def _unpacked(found: Scan, whole: frozenset[Path]) -> Scan:
    """With the latents in files of many in their places; what is damaged stays, and is told of.

    whole: what was named itself; of a file all counts.
    """
    files: list[Path] = []
    contents = dict(found.contents)
    stored = _names_in_stores(found)
    held = {p: stored.get(p) if p in found.contents else _names(p, None) for p in found.files}
    for path, names in _counted(held, whole).items():
        inside = None if names is None else [member(path, name) for name in names]
        files += [path] if inside is None else inside
        if inside is not None and path in found.contents:
            stamp = found.contents[path].stamp or _unknown
            contents |= {one: _content(one, stamp) for one in inside}
    return replace(found, files=tuple(files), contents=contents)


def _counted(
    held: Mapping[Path, list[str] | None], whole: frozenset[Path]
) -> dict[Path, list[str] | None]:
    """Without what the journal of a folder says is in another shard.

    It is asked only where a name is there twice, or a shard cannot be read.
    """
    kept = dict(held)
    shards = [p for p in held if p not in whole and prefix_of(p) is not None]
    for folder in dict.fromkeys(path.parent for path in shards):
        here = [path for path in shards if path.parent == folder]
        names = [name for path in here for name in held[path] or ()]
        if len({*names}) == len(names) and all(held[path] for path in here):
            continue
        done = [entry for entry in read_all(folder).values() if entry.pack]
        packs = {face.name: entry.pack for entry in done for face in entry.faces}
        for path in here if done else ():
            inside = held[path]
            if inside is not None:
                kept[path] = [one for one in inside if packs.get(one, path.stem) == path.stem]
            elif path.stem not in packs.values():
                del kept[path]
    return kept


def _names_in_stores(found: Scan) -> dict[Path, list[str] | None]:
    """Of all files of many there. Where one of a process's shards is none, none of them is."""
    called: dict[tuple[Path, str], list[Path]] = {}
    for path in filter(found.contents.__contains__, found.files):
        if (prefix := prefix_of(path)) is not None:
            called.setdefault((path.parent, prefix), []).append(path)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        are = pool.map(lambda some: is_pack(some[0]), called.values())
        packs = [
            path for some, one in zip(called.values(), are, strict=True) if one for path in some
        ]
        names = pool.map(lambda path: _names(path, found.contents[path].stamp), packs)
        return dict(zip(packs, names, strict=True))


def _names(path: Path, stamp: Callable[[], str] | None) -> list[str] | None:
    try:
        return names_in(path, (stamp or _unknown)())
    except InputError:
        return None


def _content(path: Path, stamp: Callable[[], str]) -> Content:
    """Of a latent in a file of many in a store, by what that says of the version of the file."""
    return Content(partial(_fetched, path, stamp), partial(_told_of, path, stamp))


def _fetched(path: Path, stamp: Callable[[], str]) -> bytes:
    return dumps_member(path, stamp())


def _told_of(path: Path, stamp: Callable[[], str]) -> str:
    version = stamp()
    return version and f"{version} {path.name}"


def _stamp(path: Path) -> str:
    return stores.stored(far(path)).stamp


def _unknown() -> str:
    return ""


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
