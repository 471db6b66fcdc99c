"""The files that the paths, folders and globs on a command line mean."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dseinvert.media.atomic import PART_SUFFIX
from dseinvert.media.formats import SUFFIXES, unread
from dseinvert.media.images import CAMERA_RAW, HEAD_BYTES, sniff

_LITTER = frozenset({"thumbs.db", "desktop.ini"})
_DIGITS = 300
"""Of a number in a name: no file has a longer one, though a journal may say so."""


@dataclass(frozen=True)
class Problem:
    """A path that was asked for, or found, and cannot be taken."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Content:
    """How something is read that is no file of a disk."""

    read: Callable[[], bytes]
    stamp: Callable[[], str] | None = None
    """Says which version of it a store has; None = its bytes tell."""


@dataclass(frozen=True)
class Scan:
    """What a command line means."""

    files: tuple[Path, ...]
    """Existing regular files, in natural order, each real file once; and what `contents` names."""

    problems: tuple[Problem, ...]
    """What was named but cannot be had, and folders that cannot be read."""

    ignored: int = 0
    """Files in the folders that are not of the wanted kind."""

    unread: Mapping[str, int] = field(default_factory=dict)
    """How many of these are pictures of a kind that cannot be read, by what there is to say."""

    contents: Mapping[Path, Content] = field(default_factory=dict, repr=False)
    """Of what is no file: in sets, and in stores."""


def looks_like_image(path: Path) -> bool:
    """True for a known image suffix; other files are taken by their first bytes."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (suffix not in CAMERA_RAW and bool(sniff(_head(path))))


def scan(
    patterns: Sequence[str],
    recursive: bool = True,
    wanted: Callable[[Path], bool] = looks_like_image,
) -> Scan:
    """Resolve files, folders and globs; never raises for what it finds on the disk.

    A file that is named, or matches a glob, is taken whatever it holds; in folders those that are
    `wanted` are. Hidden files and temporary files are passed over. A path that exists is never a
    glob, so `photo [1].jpg` means itself.
    """
    found = list(_walk(patterns, recursive, wanted))
    files: dict[Path, Path] = {}
    for path in sorted((item for item in found if isinstance(item, Path)), key=natural):
        files.setdefault(path.resolve(), path)
    problems = tuple(item for item in found if isinstance(item, Problem))
    unread = Counter(item for item in found if isinstance(item, str) and item)
    ignored = sum(isinstance(item, str) for item in found)
    return Scan(tuple(files.values()), problems, ignored, dict(sorted(unread.items())))


def natural(path: Path) -> tuple[list[list[str | int]], str]:
    """A sorting key that puts `img2` before `img10`, whatever the case."""
    return [_numbers_as_numbers(part) for part in path.parts], str(path)


def _numbers_as_numbers(text: str) -> list[str | int]:
    pieces = re.split(r"(\d+)", text.casefold())
    return [int(piece[:_DIGITS]) if index % 2 else piece for index, piece in enumerate(pieces)]


# A found file, a problem, or of a file that is ignored, what picture it is; "" = none.
_Found = Path | Problem | str


def _walk(
    patterns: Sequence[str], recursive: bool, wanted: Callable[[Path], bool]
) -> Iterator[_Found]:
    entered: set[tuple[int, int]] = set()  # a folder may be named twice, or hold a link to itself
    for pattern in patterns:
        for named in _named(pattern):
            if isinstance(named, Path) and named.is_dir():
                yield from _in_folder(named, recursive, wanted, entered)
            else:
                yield named


def _named(pattern: str) -> list[Path] | list[Problem]:
    """The files and folders one argument means, as a shell would have it."""
    path = Path(pattern)
    if not pattern:
        return [Problem(path, "the name is empty")]
    trouble = _trouble(path)
    if not trouble:
        return [path]
    if not re.search(r"[*?[]", pattern):
        return [Problem(path, trouble)]
    return _glob(path) or [Problem(path, "matches no file")]


def _glob(pattern: Path) -> list[Path]:
    """The matches, without what is hidden, temporary, or neither file nor folder."""
    base = Path(pattern.anchor)
    try:
        matches = list(base.glob(str(pattern.relative_to(base))))
    except (OSError, ValueError, NotImplementedError):  # such as `a**b`
        return []
    asked = set(pattern.parts)
    return [
        match
        for match in matches
        if not any(_passed_over(part) for part in set(match.parts) - asked) and not _trouble(match)
    ]


def _in_folder(
    folder: Path, recursive: bool, wanted: Callable[[Path], bool], entered: set[tuple[int, int]]
) -> Iterator[_Found]:
    pending = [folder]
    while pending:
        folder = pending.pop()
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in entered:
                continue
            entered.add((about.st_dev, about.st_ino))
            children = [path for path in sorted(folder.iterdir()) if not _passed_over(path.name)]
        except OSError as error:
            yield Problem(folder, _said(error))
            continue
        for child in children:
            if _trouble(child) or not child.is_dir():
                yield _judged(child, wanted)
            elif recursive:
                pending.append(child)


def _judged(path: Path, wanted: Callable[[Path], bool]) -> _Found:
    """What a file found in a folder comes to: only a broken picture is worth a word."""
    trouble = _trouble(path)
    if trouble:
        return Problem(path, trouble) if path.suffix.lower() in SUFFIXES else ""
    return path if wanted(path) else _unread(path)


def _unread(path: Path) -> str:
    if path.suffix.lower() in CAMERA_RAW:
        return "is a camera raw file, which is not supported (export it as JPEG)"
    what, advice = unread(_head(path))
    return f"{what} ({advice})" if what else ""


def _passed_over(name: str) -> bool:
    """Hidden, a temporary file of ours, or what file managers leave lying about."""
    return name.startswith(".") or name.endswith(PART_SUFFIX) or name.lower() in _LITTER


def _trouble(path: Path) -> str:
    """Why `path` is neither a file nor a folder that one can ask about; "" = it is one."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        return _said(error)
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is not a regular file"


def _said(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""
