"""The latents in files of many, in the places of these files among what a command line means.

Those are the shards of `images --pack`. A shard is not changed when an input in it is done again
into a later one: what the journals of its folder say counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dseinvert.errors import InputError
from dseinvert.latent import dumps_member
from dseinvert.latent.packed import is_pack, member, names_in
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.scan import Content, Scan
from dseinvert.run.images.journal import every_entry, read_all, tells_twice
from dseinvert.run.images.packed import prefix_of

_AT_ONCE = 16
"""Files in stores that are asked for at once."""
_Held = Mapping[Path, list[str] | None]
"""The names in files of many; None = of a file of one, or of what cannot be read."""


def unpacked(found: Scan, whole: frozenset[Path]) -> Scan:
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


def content_of(path: Path) -> Content:
    """How a latent in a file of many in a store is read, which was named by itself."""
    return _content(path, partial(_stamp, path.parent))


def _counted(held: _Held, whole: frozenset[Path]) -> dict[Path, list[str] | None]:
    """Without what the journals of a folder say is in another shard, or nowhere any more."""
    kept = dict(held)
    shards = [path for path in held if path not in whole and prefix_of(path) is not None]
    for folder in dict.fromkeys(path.parent for path in shards):
        here = [path for path in shards if path.parent == folder]
        if _agree([held[path] for path in here]) and not tells_twice(folder):
            continue
        told = _told(folder)
        for path in here if told.packs or told.outdated else ():
            inside = held[path]
            if inside is not None:
                kept[path] = [name for name in inside if told.counts(path.stem, name)]
            elif path.stem not in told.packs:
                del kept[path]
    return kept


def _agree(held: Sequence[list[str] | None]) -> bool:
    """Whether all can be read, and no name is there twice."""
    names = [name for inside in held for name in inside or ()]
    return all(held) and len({*names}) == len(names)


@dataclass(frozen=True)
class _Told:
    """What the journals of a folder say of its shards."""

    packs: frozenset[str]
    """Those of which something counts."""
    places: Mapping[str, str]
    """The shard of each face that counts."""
    outdated: frozenset[tuple[str, str]]
    """Shards and faces that were in them before their inputs were done again."""

    def counts(self, pack: str, face: str) -> bool:
        """Whether a face in a shard does; of what no journal tells, it does."""
        return self.places.get(face, pack) == pack and (pack, face) not in self.outdated


def _told(folder: Path) -> _Told:
    known = read_all(folder)
    done = [entry for entry in known.values() if entry.pack]
    outdated = (
        (entry.pack, face.name)
        for entry in every_entry(folder)
        for face in entry.faces
        if entry.pack and known.get(entry.name, entry).pack != entry.pack
    )
    return _Told(
        packs=frozenset(entry.pack for entry in done),
        places={face.name: entry.pack for entry in done for face in entry.faces},
        outdated=frozenset(outdated),
    )


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
