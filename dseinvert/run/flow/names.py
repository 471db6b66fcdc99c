"""The names that outputs get: short, safe on every file system, distinct and stable."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dseinvert.media.address import address
from dseinvert.names import UNSEEN

_LONGEST = 120  # bytes; labels and suffixes come on top, and file systems allow 255
_UNSAFE = re.compile(rf'[{UNSEEN}<>:"/\\|?*\ud800-\udfff]')


def folded(name: str) -> str:
    """What two names share when some file system takes them for one."""
    return unicodedata.normalize("NFC", name).casefold()


def safe_stem(source: Path) -> str:
    """The stem of a file as a name that any file system takes."""
    stem = _UNSAFE.sub("_", source.stem).strip(" .")
    if len(os.fsencode(stem)) > _LONGEST:
        stem = os.fsencode(stem)[: _LONGEST - 9].decode(errors="ignore") + "_" + _digest(stem)
    return stem or "image"


def assign(
    sources: Iterable[Path],
    before: Mapping[str, str],
    reserved: Iterable[str],
    *,
    dots: bool = True,
) -> dict[Path, str]:
    """A name for each source.

    Args:
        sources: in a fixed order; the first of several with one stem gets the plain stem.
        before: the names that absolute paths had in earlier runs; they keep them.
        reserved: names that no other source may get.
        dots: False = there are none in the names; readers of tars end a name at the first.
    """
    sources = list(sources)
    names = {s: before[address(s)] for s in sources if address(s) in before}
    owners: dict[str, Path | None] = {folded(name): None for name in reserved}
    owners |= {folded(name): source for source, name in names.items()}
    for source in sources:
        if source not in names:
            stem_owner = owners.get(folded(safe_stem(source)))
            wanted = _candidates(source, stem_owner)
            every = wanted if dots else (one.replace(".", "_") for one in wanted)
            name = next(one for one in every if folded(one) not in owners)
            names[source] = name
            owners[folded(name)] = source
    return {source: names[source] for source in sources}


def _candidates(source: Path, owner: Path | None) -> Iterator[str]:
    """`a`; beside `a.jpg`: `a_png`; beside `x/a.jpg`: `y_a`; then names with a hash."""
    stem, suffix = safe_stem(source), _UNSAFE.sub("_", source.suffix[1:]).lower()
    folder = safe_stem(Path(source.absolute().parent.name + ".x"))
    by_suffix, by_folder = f"{stem}_{suffix}", f"{folder}_{stem}"
    yield stem
    yield from (by_suffix, by_folder) if _siblings(source, owner) else (by_folder, by_suffix)
    yield f"{by_folder}_{suffix}"
    digest = _digest(address(source))
    for count in range(1 << 30):
        yield f"{stem}_{digest}{count or ''}"


def _siblings(source: Path, owner: Path | None) -> bool:
    """Whether the suffix tells the two apart (None = an owner of an earlier run)."""
    return owner is None or owner.absolute().parent == source.absolute().parent


def face_names(name: str, count: int, taken: frozenset[str]) -> list[str]:
    """`photo`, `photo-2`, `photo-3`; `photo_face2` where another source is called `photo-2`.

    `taken` holds the folded names of all sources.
    """
    return [name, *(_further(name, number, taken) for number in range(2, count + 1))]


def _further(name: str, number: int, taken: frozenset[str]) -> str:
    further = f"{name}-{number}"
    if folded(further) in taken:
        further = f"{name}_face{number}"
    while folded(further) in taken:
        further += "_"
    return further


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
