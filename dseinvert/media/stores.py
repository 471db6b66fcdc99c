"""Buckets and other stores, by fsspec: what lies there, its bytes, and whole objects written.

Nothing is renamed, appended to or kept on this machine's disk.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dseinvert.errors import DseInvertError, InputError, MissingError, NoInputError, OutputError
from dseinvert.names import printable

_EXTRAS = {
    **{"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")},
    **{"gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")},
    "hf": ("huggingface_hub", "hf"),
}
"""By scheme: the package that reaches it, and the extra that installs that."""
_KEYS = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "s3a": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "gcs": "set GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "hf": "set HF_TOKEN, or `hf auth login`",
}
_NO_BUCKET = "no such bucket"
_STAMPS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "LastModified", "mtime", "created")


@dataclass(frozen=True)
class Stored:
    """One object."""

    url: str
    size: int
    stamp: str
    """Another one after every change; "" = the store tells none."""


def listing(url: str) -> list[Stored]:
    """The objects below a prefix, those that match a glob, or the one of that name; unordered.

    Raises:
        NoInputError: there is none, no such bucket, no credentials. MissingError: see `check`.
    """
    with _told(url, NoInputError):
        files, path = _opened(url)
        pattern = any(mark in path for mark in "*?[")
        if _scheme(url) in ("http", "https"):  # which list nothing
            found = {path: files.info(path)}
        elif pattern:
            found = files.glob(path, detail=True) or _unmatched(path)
        else:
            found = files.find(path, detail=True) or _nothing(files, path)
        objects = [(name, one) for name, one in found.items() if one.get("type") != "directory"]
    return [_stored(_url(url, name), one) for name, one in objects]


def below(url: str) -> list[Stored]:
    """As `listing`, of a prefix below which there may be nothing yet.

    Raises:
        NoInputError, MissingError: as `listing`, in a store that cannot be looked at.
    """
    try:
        return listing(url)
    except NoInputError as error:
        if isinstance(error.__cause__, FileNotFoundError) and _NO_BUCKET not in error.what:
            return []
        raise


def _unmatched(path: str) -> dict[str, Any]:
    raise FileNotFoundError(path)


def _nothing(files: Any, path: str) -> dict[str, Any]:
    """An empty prefix of a bucket that is there; raises where that is not."""
    bucket = path.strip("/").partition("/")[0]
    if bucket and bucket != path.strip("/"):
        files.ls(bucket, detail=False)
    files.info(path)
    return {}


def stored(url: str) -> Stored:
    """What is told of an object; InputError where there is none."""
    with _told(url, InputError):
        files, path = _opened(url)
        return _stored(url, files.info(path))


def read(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """The bytes of an object, or those from `start` up to `end`.

    Raises:
        InputError: it cannot be read.
    """
    with _told(url, InputError):
        files, path = _opened(url)
        return bytes(files.cat_file(path, start=start, end=end))


@contextmanager
def opened(url: str, block: int) -> Iterator[tuple[BinaryIO, int]]:
    """An object as a file that is read in blocks of so many bytes, and its size.

    Raises:
        InputError: there is none; reading raises OSError.
    """
    file, size = open_ranges(url, block)
    with file:
        yield file, size


def open_ranges(url: str, block: int) -> tuple[BinaryIO, int]:
    """As `opened`, of a file that is closed by whoever asked for it."""
    size = stored(url).size
    return io.BufferedReader(_Ranges(url, size), block), size


def put(url: str, data: bytes) -> None:
    """Write an object whole, in place of what was there; OutputError where that cannot be."""
    with _told(url, OutputError):
        files, path = _opened(url)
        files.pipe_file(path, data)


def put_file(url: str, path: Path) -> None:
    """As `put`, of a file of this machine, which need not fit into memory.

    A large one may go there in pieces of one upload; there is no object before all of it is there.
    """
    with _told(url, OutputError):
        files, name = _opened(url)
        files.put_file(str(path), name)


def put_new(url: str, data: bytes) -> bool:
    """Write an object where there is none of that name; False = there is one.

    Where a store has no such request, one that is there is looked for before.

    Raises:
        OutputError: it cannot be written.
    """
    with _told(url, OutputError):
        files, path = _opened(url)
        try:
            files.pipe_file(path, data, mode="create")
        except Exception as error:  # each library has its own, as decoders have
            if isinstance(error, FileExistsError) or "PreconditionFailed" in repr(error):
                return False
            said = str(error).lower()
            if "pre-condition" in said or "precondition" in said or "412" in said:
                return False
            raise
    return True


def remove(url: str) -> None:
    """Where there is such an object, it goes; OutputError where it cannot be."""
    with _told(url, OutputError), suppress(FileNotFoundError):
        files, path = _opened(url)
        files.rm_file(path)


def check(url: str) -> None:
    """Refuse a store that could not be reached, before anything is loaded.

    Raises:
        MissingError: what reaches it is not installed. NoInputError: nobody knows such a store.
    """
    with _told(url, NoInputError):
        _opened(url)


class _Ranges(io.RawIOBase):
    """An object, of which only what is asked for is read."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__()
        self._url, self._size, self._at = url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        data = read(self._url, self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _opened(url: str) -> tuple[Any, str]:
    """The file system of fsspec, and what it calls a URL."""
    package, extra = _EXTRAS.get(_scheme(url), ("fsspec", "stores"))
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        known = _scheme(url) in _EXTRAS or "fsspec" in str(error)
        advice = f"pip install 'dseinvert[{extra}]'" if known else printable(str(error))[:100]
        what = f"the package {package}" if known else "one more package"
        raise MissingError(f"{printable(url)}: {_scheme(url)}:// needs {what}", advice) from error
    return files, str(path)


@contextmanager
def _told(url: str, kind: type[DseInvertError]) -> Iterator[None]:
    """What a store's own library raises, whatever that is, in a line."""
    try:
        yield
    except DseInvertError:
        raise
    except Exception as error:  # each library has its own, as decoders have
        raise _error(url, kind, error) from error


def _error(url: str, kind: type[DseInvertError], error: Exception) -> DseInvertError:
    said = printable(" ".join(str(error).split()))[:160] or type(error).__name__
    cannot = "cannot be written" if kind is OutputError else "cannot be read"
    if isinstance(error, FileNotFoundError):
        missing = _NO_BUCKET if "bucket" in said.lower() else "nothing there"
        return kind(f"{printable(url)}: {missing}", "look at its name, and who may see it")
    if (
        isinstance(error, PermissionError)
        or "credential" in f"{type(error).__name__} {said}".lower()
    ):
        return kind(f"{printable(url)}: {cannot}: {said}", _KEYS.get(_scheme(url), ""))
    if isinstance(error, ValueError) and said.startswith("Protocol not known"):
        schemes = ", ".join(f"{one}://" for one in ("s3", "gs", "hf"))
        return kind(f"{printable(url)}: no such kind of store", f"{schemes} and what fsspec knows")
    return kind(f"{printable(url)}: {cannot}: {said}")


def _stored(url: str, told: dict[str, Any]) -> Stored:
    values = (told.get(name) for name in _STAMPS)
    stamp = next((str(value) for value in values if value), "")
    size = int(told.get("size") or 0)
    return Stored(url, size, stamp and f"{stamp.strip(chr(34))} {size}")


def _url(url: str, name: str) -> str:
    """Of what a file system names, beside the URL that was asked for."""
    return name if "://" in name else f"{_scheme(url)}://{name.lstrip('/')}"


def _scheme(url: str) -> str:
    return url.partition("://")[0]
