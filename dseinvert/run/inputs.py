"""What every verb that takes pictures reads: a file, hashed, decoded, and its faces cut out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dseinvert.errors import InputError
from dseinvert.faces.crops import EVERYBODY, Crop, Wanted, faces_of, notes
from dseinvert.faces.detect import Detector
from dseinvert.media.atomic import shown
from dseinvert.media.digest import file_sha256
from dseinvert.media.images import Picture, decode_image, open_image
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import Scan, scan
from dseinvert.media.sets import kind_of, opened_set
from dseinvert.progress import Watcher
from dseinvert.run.flow.stream import ahead, threads

Status = Literal["done", "skipped", "refused", "failed"]
"""What became of an input."""
_READERS = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A picture: a file, or one in a set, whose path is the set's with its name behind."""

    source: Path
    content: Callable[[], bytes] | None = None
    """As in Item."""


@dataclass(frozen=True)
class Item:
    """One input with the name that its outputs get."""

    source: Path
    name: str
    content: Callable[[], bytes] | None = None
    """Gives its bytes where it lies in a set; None = it is a file."""


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


def preparer(
    side: int,
    detector: Detector | None,
    wanted: Wanted = EVERYBODY,
    max_pixels: int | None = None,
) -> Callable[[Item], Prepared]:
    """A function for reader threads that reads an item and cuts out its faces at `side` pixels.

    `detector` None = take the image as it is; `max_pixels` as in `open_image`. The function never
    raises.
    """

    def prepare(item: Item) -> Prepared:
        try:
            return _prepare(item, side, detector, wanted, max_pixels)
        except InputError as error:
            sha256 = _hash_of(item.source)
            return Prepared(item, sha256, status="refused", reason=reason_of(item, error))
        except Exception as error:  # the top of the batch loop: one input never stops the others
            return Prepared(item, status="failed", reason=unexpected(error))

    return prepare


def _hash_of(path: Path) -> str:
    """For a refusal to be remembered; nothing where the file cannot be read."""
    try:
        return file_sha256(path)
    except InputError:
        return ""


def look(patterns: Sequence[str], watcher: Watcher) -> Scan:
    """The pictures that `patterns` mean; what cannot be looked at is told."""
    found = scan(patterns)
    for problem in found.problems:
        watcher.problem(f"{shown(problem.path)}: {problem.reason}")
    for what, count in found.unread.items():
        watcher.note(f"in the folders, {count} passed over: each {what}")
    return found


@contextmanager
def pictures_of(patterns: Sequence[str], watcher: Watcher) -> Iterator[list[Found]]:
    """The pictures that `patterns` mean, those in sets too; they can be read inside the context.

    Raises:
        InputError, NoInputError, MissingError: a set that cannot be read; see `opened_set`.
    """
    sets = [one for one in patterns if kind_of(Path(one))]
    plain = [one for one in patterns if one not in sets]
    with ExitStack() as stack:
        found = [Found(file) for file in (look(plain, watcher).files if plain else ())]
        for one in sets:
            members = stack.enter_context(opened_set(Path(one)))
            found += [Found(Path(one, member.name), member.read) for member in members]
        yield found


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


def _prepare(
    item: Item, side: int, detector: Detector | None, wanted: Wanted, max_pixels: int | None
) -> Prepared:
    sha256, picture = _opened(item, max_pixels)
    photo, height, width = picture.pixels, *picture.pixels.shape[:2]
    crops = faces_of(photo, side, detector, wanted)
    told = _not_square(photo) if detector is None else notes(crops, width, height)
    warnings = (*picture.warnings, *told)
    seen: dict[str, Any] = {} if crops else {"status": "skipped", "reason": _none_of(wanted)}
    return Prepared(item, sha256, (width, height), tuple(crops), warnings, **seen)


def _opened(item: Item, max_pixels: int | None) -> tuple[str, Picture]:
    if item.content is None:
        return file_sha256(item.source), open_image(item.source, max_pixels)
    data = item.content()
    return hashlib.sha256(data).hexdigest(), decode_image(data, max_pixels)


def _none_of(wanted: Wanted) -> str:
    return "no face found" if wanted.person is None else "no face of that person found"


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
