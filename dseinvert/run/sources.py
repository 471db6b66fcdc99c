"""The pictures that a command line means: files, those in sets and stores, and those of lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dseinvert.errors import DseInvertError, InputError, NoInputError
from dseinvert.media import stores
from dseinvert.media.address import column_of, far, is_plain, is_there, is_url, list_of, numbered
from dseinvert.media.atomic import shown
from dseinvert.media.formats import SUFFIXES
from dseinvert.media.images import MAX_BYTES
from dseinvert.media.scan import Content, Problem, Scan, natural, scan
from dseinvert.media.sets import Member, kind_of, names_in, opened_set
from dseinvert.names import read_regular
from dseinvert.progress import Watcher
from dseinvert.run.inputs import told

_AT_ONCE = 16
"""Sets that are looked into at once."""
_FEW = 64
"""URLs each of which is asked for at once."""


@contextmanager
def gathered(patterns: Sequence[str], watcher: Watcher) -> Iterator[Scan]:
    """All that `patterns` mean, in natural order; it can be read inside the context.

    What cannot be had beside other things is told.

    Raises:
        NoInputError: nothing that was named can be had, for one reason. InputError: a set is
        damaged. MissingError: what reads a set, or reaches a store, is not installed.
    """
    words = expanded(patterns)
    sets = {word for word in words if kind_of(Path(word)) and not _is_glob(word)}
    plain = [word for word in words if not is_url(word) and word not in sets]
    asked = _Stores(len(words))
    with ExitStack() as stack:
        found = [scan(plain)] if plain else []
        opened = _opened_sets([word for word in words if word in sets], stack)
        found += [one.asked(alone=len(words) == 1) for one in opened]
        found += [asked.means(w, stack) for w in words if is_url(w) and w not in sets]
        every = _all(found)
        reasons = {one.reason for one in every.problems}
        if not every.files and not every.unread and len(reasons) == 1:
            raise _nothing(every.problems)
        yield told(every, watcher)


def _nothing(problems: Sequence[Problem]) -> NoInputError:
    """One line where all that was named cannot be had for one reason."""
    first, more = problems[0], len(problems) - 1
    what = f"no images found: {shown(first.path)}: {first.reason}"
    what = f"{what}; {more} more like it" if more else what
    return NoInputError(what, "name image files, folders or globs" if more else "")


def files_of(patterns: Sequence[str], wanted: Callable[[Path], bool]) -> Scan:
    """The files and objects that `patterns` mean; in folders and prefixes those that are `wanted`.

    As `scan`, which it is for what lies on disks.

    Raises:
        NoInputError: the one thing that was named lies in a store, and cannot be had; or a list.
        MissingError: what reaches a store is not installed.
    """
    words = expanded(patterns)
    plain = [word for word in words if not is_url(word)]
    found = [scan(plain, wanted=wanted)] if plain else []
    far_ones = (word for word in words if is_url(word))
    return _all([*found, *(_listed(url, wanted, alone=len(words) == 1) for url in far_ones)])


def _listed(url: str, wanted: Callable[[Path], bool], *, alone: bool) -> Scan:
    try:
        found = stores.listing(url)
    except (InputError, NoInputError) as error:
        return _missing(Path(url), error, alone=alone)
    named = any(mark in url for mark in "*?[") or [one.url for one in found] == [url]
    kept = [one for one in found if named or wanted(Path(one.url))]
    kept.sort(key=lambda one: natural(Path(one.url)))
    return _objects(kept, len(found) - len(kept), _bytes)


def _is_glob(word: str) -> bool:
    return not is_there(word) and any(mark in word for mark in "*?[")


@dataclass(frozen=True)
class Found:
    """A picture: a file, or one in a set, whose path is the set's with its name behind."""

    source: Path
    content: Content | None = None
    """As in Item."""


@contextmanager
def pictures_of(patterns: Sequence[str], watcher: Watcher) -> Iterator[list[Found]]:
    """As `gathered`, one by one."""
    with gathered(patterns, watcher) as found:
        yield [Found(file, found.contents.get(file)) for file in found.files]


def expanded(patterns: Sequence[str]) -> list[str]:
    """With what lists, numbers in braces and columns of names mean in their places.

    Raises:
        NoInputError: a list that cannot be read.
    """
    words = []
    for pattern in patterns:
        if is_plain(pattern):
            words.append(pattern)
        else:
            words += _meant(pattern)
    return list(dict.fromkeys(words))


def _meant(pattern: str) -> list[str]:
    if name := list_of(pattern):
        return [word for line in _lines(name) if line for word in _numbers(line)]
    if column_of(pattern)[1]:
        try:
            names = names_in(Path(pattern))
        except InputError as error:
            raise _alone(error) from error
        return [pattern] if names is None else names
    return _numbers(pattern)


def _numbers(pattern: str) -> list[str]:
    try:
        return numbered(pattern)
    except ValueError as error:
        raise NoInputError(f"{pattern}: {error}", "name fewer at once") from error


def _lines(name: str) -> list[str]:
    try:
        data = stores.read(name) if is_url(name) else read_regular(Path(name))
        return [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise NoInputError(f"@{name}: no such list: {said}", "a path or URL a line") from error
    except UnicodeDecodeError as error:
        raise NoInputError(f"@{name}: is no text", "a path or URL a line, in UTF-8") from error
    except InputError as error:
        raise NoInputError(f"@{error.what}", error.advice) from error


@dataclass(frozen=True)
class _Set:
    """What a set holds, or why that cannot be had."""

    path: Path
    held: ExitStack
    members: Sequence[Member] = ()
    stamp: str = ""
    error: DseInvertError | None = None

    def asked(self, *, alone: bool) -> Scan:
        """What it is to the run; what was named alone and cannot be had is raised."""
        if self.error is not None:
            return _missing(self.path, self.error, alone=alone)
        stamp = partial(str, self.stamp) if self.stamp else None
        contents = {Path(self.path, one.name): Content(one.read, stamp) for one in self.members}
        return Scan(tuple(contents), (), contents=contents)


def _opened_sets(words: Sequence[str], stack: ExitStack) -> list[_Set]:
    """All of them, of which those in stores take their time to tell what they hold."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(_opened, map(Path, words)))
    for one in found:
        stack.push(one.held)
    return found


def _opened(path: Path) -> _Set:
    held = ExitStack()
    try:
        url = far(Path(column_of(str(path))[0]))
        stamp = stores.stored(url).stamp if url else ""
        return _Set(path, held, held.enter_context(opened_set(path)), stamp)
    except (InputError, NoInputError) as error:
        return _Set(path, held, error=error)


def _missing(path: Path, error: DseInvertError, *, alone: bool) -> Scan:
    if alone:
        raise _alone(error) from error
    reason = str(error).removeprefix(f"{shown(path)}: ")
    return Scan((), (Problem(path, reason),))


def _alone(error: DseInvertError) -> DseInvertError:
    """What is raised of the one thing that was named: no input where there is no such thing."""
    absent = isinstance(error.__cause__, FileNotFoundError)
    return NoInputError(error.what, error.advice) if absent else error


class _Stores:
    """What URLs mean; of many, one of each bucket is asked for at once, the others when read."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._asked: set[str] = set()

    def means(self, url: str, stack: ExitStack) -> Scan:
        """Of one URL."""
        bucket = "/".join(url.split("/")[:3])
        if self._count > _FEW and bucket in self._asked and _is_picture(url):
            content = Content(partial(stores.read, url), partial(_stamp, url))
            return Scan((Path(url),), (), contents={Path(url): content})
        self._asked.add(bucket)
        try:
            found = stores.listing(url)
        except (InputError, NoInputError) as error:
            return _missing(Path(url), error, alone=self._count == 1)
        if [one.url for one in found] == [url]:
            return _objects(found)
        pictures = [one for one in found if _is_picture(one.url)]
        if pictures:
            return _objects(pictures, len(found) - len(pictures))
        sets = [one.url for one in found if kind_of(Path(one.url))]
        held = [one.asked(alone=self._count == 1) for one in _opened_sets(sets, stack)]
        return _all([*held, Scan((), (), len(found) - len(sets))])


def _objects(
    found: Sequence[stores.Stored],
    ignored: int = 0,
    read: Callable[[stores.Stored], bytes] | None = None,
) -> Scan:
    """What each of them is to the run; `read` None = as pictures."""
    contents, problems = {}, []
    for one in found:
        path = Path(one.url)
        if far(path) == one.url:
            contents[path] = Content(partial(read or _whole, one), _says(one.stamp))
        else:
            problems.append(Problem(path, f"the name {one.url!r} has empty parts; rename it"))
    return Scan(tuple(contents), tuple(problems), ignored, contents=contents)


def _says(stamp: str) -> Callable[[], str] | None:
    return partial(str, stamp) if stamp else None


def _whole(one: stores.Stored) -> bytes:
    if one.size > MAX_BYTES:
        raise InputError(f"is larger than {MAX_BYTES >> 20} MiB, the limit for an image")
    return _bytes(one)


def _bytes(one: stores.Stored) -> bytes:
    # By its size, for which some libraries would ask first.
    return stores.read(one.url, 0, one.size) if one.size else stores.read(one.url)


def _stamp(url: str) -> str:
    return stores.stored(url).stamp


def _is_picture(url: str) -> bool:
    name = url.rpartition("/")[2]
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _all(found: Sequence[Scan]) -> Scan:
    """Of several as of one."""
    unread: Counter[str] = Counter()
    contents: dict[Path, Content] = {}
    for one in found:
        unread.update(one.unread)
        contents |= one.contents
    files = dict.fromkeys(file for one in found for file in one.files)
    return Scan(
        tuple(files) if len(found) == 1 else tuple(sorted(files, key=natural)),
        tuple(problem for one in found for problem in one.problems),
        sum(one.ignored for one in found),
        dict(sorted(unread.items())),
        contents,
    )
