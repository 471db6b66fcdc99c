"""Inputs of a command line that cannot be meant, told before anything is loaded."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dseinvert.errors import NoInputError, UsageError
from dseinvert.media.address import far, is_plain
from dseinvert.media.atomic import shown
from dseinvert.media.formats import SUFFIXES, VIDEO_SUFFIXES
from dseinvert.names import nearest, open_regular

JOURNAL = "journal.jsonl"
_JOURNAL_HEAD = b'{"format":"dseinvert-journal-'
_LOOKED_AT = 5000
"""Files of a folder after which whatever it holds is left to the run."""


@dataclass(frozen=True)
class Kind:
    """What a verb takes."""

    what: str
    """In the plural."""
    one: str
    suffixes: frozenset[str]
    verb: str
    """What to do with one, {} being its name."""
    name_them: str
    """What to give where there is none."""


IMAGES = Kind(
    *("images", "a picture", SUFFIXES, "dseinvert images {}"),
    "name image files, folders or globs",
)
VIDEOS = Kind(
    *("videos", "a video", VIDEO_SUFFIXES, "dseinvert video {}"),
    "name video files, folders of frames or globs",
)
LATENTS = Kind(
    *("latent files", "a latent file", frozenset({".safetensors"}), "dseinvert edit {}"),
    "name files that `dseinvert images` wrote",
)
OTHERS_LATENTS = Kind(
    *("latent files", "a latent file", frozenset({".pt", ".pth", ".npz", ".npy"})),
    *(LATENTS.verb, LATENTS.name_them),
)
MODELS = Kind(
    *("models", "the file of a model", frozenset({".pth", ".pt", ".pkl", ".ckpt", ".onnx"})),
    *("--model {}", "name a checkpoint file"),
)
KINDS = (IMAGES, VIDEOS, LATENTS, MODELS)


def check_inputs(patterns: Sequence[str], *wanted: Kind) -> None:
    """Refuse a command none of whose inputs can be of a kind that is wanted.

    Globs and files without a suffix that is known are left to the run, which looks into them.

    Raises:
        NoInputError: nothing is there, or other things only.
    """
    problems = []
    for pattern in patterns:
        problem = _problem(pattern, wanted)
        if problem is None:
            return
        problems.append(problem)
    if not problems:
        return
    what, advice = problems[0]
    more = f"; {len(problems) - 1} more like it" if len(problems) > 1 else ""
    raise NoInputError(f"no {wanted[0].what} found: {what}{more}", advice)


def check_not_ours(patterns: Sequence[str], out: Path) -> None:
    """UsageError where a folder that an earlier run wrote would be taken for photos.

    The folder --out itself may be named: there what is ours is known, and passed over.
    """
    for pattern in patterns:
        path = Path(pattern)
        if is_folder(path) and path.resolve() != out.resolve() and _is_output(path):
            raise UsageError(
                f"{shown(path)}: dseinvert wrote this folder; its crops, reconstructions and edits "
                "would be inverted as photos",
                f"`dseinvert edit {shown(path)}` draws its latents; "
                f"name {shown(path)}/*.png to invert them all the same",
            )


def inside_inputs(patterns: Sequence[str], out: Path) -> bool:
    """Whether --out is a folder that is named as an input too."""
    return any(is_folder(Path(one)) and Path(one).resolve() == out.resolve() for one in patterns)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """The same of a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_file(path: Path | None, option: str) -> None:
    """UsageError where a file that an option names is not there; None = none is named."""
    if path is not None and not path.is_file():
        raise UsageError(f"{option} {shown(path)}: {why_no_file(path)}", _sibling(path))


def check_there(path: Path | None, option: str) -> None:
    """UsageError where a folder or file that an option names is not there; None = none is."""
    if path is not None and not _followed(path):
        what = why_no_file(path)
        what = f"{what} or folder" if what == "no such file" else what
        raise UsageError(f"{option} {shown(path)}: {what}", _sibling(path))


def check_sets(*paths: Path) -> None:
    """MissingError where what reads a set of pictures, or reaches a store, is not installed.

    NoInputError: nobody knows a store of that kind.
    """
    from dseinvert.media.sets import check_set
    from dseinvert.media.stores import check

    for path in paths:
        check_set(path)
        if url := far(Path(str(path).removeprefix("@"))):
            check(url)


def check_set_file(path: Path, option: str) -> None:
    """UsageError for a file in which no set of pictures can be; one without a suffix is a tar."""
    from dseinvert.media.sets import kind_of

    if is_folder(path) or kind_of(path):
        return
    if not is_file(path) or not tarfile.is_tarfile(path):
        what = "is no set of pictures" if is_file(path) else why_no_file(path)
        advice = "name a folder, zip, tar, LMDB or parquet"
        raise UsageError(f"{option} {shown(path)}: {what}", advice)


def check_readable(path: Path) -> None:
    """UsageError where a file that is an argument is not there."""
    if not _followed(path):
        raise UsageError(f"{shown(path)}: {why_no_file(path)}", _sibling(path))


def why_no_file(path: Path) -> str:
    """What a path is, beside a file."""
    if path.is_dir():
        return "is a folder"
    if _followed(path):
        return "is no regular file (a pipe or a device)"
    return "a link to what is not there" if path.is_symlink() else "no such file"


def _followed(link: Path) -> bool:
    try:
        return link.exists()
    except (OSError, RuntimeError):  # round and round
        return False


def _problem(pattern: str, wanted: tuple[Kind, ...]) -> tuple[str, str] | None:
    """What keeps an input from being used, and what to do; None = it may be usable."""
    if not is_plain(pattern):
        return None
    path = Path(pattern)
    try:
        if not path.exists():
            return None if re.search(r"[*?[]", pattern) else _absent(path, wanted[0])
        if path.is_dir():
            return _folder(path, wanted)
        if not path.is_file():
            return f"{shown(path)}: {why_no_file(path)}", wanted[0].name_them
    except (OSError, ValueError):
        return None
    kind = _kind(path, wanted)
    if kind is None or kind in wanted:
        return None
    return f"{shown(path)} is {kind.one}", _instead(kind, path)


def _absent(path: Path, wanted: Kind) -> tuple[str, str]:
    if not str(path) or str(path) == ".":
        return "the name is empty", wanted.name_them
    why = why_no_file(path)
    why = f"{why} or directory" if why == "no such file" else why
    return f"{_named(path)}: {why}", _meant(path) or wanted.name_them


def _named(path: Path) -> str:
    """In quotes where it begins or ends with what cannot be seen."""
    return shown(path) if str(path) == str(path).strip() else f"{shown(path)!r}"


def _meant(path: Path) -> str:
    """What was meant by a path that is not there, as advice; "" = who knows."""
    if path.parts[0].startswith("~"):
        return "a shell makes a folder of ~ where it stands outside of quotes"
    slashes = Path(str(path).replace("\\", "/"))
    if slashes != path and _followed(slashes):
        return f"did you mean {shown(slashes)}?"
    return _sibling(path)


def _folder(path: Path, wanted: tuple[Kind, ...]) -> tuple[str, str] | None:
    """As `_problem`, of a folder: it is read until one file may be of use."""
    if VIDEOS in wanted:
        wanted = (*wanted, IMAGES)  # a folder of pictures is a clip
    others: Kind | None = None
    count = 0
    for count, file in enumerate(islice(_files(path), _LOOKED_AT), 1):
        kind = _kind(file, wanted)
        if kind is None or kind in wanted or count == _LOOKED_AT:
            return None
        others = others or kind
    if others is None:
        return f"{shown(path)} is an empty folder", wanted[0].name_them
    return f"{shown(path)} holds {others.what} only", _instead(others, path)


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and below, but for hidden ones."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _kind(path: Path, wanted: tuple[Kind, ...]) -> Kind | None:
    """By its suffix, one that is wanted first; None = it tells nothing."""
    suffix = path.suffix.lower()
    return next((kind for kind in (*wanted, *KINDS) if suffix in kind.suffixes), None)


def _instead(kind: Kind, path: Path) -> str:
    return f"try {kind.verb.format(shown(path))}"


def _sibling(path: Path) -> str:
    """The file beside it whose name is most like it, as advice; "" = there is none."""
    try:
        names = [one.name for one in path.absolute().parent.iterdir() if one.name != path.name]
    except OSError:
        return ""
    like = nearest(path.name, names, 0.75)
    return f"did you mean {shown(path.with_name(like))}?" if like else ""


def _is_output(folder: Path) -> bool:
    return any(_is_journal(path) for path in (folder / JOURNAL, *folder.glob("journal-*.jsonl")))


def _is_journal(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(len(_JOURNAL_HEAD)) == _JOURNAL_HEAD
    except OSError:
        return False
