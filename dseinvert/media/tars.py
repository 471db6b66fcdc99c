"""A tar, also a compressed one, of which no more is unpacked than suits its size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

_UNPACKED, _TIMES = 1 << 25, 6
"""Bytes that any tar may be unpacked to, and those for each byte of its file."""
_PACKED: dict[bytes, Callable[[BinaryIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


@contextmanager
def opened_tar(file: BinaryIO, size: int) -> Iterator[tuple[tarfile.TarFile, bool]]:
    """The tar in a file of `size` bytes, and whether it is compressed.

    ValueError where more is read of it than its size allows.
    """
    start = file.read(6)
    file.seek(0)
    unpack = next((one for mark, one in _PACKED.items() if start.startswith(mark)), None)
    most = 2 * size + 4096 if unpack is None else max(_UNPACKED, _TIMES * size)
    with ExitStack() as stack:
        inner = file if unpack is None else stack.enter_context(unpack(file))
        tar = stack.enter_context(tarfile.open(fileobj=_Within(inner, most), mode="r:"))
        yield tar, unpack is not None


class _Within(io.RawIOBase):
    """A file that is read up to `most` bytes; ValueError beyond."""

    def __init__(self, file: BinaryIO | io.BufferedIOBase, most: int) -> None:
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
