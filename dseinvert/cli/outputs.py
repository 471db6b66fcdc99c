"""Places that cannot be written to, told before anything is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dseinvert.cli.inputs import is_folder
from dseinvert.errors import OutputError, UsageError
from dseinvert.media.address import far
from dseinvert.media.atomic import shown
from dseinvert.names import suggested

_DRAWN = frozenset(
    [
        *(".png", ".jpg", ".webp", ".gif", ".html", ".npz", ".pt"),
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm"),
    ]
)
"""Of what `edit` writes."""
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}")


def check_folder(out: Path, option: str = "--out") -> None:
    """OutputError where a folder cannot be made or written to; of a store, see `check_store`."""
    if far(out):
        raise UsageError(
            f"{option} {shown(out)}: only `images`, `edit` and `video` write into a store",
            "name a folder, and copy it there",
        )
    place = next(p for p in (out, *out.parents) if _exists(p))
    if not place.is_dir():
        raise OutputError(
            f"{shown(out)}: cannot make this folder: {shown(place)} is a file",
            f"choose another {option}",
        )
    if not os.access(place, os.W_OK | os.X_OK):
        why = "read-only disk" if _read_only(place) else "permission denied"
        raise OutputError(
            f"{shown(out)}: cannot write: {why} in {shown(place)}",
            "choose a folder you may write to",
        )


def check_store(out: Path, paths: Sequence[str], *, keep_folders: bool = False) -> None:
    """Refuse an --out in a store that cannot be reached, or whose pictures would become inputs.

    Raises:
        MissingError: what reaches it is not installed. UsageError: it lies in an input.
        NoInputError: nobody knows a store of that kind.
    """
    from dseinvert.media.stores import check

    check(far(out))
    if keep_folders:
        raise UsageError(f"--keep-folders: not into {shown(out)}", "choose a folder on a disk")
    for path in map(Path, paths):
        if far(path) and out.is_relative_to(path):
            what = f"--out {shown(out)}: lies in the input {shown(path)}"
            raise UsageError(what, "choose another prefix")


def check_apart(out: Path, paths: Sequence[str]) -> None:
    """UsageError where pictures would come to lie in a folder that is an input, as in a store.

    A folder that such pictures lie in already, from an earlier run, gets more of them.
    """
    for path in filter(is_folder, map(Path, paths)):
        if out.resolve().is_relative_to(path.resolve()) and not _drawn_into(out):
            what = f"--out {shown(out)}: lies in the input {shown(path)}"
            raise UsageError(what, "choose another folder")


def _drawn_into(out: Path) -> bool:
    """Whether `edit` has written there: pictures of which no journal of `images` tells."""
    if not is_folder(out):
        return False
    from dseinvert.run.images.journal import read_all

    there = {path.name for path in out.iterdir() if path.suffix.lower() in _DRAWN}
    entries = read_all(out).values()
    told = {name for one in entries for name in (*one.files, Path(one.source).name)}
    return any(not name.startswith((".", "index")) for name in there - told)


def _read_only(place: Path) -> bool:
    if not hasattr(os, "statvfs"):  # Windows
        return False
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def check_animation(out: Path) -> None:
    """Refuse a file in which no moving picture can be written.

    Raises:
        UsageError: by its suffix. OutputError: its place cannot be written to.
    """
    from dseinvert.media.animation import SUFFIXES

    if out.suffix.lower() not in SUFFIXES:
        what = f"{shown(out)}: not the name of a video or moving picture"
        raise UsageError(what, suggested(out.suffix, SUFFIXES, f"end it in {', '.join(SUFFIXES)}"))
    _check_file(out)


def check_video(out: Path | None) -> None:
    """The same of a video, or of a folder for videos; None = the current folder."""
    from dseinvert.media.encoding import CONTAINERS

    suffix = "" if out is None or is_folder(out) else out.suffix.lower()
    if out is not None and suffix in CONTAINERS:
        _check_file(out)
    elif _SUFFIX.fullmatch(suffix):
        known = f"end it in {', '.join(CONTAINERS)}, or make a folder of that name first"
        what = f"--out {shown(out or Path())}: videos are not written as {suffix}"
        raise UsageError(what, suggested(suffix, CONTAINERS, known))
    else:
        check_folder(out or Path())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file system takes: the run says so
        return False


def _check_file(out: Path) -> None:
    if is_folder(out):
        raise OutputError(f"{shown(out)}: a folder of that name is in the way", "choose another")
    check_folder(out.parent)
