"""What a run is going to do: which input gets which name, and what is done already."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dseinvert.errors import InputError
from dseinvert.media.address import address, far, is_url
from dseinvert.media.digest import file_sha256
from dseinvert.media.scan import Problem, Scan
from dseinvert.run.flow.keys import result_key
from dseinvert.run.flow.names import assign, folded
from dseinvert.run.images.journal import Entry
from dseinvert.run.images.packed import check_packed, whole
from dseinvert.run.images.roles import is_picture
from dseinvert.run.inputs import Item, Status
from dseinvert.run.spread.notes import ASIDE
from dseinvert.run.spread.shard import ALL, Part
from dseinvert.run.spread.shelf import names
from dseinvert.version import __version__

_HASHERS = 4
_LOOKS = 2  # raised when faces are found that were not: photos without one are looked at again
# A refusal that an option or a package may lift, and one for want of memory, is tried again.
_LIFTED = re.compile("--max-pixels|pip install|memory|cannot be read:")


@dataclass(frozen=True)
class Plan:
    """What is to be done and what is not."""

    todo: tuple[Item, ...]
    settled: tuple[Entry, ...]
    """Done, skipped or refused earlier, from equal bytes with equal settings, outputs intact."""
    problems: tuple[Problem, ...]
    taken: frozenset[str] = frozenset()
    """The folded names of all inputs, for `face_names`."""
    protected: frozenset[Path] = field(default=frozenset(), repr=False)
    """Inputs that lie in the output folder and must not be overwritten."""
    left: tuple[str, ...] = ()
    """Names of earlier outputs that are there still, and whose inputs are gone."""
    broken: tuple[str, ...] = ()
    """Shards that are not whole any more."""
    before: Mapping[str, Entry] = field(default_factory=dict, repr=False)
    """What earlier runs found of those to be done again and showed a face, by name."""


def entry_key(sha256: str, settings: Mapping[str, Any], status: Status) -> str:
    """The `key` of an entry: equal for equal bytes under equal settings."""
    also: dict[str, Any] = {}
    if status == "skipped":
        also = {"looks": _LOOKS}
    elif status == "refused":
        also = {"reads": __version__}
    return result_key(sha256, {**settings, **also})


@dataclass(frozen=True)
class Naming:
    """The inputs under the names of their outputs."""

    items: list[Item]
    protected: frozenset[Path]
    """See `Plan`."""


def named_items(
    scan: Scan, out: Path, known: Mapping[str, Entry], settings: Mapping[str, Any]
) -> Naming:
    """All that is found and is no output of this program; nothing is read but names."""
    inside = {path for path in scan.files if path.resolve().parent == out.resolve()}
    format = str(settings.get("form", "png")).partition(" ")[0]
    outputs = {path for path in inside if _is_output(path, known, format)}
    sources = [path for path in scan.files if path not in outputs]
    named = _named(sources, known, dots="pack" not in settings)
    items = [Item(source, name, scan.contents.get(source)) for source, name in named.items()]
    return Naming(items, frozenset(path.resolve() for path in inside - outputs))


def make_plan(
    scan: Scan,
    out: Path,
    known: Mapping[str, Entry],
    settings: Mapping[str, Any],
    overwrite: bool = False,
    part: Part = ALL,
) -> Plan:
    """Name the inputs and sort out what needs no work; reads files, writes nothing.

    All inputs are named, and those planned that `part` holds.
    """
    check_packed(out, known, settings.get("pack"), settings, overwrite=overwrite)
    naming = named_items(scan, out, known, settings)
    items = naming.items
    own = [item for item in items if part.shard.has(item.name)]
    failed = {entry.name for entry in known.values() if entry.status in ("failed", "refused")}
    aside = {name: known[name] for name in failed if known[name].reason.startswith(ASIDE)}

    there = names(out) if far(out) and known and not overwrite else None
    broken = _broken([known[item.name] for item in own if item.name in known], out, there)

    def settled(item: Item) -> Entry | None:
        entry = known.get(item.name)
        if entry is None or overwrite or (part.retry and item.name in failed):
            return None
        return aside.get(item.name) or _settled(item, entry, out, settings, there, broken)

    with ThreadPoolExecutor(_HASHERS) as pool:
        earlier = list(pool.map(settled, own))
    todo = [item for item, entry in zip(own, earlier, strict=True) if entry is None]
    again = (known[item.name] for item in todo if item.name in known)
    return Plan(
        todo=tuple(item for item in todo if not part.retry or item.name in failed),
        settled=tuple(entry for entry in earlier if entry is not None),
        problems=scan.problems,
        taken=frozenset(folded(item.name) for item in items),
        protected=naming.protected,
        left=_left(known, items, out) if part.shard.number == 1 else (),
        broken=tuple(sorted(broken)),
        before={entry.name: entry for entry in again if entry.faces},
    )


def _broken(entries: Sequence[Entry], out: Path, there: Collection[str] | None) -> set[str]:
    """The names of shards that are not as these entries tell; all in them is done again."""
    packs: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.pack:
            packs.setdefault(entry.pack, []).append(entry)
    with ThreadPoolExecutor(_HASHERS) as pool:
        intact = pool.map(lambda pack: whole(out, pack, packs[pack], there), packs)
        return {pack for pack, good in zip(packs, intact, strict=True) if not good}


def _left(known: Mapping[str, Entry], items: Sequence[Item], out: Path) -> tuple[str, ...]:
    """Of renamed or removed inputs: nobody would look for their outputs, which stay as they are."""
    named = {item.name for item in items}
    gone = (e for e in known.values() if e.name not in named and not _is_there(e))
    return tuple(e.name for e in gone if any((out / file).exists() for file in e.files))


def _named(sources: list[Path], known: Mapping[str, Entry], *, dots: bool) -> dict[Path, str]:
    """Names as in earlier runs; the names of files that have vanished are free again."""
    here = {address(source) for source in sources}
    alive = [e for e in known.values() if e.source in here or _is_there(e)]
    reserved = {name for e in alive for name in (e.name, *(face.name for face in e.faces))}
    before = {entry.source: entry.name for entry in alive}
    return assign(sources, before, reserved, dots=dots)


def _is_there(entry: Entry) -> bool:
    """Whether its source is; a store is not asked, nor a set looked into."""
    source = Path(entry.source)
    return is_url(entry.source) or source.exists() or any(one.is_file() for one in source.parents)


def _settled(
    item: Item,
    entry: Entry,
    out: Path,
    settings: Mapping[str, Any],
    there: Container[str] | None,
    broken: Container[str],
) -> Entry | None:
    """The item's entry if doing it again would change nothing.

    `there`: what lies in a store, whose objects are whole. None = `out` is a folder. `broken`:
    shards that are not whole.
    """
    if entry.status == "failed" or entry.pack in broken:
        return None
    if entry.status == "refused" and _LIFTED.search(entry.reason):
        return None
    try:
        unchanged = entry.key == entry_key(_sha256(item, entry), settings, entry.status)
        intact = unchanged and (bool(entry.pack) or _has_files(entry, out, there))
    except InputError:
        return None
    return entry if intact else None


def _has_files(entry: Entry, out: Path, there: Container[str] | None) -> bool:
    return all(
        _holds(out / name, sha256) if there is None else name in there
        for name, sha256 in entry.files.items()
    )


def _sha256(item: Item, entry: Entry) -> str:
    """Of an input; where a store says whether it is as it was, nothing is fetched.

    "" = it is another one.
    """
    content = item.content
    if content is None:
        return file_sha256(item.source)
    if entry.stamp and content.stamp is not None:
        return entry.sha256 if content.stamp() == entry.stamp else ""
    return hashlib.sha256(content.read()).hexdigest()


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def _is_output(path: Path, known: Mapping[str, Entry], format: str) -> bool:
    """Whether a file in the output folder was written by this program.

    That is what the journal lists, and what an interrupted run left unlisted: a picture of ours
    beside its latent, which is written first.
    """
    if any(path.name in entry.files for entry in known.values()):
        return True
    dots = [match.start() for match in re.finditer(r"\.", path.name)]
    return any(
        is_picture(path.name[dot + 1 :], format)
        and path.with_name(path.name[:dot] + ".safetensors").exists()
        for dot in dots
    )
