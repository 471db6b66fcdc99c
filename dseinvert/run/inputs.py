"""What every verb that takes pictures reads: a file, hashed, decoded, and its faces cut out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dseinvert.errors import InputError
from dseinvert.faces.crops import EVERYBODY, Crop, Wanted, faces_of, notes
from dseinvert.faces.detect import Detector
from dseinvert.media.atomic import shown
from dseinvert.media.digest import file_sha256
from dseinvert.media.images import Picture, decode_image, open_image
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import Content, Scan, scan
from dseinvert.progress import Watcher
from dseinvert.run.flow.stream import ahead, threads

Status = Literal["done", "skipped", "refused", "failed"]
"""What became of an input."""
_READERS = 2
_USUAL = "--no-align takes photos as they are, --rotate says which way up they stand"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One input with the name that its outputs get."""

    source: Path
    name: str
    content: Content | None = None
    """Of what lies in a set or a store; None = it is a file."""


@dataclass(frozen=True)
class Prepared:
    """One input, read; `status` is "done" unless `reason` says why it goes no further."""

    item: Item
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height of the upright photo."""
    crops: tuple[Crop, ...] = ()
    warnings: tuple[str, ...] = ()
    status: Status = "done"
    reason: str = ""
    stamp: str = ""
    """Of a store, as in Content; "" = there is none."""
    data: bytes = field(default=b"", repr=False)
    """The photo as it came from a set or store, where that is asked for."""


def preparer(
    side: int,
    detector: Detector | None,
    wanted: Wanted = EVERYBODY,
    max_pixels: int | None = None,
    keep: bool = False,
) -> Callable[[Item], Prepared]:
    """A function for reader threads that reads an item and cuts out its faces at `side` pixels.

    `detector` None = take the image as it is; `max_pixels` as in `open_image`; `keep`: what comes
    from a set or store is kept, rather than fetched once more. The function never raises.
    """

    def prepare(item: Item) -> Prepared:
        fetched = Prepared(item)
        try:
            fetched = _fetched(item)
            done = _prepare(fetched, side, detector, wanted, max_pixels)
            return done if keep else replace(done, data=b"")
        except InputError as error:
            sha256 = fetched.sha256 or _hash_of(item)
            told = replace(fetched, sha256=sha256, data=b"")
            return replace(told, status="refused", reason=reason_of(item, error))
        except Exception as error:  # the top of the batch loop: one input never stops the others
            return Prepared(item, status="failed", reason=unexpected(error))

    return prepare


def _hash_of(item: Item) -> str:
    """For a refusal to be remembered; nothing where the file cannot be read."""
    try:
        return file_sha256(item.source) if item.content is None else ""
    except InputError:
        return ""


def look(patterns: Sequence[str], watcher: Watcher) -> Scan:
    """The pictures that `patterns` mean; what cannot be looked at is told."""
    return told(scan(patterns), watcher)


def told(found: Scan, watcher: Watcher) -> Scan:
    """What was found; what cannot be had of it is told."""
    for problem in found.problems:
        watcher.problem(f"{shown(problem.path)}: {problem.reason}")
    for what, count in found.unread.items():
        watcher.note(f"in the folders, {count} passed over: each {what}")
    return found


def read_faces(
    items: Sequence[Item],
    side: int,
    detector: Detector | None,
    watcher: Watcher,
    window: int = 8,
    wanted: Wanted = EVERYBODY,
) -> Iterator[Prepared]:
    """The items in their order, as `preparer` reads them; what yields no face is told.

    At most `window` of them are read ahead. The count that the watcher advances is the caller's.
    """
    with threads(_READERS) as reading:
        for one in ahead(reading, preparer(side, detector, wanted), items, window):
            watcher.advance()
            if one.reason:
                watcher.problem(f"{shown(one.item.source)}: {one.reason}")
            yield one


def _fetched(item: Item) -> Prepared:
    """What comes from a set or store: its bytes, once. Of a file nothing is read yet."""
    content = item.content
    if content is None:
        return Prepared(item)
    stamp = "" if content.stamp is None else content.stamp()
    data = content.read()
    return Prepared(item, hashlib.sha256(data).hexdigest(), stamp=stamp, data=data)


def _prepare(
    fetched: Prepared,
    side: int,
    detector: Detector | None,
    wanted: Wanted,
    max_pixels: int | None,
) -> Prepared:
    sha256, picture = _opened(fetched, max_pixels)
    photo, height, width = picture.pixels, *picture.pixels.shape[:2]
    crops = faces_of(photo, side, detector, wanted)
    said = _not_square(photo) if detector is None else notes(crops, width, height)
    seen: dict[str, Any] = {}
    if not crops:
        seen = {"status": "skipped", "reason": _none_of(wanted, width == height)}
    return replace(
        fetched,
        sha256=sha256,
        size=(width, height),
        crops=tuple(crops),
        warnings=(*picture.warnings, *said),
        **seen,
    )


def _opened(fetched: Prepared, max_pixels: int | None) -> tuple[str, Picture]:
    source = fetched.item.source
    if fetched.item.content is None:
        return file_sha256(source), open_image(source, max_pixels)
    return fetched.sha256, decode_image(fetched.data, max_pixels)


def _none_of(wanted: Wanted, square: bool) -> str:
    """That no face was found, and what may find one: in a square photo, which may be a crop."""
    if wanted.person is not None:
        return "no face of that person found (without --person, everybody's are taken)"
    ways = [] if wanted.rotate == "auto" else ["--rotate auto tries all turns"]
    ways += ["--no-align takes a crop as it is"] * square
    if wanted.limited:
        least = (
            f"--min-score {wanted.min_score / 2:g} and --min-face {max(1, wanted.min_face // 2)}"
        )
        ways.append(f"{least} find what is less sure or smaller")
    return f"no face found ({'; '.join(ways or [_USUAL])})"


def _not_square(photo: Pixels) -> tuple[str, ...]:
    height, width = photo.shape[:2]
    if height == width:
        return ()
    return (f"not square ({width}x{height}): squeezed to a square; leave out --no-align to crop",)


def reason_of(item: Item, error: InputError) -> str:
    """The error's line without the file's name, which every report says before it."""
    return str(error).removeprefix(f"{shown(item.source)}: ")


def unexpected(error: Exception) -> str:
    """One line for an exception that is a mistake of this program."""
    _log.debug("unexpected", exc_info=error)
    said = " ".join(str(error).split())[:200]
    return f"unexpected {type(error).__name__}: {said} (this is a bug; -v shows the traceback)"
