"""One process at a time: locks that end with their process and leave nothing lying about."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FAR = 2**31 - 2  # Windows keeps others from reading what is locked, so that is a byte past the end


def lock(descriptor: int) -> bool:
    """Lock an open file, or a folder where one can be opened, until it is closed.

    False = another process has it, or another descriptor of this one. True as well where the
    system or the file system has no locks: two runs at once are then the user's care.
    """
    try:
        import fcntl
    except ImportError:
        return _lock_byte(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder that is there; False as in `lock`, or it was removed meanwhile.

    Windows opens no folders: a file of the temporary folder then stands for it.
    """
    try:
        descriptor, proxy = os.open(folder, os.O_RDONLY), None
    except FileNotFoundError:
        yield False
        return
    except PermissionError:
        proxy = Path(tempfile.gettempdir()) / f"dseinvert-{_digest(folder)}.lock"
        descriptor = os.open(proxy, os.O_RDWR | os.O_CREAT)
    try:
        yield lock(descriptor) and (proxy is not None or _lies_at(descriptor, folder))
    finally:
        os.close(descriptor)
        if proxy is not None:
            with suppress(OSError):  # whoever else has it open keeps it
                proxy.unlink()


def _lies_at(descriptor: int, folder: Path) -> bool:
    """False for a folder that was removed, or made anew, after it was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _lock_byte(descriptor: int) -> bool:
    try:
        import msvcrt
    except ImportError:
        return True
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _FAR, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except PermissionError:
        return False
    except OSError:  # a file system without locks
        return True
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)
    return True


def _digest(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
