"""A tar, also a compressed one, of which no more is unpacked than suits its size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_UNPACKED, _TIMES = 1 << 25, 6
"""Bytes that any tar may be unpacked to, and those for each byte of its file."""
_PACKED: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


@contextmanager
def opened_tar(path: Path, size: int) -> Iterator[tarfile.TarFile]:
    """The tar in a file of `size` bytes; ValueError where more is read of it than that allows."""
    with path.open("rb") as file:
        start = file.read(6)
    unpack = next((one for mark, one in _PACKED.items() if start.startswith(mark)), None)
    with path.open("rb") if unpack is None else unpack(path) as opened:
        within = _Within(opened, max(_UNPACKED, _TIMES * size) if unpack else 2 * size + 4096)
        with tarfile.open(fileobj=within, mode="r:") as tar:
            yield tar


class _Within(io.RawIOBase):
    """A file that is read up to `most` bytes; ValueError beyond."""

    def __init__(self, file: io.BufferedIOBase, most: int) -> None:
        super().__init__()
        self._file, self._most = file, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset if whence == 0 else 0)
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self._check(self._file.tell() + max(size, 0))
        return self._file.read(size)

    def _check(self, end: int) -> None:
        if end > self._most:
            raise ValueError("it would be unpacked to far more than a file of its size may")
