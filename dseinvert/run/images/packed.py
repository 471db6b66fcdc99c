"""Shards that runs with `--pack` have written: what is in them, whole or not, and after a death."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from dseinvert.errors import DseInvertError, InputError, OutputError
from dseinvert.latent.packed import SUFFIX as LATENTS
from dseinvert.latent.packed import names_in
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.media.sets import DAMAGES, opened_set
from dseinvert.names import open_regular, read_regular
from dseinvert.run.images.journal import Entry, parse
from dseinvert.run.images.packing import FORMAT, OWNER, SUFFIXES, TABLE, TAR, remove
from dseinvert.run.spread.notes import at_work
from dseinvert.run.spread.others import differing
from dseinvert.run.spread.shard import Shard
from dseinvert.run.spread.shelf import at_work_there, names

_NAME = re.compile(r"((?:\d+-of-\d+-|worker-\d+-)?)(\d{5,9})")
_HEAD = 1 << 16
"""Bytes of a tar that hold the header of its first member."""
_OPEN = 4
_END = b"PAR1"
"""Of a whole table."""


def prefix_of(path: Path) -> str | None:
    """What stands before the number of a shard in a file's name; None = it is called otherwise."""
    match = _NAME.fullmatch(path.name.partition(".")[0])
    return match[1] if match else None


def check_packed(
    out: Path,
    known: Mapping[str, Entry],
    pack: int | None,
    settings: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """OutputError where what lies in the folder is not of such shards.

    pack: inputs of a shard of this run, None = files of each. settings: None = they are not asked.
    """
    once: dict[int, Mapping[str, Any]] = {id(e.settings): e.settings for e in known.values()}
    earlier = [one for one in once.values() if pack is not None or "pack" in one]
    if not earlier:
        return
    another = "choose another --out"
    theirs = earlier[-1].get("pack")
    if theirs is None:
        raise OutputError(f"{shown(out)}: holds files of an earlier run, and no shards", another)
    if theirs != pack:
        raise OutputError(
            f"{shown(out)}: holds shards of --pack {theirs}", f"add --pack {theirs}, or {another}"
        )
    if overwrite:
        raise OutputError(f"{shown(out)}: shards are not overwritten", another)
    if settings is not None and (changed := differing(earlier[-1], settings)):
        raise OutputError(f"{shown(out)}: was packed with other options ({changed})", another)


def picture(out: Path, pack: str, file: str) -> bytes:
    """A picture in the tar of a shard.

    Raises:
        InputError: there is none.
    """
    tar = out / f"{pack}{TAR}"
    read = _pictures(tar, _version(tar)).get(file)
    if read is None:
        raise InputError(f"{shown(tar)}: holds no {file}")
    return read()


def _version(path: Path) -> tuple[int, int]:
    """Of a file of a disk; a shard in a store is written once."""
    if far(path):
        return 0, 0
    try:
        about = path.stat()
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=_OPEN)
def _pictures(tar: Path, version: tuple[int, int]) -> dict[str, Callable[[], bytes]]:
    with opened_set(tar) as members:  # of a plain tar they can be read afterwards
        return {one.name: one.read for one in members}


def whole(out: Path, pack: str, entries: Iterable[Entry], there: Collection[str] | None) -> bool:
    """Whether a shard holds what these entries list, as it was written.

    `there`: what lies in a store, whose objects are whole. None = `out` is a folder.
    """
    if there is not None:
        return all(f"{pack}{suffix}" in there for suffix in SUFFIXES)
    try:
        latents = {f"{name}{LATENTS}" for name in names_in(out / f"{pack}{LATENTS}") or ()}
        pictures = _hashes(out / f"{pack}{TAR}")
        tabled = read_regular(out / f"{pack}{TABLE}").endswith(_END)
    except (InputError, *DAMAGES):
        return False
    return tabled and all(
        name in latents if name.endswith(LATENTS) else pictures.get(name) == sha256
        for entry in entries
        for name, sha256 in entry.files.items()
    )


def _hashes(path: Path) -> dict[str, str]:
    """The sha256 of all in a tar, by name; raises what readers of sets do."""
    found = {}
    with open_regular(path) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for one in tar:
            data = tar.extractfile(one)
            found[one.name] = "" if data is None else hashlib.sha256(data.read()).hexdigest()
    return found


def next_number(out: Path, shard: Shard) -> int:
    """That of the next shard of a process: behind all that are there."""
    return (
        max((number for prefix, number in _listed(out) if prefix == shard.prefix), default=-1) + 1
    )


def settle_dead(
    out: Path, shard: Shard, known: Mapping[str, Entry], prefixes: Iterable[str] | None = None
) -> list[Entry]:
    """End what killed processes began: of this process, and of others that are not at work.

    The inputs of a shard that is whole, and of which the journals say nothing, are given back, to
    be written into one. What has no table was not finished, and goes.

    Args:
        out: folder or store.
        shard: of this process, whose journal is locked.
        known: the entries of all journals, read before.
        prefixes: of the shards that are looked at. None = of all processes that are dead.

    Raises:
        OutputError: there is a file of such a name that no run with --pack has written.
    """
    listed = _listed(out)
    last = _last(known.values())
    adopted: list[Entry] = []
    if prefixes is None:
        prefixes = [one for one in {prefix for prefix, _ in listed} if _is_dead(out, shard, one)]
    for prefix in sorted(prefixes):
        for number in sorted(number for one, number in listed if one == prefix):
            if number >= last.get(prefix, -1):
                pack, suffixes = f"{prefix}{number:05d}", listed[prefix, number]
                adopted += _settled(out, pack, suffixes, known)
    return adopted


def _settled(out: Path, pack: str, suffixes: set[str], known: Mapping[str, Entry]) -> list[Entry]:
    """Those of a shard that are in no journal; what is no whole shard, and never was, goes."""
    was_whole = any(entry.pack == pack for entry in known.values())
    if suffixes == {*SUFFIXES}:
        with suppress(OutputError) if was_whole else nullcontext():
            return [one for one in _rows(out / f"{pack}{TABLE}", out) if one.name not in known]
    if was_whole:
        return []  # what is wrong with it, the plan finds
    if TAR not in suffixes or not _is_ours(out / f"{pack}{TAR}"):
        file = f"{pack}{next(one for one in SUFFIXES if one in suffixes)}"
        raise OutputError(f"{shown(out / file)}: is of no run with --pack", "choose another --out")
    for suffix in (TABLE, LATENTS, TAR):
        remove(out / f"{pack}{suffix}")
    return []


def _listed(out: Path) -> dict[tuple[str, int], set[str]]:
    """The suffixes of the files of each shard, by prefix and number."""
    found: dict[tuple[str, int], set[str]] = {}
    there = names(out) if far(out) else {path.name for path in out.iterdir()}
    for name in there:
        stem, dot, suffix = name.partition(".")
        match = _NAME.fullmatch(stem)
        if match and f"{dot}{suffix}" in SUFFIXES:
            found.setdefault((match[1], int(match[2])), set()).add(f"{dot}{suffix}")
    return found


def _last(entries: Iterable[Entry]) -> dict[str, int]:
    """The number of the last shard that journals know, by prefix."""
    last: dict[str, int] = {}
    for pack in {entry.pack for entry in entries}:
        if match := _NAME.fullmatch(pack):
            last[match[1]] = max(int(match[2]), last.get(match[1], -1))
    return last


def _is_dead(out: Path, shard: Shard, prefix: str) -> bool:
    """Whether nobody writes shards of that prefix; workers go with who hands them items."""
    if prefix == shard.prefix:
        return True
    if prefix.startswith("worker-") and shard.whole:
        return True
    journal = f"journal-{prefix.rstrip('-')}" if prefix else "journal"
    return not (at_work_there(out, journal) if far(out) else at_work(out / f"{journal}.jsonl"))


def _rows(table: Path, out: Path) -> Iterator[Entry]:
    """The entries in the table of a shard.

    Raises:
        OutputError: it is none of ours.
    """
    from pyarrow import BufferReader, parquet

    try:
        data = stores.read(far(table)) if far(table) else table.read_bytes()
        file = parquet.ParquetFile(BufferReader(data))
        if (file.schema_arrow.metadata or {}).get(b"format") != FORMAT.encode():
            raise ValueError("it is another table")
        lines = file.read(columns=["entry"]).column(0).to_pylist()
    except (DseInvertError, *DAMAGES) as error:
        raise OutputError(
            f"{shown(table)}: is of no run with --pack: {error}", "choose another --out"
        ) from error
    yield from filter(None, (parse(str(line).encode(), out) for line in lines))


def _beginning(tar: Path) -> bytes:
    if url := far(tar):
        return stores.read(url, 0, _HEAD)
    with open_regular(tar) as file:
        return file.read(_HEAD)


def _is_ours(tar: Path) -> bool:
    """Whether its first member says so; one without any says nothing."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_beginning(tar))) as file:
            first = file.next()
    except (DseInvertError, *DAMAGES):
        return False
    return first is not None and first.uname == OWNER
