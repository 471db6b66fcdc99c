"""Files that appear under their final name complete or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dseinvert.errors import OutputError
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.names import file_name, printable

PART_SUFFIX = ".dse-part"
_LONGEST_NAME = 255  # bytes, on every common file system

_ADVICE = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some of your quota, then run the same command again",
    errno.EFBIG: "raise the file size limit (ulimit -f) or write to another disk",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder on a writable disk",
    errno.EISDIR: "a folder of that name is in the way",
    errno.ENOENT: "make the folder first",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def shown(path: Path) -> str:
    """`path` as one printable line, whatever its bytes are; its URL where it stands for one."""
    return printable(far(path) or str(path))


def within(folder: Path, name: str) -> Path:
    """The file `name` of a folder that the user named; OutputError for one that would leave it."""
    try:
        return folder / file_name(name)
    except ValueError as error:
        raise OutputError(
            f"{shown(folder)}: cannot write: {error}", "choose another name"
        ) from error


def open_in_place(path: Path) -> int:
    """A descriptor of a file that is appended to where it is; made where there is none.

    Raises:
        OutputError: it is a link, a device or a pipe, which somebody else laid there.
        OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise OutputError(f"{shown(path)}: is a link, which is not followed", "remove it")
    descriptor = os.open(path, flags | careful, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputError(f"{shown(path)}: is not a regular file", "remove it")
    return descriptor


def is_inside(folder: Path, path: Path) -> bool:
    """Whether `path`, with all links followed, lies in `folder`; False where it cannot be told."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def make_folder(folder: Path) -> None:
    """Make the output folder and its parents; OutputError when that cannot be.

    Stores have no folders.
    """
    if far(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(
            f"{shown(folder)}: cannot make this folder: {why}", "choose another --out"
        ) from error


def part_path(path: Path, mark: str = "") -> Path:
    """The hidden temporary name beside `path` that no folder scan takes for a picture.

    `mark` tells apart processes that may write the same file at once; "" = there is but one.
    """
    suffix = f".{mark}{PART_SUFFIX}" if mark else PART_SUFFIX
    room = _LONGEST_NAME - len(suffix) - 1
    return path.with_name(f".{os.fsdecode(os.fsencode(path.name)[:room])}{suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, on failure it is gone.

    Any OSError in the body or in the replacement becomes an OutputError. What goes into a store is
    put there whole.
    """
    if url := far(path):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, path.name)
            yield local
            stores.put(url, local.read_bytes())
        return
    part = part_path(path)
    try:
        part.unlink(missing_ok=True)
        yield part
        settle(part, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def settle(part: Path, path: Path) -> None:
    """Give a finished temporary file its final name, under which it is then on disk.

    Into a store it is put whole, and stays where it is.

    Raises:
        OutputError: the store does not take it. OSError: the disk does not.
    """
    if url := far(path):
        stores.put_file(url, part)
        return
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def write_bytes(path: Path, data: bytes, *, sync: bool = True, mark: str = "") -> None:
    """Write `data` to `path` so that a reader, or a crash, finds the old file or the new one.

    Raises OutputError saying why it cannot be written; nothing is left behind then.

    Args:
        path: its final name.
        data: all of it.
        sync: False = the caller calls `sync_folder` once for several files, before it says that
            they are there.
        mark: see `part_path`.
    """
    if url := far(path):
        stores.put(url, data)
        return
    part = part_path(path, mark)
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise output_error(path, error) from error
    if sync:
        sync_folder(path.parent)


def replace_folder(new: Path, path: Path, aside: Path) -> None:
    """Give the folder `new` the name `path`, and remove what was there.

    No rename replaces a folder that holds something, so the old one goes `aside` first: whenever
    this is killed, old or new is on disk, and `restore_folder` finds the name for it.

    Args:
        new: all of it is written.
        path: its final name.
        aside: a name on the same disk that is not taken.

    Raises:
        OSError: it cannot be renamed; the old one is back in its place.
    """
    with suppress(FileNotFoundError):
        path.rename(aside)
    try:
        new.rename(path)
    except OSError:
        restore_folder(path, aside)
        raise
    sync_folder(path.parent)
    _remove(aside)


def restore_folder(path: Path, aside: Path) -> None:
    """End what a killed `replace_folder` began: where there is no new folder, the old one is back.

    Raises:
        OSError: it cannot be renamed.
    """
    if path.exists():
        _remove(aside)
    else:
        with suppress(FileNotFoundError):
            aside.rename(path)


def _remove(path: Path) -> None:
    """A folder or a file, if there is one."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_stale_parts(folder: Path, age_s: float = 0) -> int:
    """Delete the temporary files that killed runs left in `folder`; returns how many.

    Where others may be writing, those that nobody touched for `age_s` seconds.
    """
    last = time.time() - age_s
    try:
        parts = [part for part in folder.glob(f".*{PART_SUFFIX}") if not part.is_dir()]
        if age_s:
            parts = [part for part in parts if _written(part) < last]
        for part in parts:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return len(parts)


def _written(path: Path) -> float:
    """When; another process's may be gone by now, and is then as new."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("inf")


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on disk."""
    with suppress(OSError):  # not every system can open or sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def output_error(path: Path, error: OSError) -> OutputError:
    """Why `path` could not be written, and what to do about it."""
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return OutputError(f"{shown(path)}: cannot write: {why}", _ADVICE.get(error.errno or 0, ""))
