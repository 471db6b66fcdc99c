"""Many pictures in one place: a folder, a zip or tar, an LMDB, a data set in parquet files.

Everything that takes a set of pictures reads it here: their names at once, and the bytes of each
when it is asked for.
"""

from __future__ import annotations

import lzma
import os
import re
import struct
import tarfile
import threading
import zipfile
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, BinaryIO

from dseinvert.errors import InputError, MissingError, NoInputError
from dseinvert.media import stores
from dseinvert.media.address import column_of, far
from dseinvert.media.atomic import shown
from dseinvert.media.formats import SUFFIXES
from dseinvert.media.images import HEAD_BYTES, file_bytes, sniff
from dseinvert.media.lmdb_file import Record, records
from dseinvert.media.scan import natural, scan
from dseinvert.media.tars import opened_tar
from dseinvert.names import open_regular, printable

LARGEST = 1 << 26
"""Bytes of a picture in a set."""
_LEAST, _TIMES = 128 << 20, 8
"""Bytes of pictures that any file may hold, and those for each byte that it has."""
_LOOKED_AT = 200
"""Folders in a folder after which it is not asked any more what it is."""
_AT_ONCE = 16
"""Rows of a parquet file that are read together, where a group of rows is small."""
_KEPT, _KEPT_BYTES = 64, 32 << 20
"""Rows that are kept, and bytes of them: threads do not ask quite in order."""
_ROW = 64
"""Bytes that a row with a picture takes at least."""
_WORD, _WORDS, _WORD_TIMES = 60, 128 << 20, 16
"""Bytes of a word beside its letters; of the words of any table; and those per byte of it."""
_WORDS_AT_ONCE, _LONGEST_WORD = 4096, 10_000
_HEADERS, _COLUMNS = 4096, 1 << 20
"""Bytes that are read together of a set in a store: of a tar's headers, of a table."""
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_SIZED = re.compile(r"(\d{1,5})-\d+")
DAMAGES = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, RuntimeError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""What readers of sets raise on damaged ones."""


@dataclass(frozen=True)
class Member:
    """One picture of a set."""

    name: str
    """Within the set, as it is written there."""
    read: Callable[[], bytes]
    """Its bytes; raises one of DAMAGES or InputError."""


@dataclass(frozen=True)
class _Kind:
    what: str
    open: Callable[[Path], Any]
    package: str = ""
    extra: str = ""


def kind_of(path: Path) -> str:
    """What set a path is: zip, tar, lmdb, parquet; "" = a picture, a folder of them, or nothing."""
    try:
        if path.is_dir():
            return _of_folder(path)
    except (OSError, ValueError):
        return ""
    path = Path(column_of(str(path))[0])
    name = path.name.lower()
    if name.endswith(_TARS):
        return "tar"
    return {".zip": "zip", ".mdb": "lmdb", ".lmdb": "lmdb", ".parquet": "parquet"}.get(
        path.suffix.lower(), ""
    )


def _of_folder(folder: Path) -> str:
    """Where there are pictures too, a table beside them is not what is meant."""
    if (folder / "data.mdb").exists():
        return "lmdb"
    looked_at = islice(os.walk(folder), _LOOKED_AT)
    suffixes = {Path(name).suffix.lower() for _, _, names in looked_at for name in names}
    return "parquet" if ".parquet" in suffixes and not suffixes & SUFFIXES else ""


def check_set(path: Path) -> None:
    """Refuse a set that could not be read, before anything is loaded.

    Raises:
        MissingError: what reads it is not installed.
    """
    kind = _KINDS.get(kind_of(path))
    if kind is not None and kind.package and find_spec(kind.package) is None:
        raise MissingError(
            f"{shown(path)}: {kind.what} needs the package {kind.package}",
            f"pip install 'dseinvert[{kind.extra}]'",
        )


@contextmanager
def opened_set(path: Path, otherwise: str = "") -> Iterator[list[Member]]:
    """The pictures of a set, in the order of their names, readable inside the context.

    Of them all no more is unpacked than suits the size of its file.

    Args:
        otherwise: what a file is whose name tells nothing; "" = a picture.

    Raises:
        InputError: it is damaged, or far too large for its size; each `read` raises it too.
        NoInputError: it holds no picture. MissingError: what reads it is not installed.
    """
    check_set(path)
    kind = _kind(path, otherwise)
    with ExitStack() as stack:
        with _named(path, kind.what):
            members = stack.enter_context(kind.open(path))
        if not members:
            raise NoInputError(f"{shown(path)}: no pictures in this {kind.what}")
        yield [replace(one, read=partial(_read, path, kind.what, one)) for one in members]


def damaged(path: Path, said: str, otherwise: str = "") -> InputError:
    """What is raised of a set; see `opened_set`."""
    return _damaged(path, _kind(path, otherwise).what, said)


def _kind(path: Path, otherwise: str) -> _Kind:
    return _KINDS[kind_of(path) or ("" if path.is_dir() else otherwise)]


def _damaged(path: Path, what: str, said: str) -> InputError:
    line = printable(" ".join(said.split()))[:200]
    return InputError(f"{shown(path)}: not a readable {what} of images: {line}")


def _read(path: Path, what: str, member: Member) -> bytes:
    with _named(path, what):
        return member.read()


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """What readers raise of a damaged set, in a line with its name."""
    try:
        yield
    except InputError as error:
        if error.what.startswith(shown(path)):
            raise
        raise InputError(f"{shown(path)}: {error.what}", error.advice) from error
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)}: no such file or directory") from error
    except DAMAGES as error:
        raise _damaged(path, what, str(error)) from error


@contextmanager
def _file(path: Path, block: int) -> Iterator[tuple[BinaryIO, int]]:
    """A set's file, from wherever it lies, and its size."""
    if url := far(path):
        with stores.opened(url, block) as (file, size):
            yield file, size
        return
    with open_regular(path) as file:  # reading a pipe might never end
        yield file, os.fstat(file.fileno()).st_size


@contextmanager
def _folder(path: Path) -> Iterator[list[Member]]:
    found = scan([str(path)])
    for problem in found.problems:
        raise InputError(f"{shown(problem.path)}: {problem.reason}")
    inside = path if path.is_dir() else path.parent
    files = {_below(file, inside): file for file in found.files}
    yield [Member(name, partial(file_bytes, file)) for name, file in files.items()]


def _below(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else file.name


@contextmanager
def _zip(path: Path) -> Iterator[list[Member]]:
    """As NVlabs' dataset_tool writes them, or any other."""
    with _file(path, _COLUMNS) as (file, size), zipfile.ZipFile(file) as archive:
        infos = [one for one in archive.infolist() if _is_picture(one.filename)]
        _check_total(sum(one.file_size for one in infos), size)
        lock = threading.Lock()
        yield _sorted(Member(one.filename, partial(_unzipped, archive, one, lock)) for one in infos)


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, lock: threading.Lock) -> bytes:
    _check_one(info.filename, info.file_size)
    with lock:
        return archive.read(info)


@contextmanager
def _tar(path: Path) -> Iterator[list[Member]]:
    with _file(path, _HEADERS) as (file, size), opened_tar(file, size) as (tar, packed):
        members = [one for one in tar if _is_picture(one.name)]
        if packed or any(one.issparse() for one in members):
            if far(path):
                raise ValueError("it is compressed, which is read from a disk only; copy it")
            lock = threading.Lock()
            yield _sorted(Member(one.name, partial(_untarred, tar, one, lock)) for one in members)
            return
    yield _sorted(Member(one.name, _ranged(path, one)) for one in members)


def _ranged(path: Path, member: tarfile.TarInfo) -> Callable[[], bytes]:
    """What reads a member of a plain tar, and nothing else of it."""
    return partial(_range, path, member.name, member.offset_data, member.size, member.isreg())


def _range(path: Path, name: str, start: int, size: int, plain: bool) -> bytes:
    _check_one(name, size)
    if not plain:
        raise InputError(f"its member {printable(name)[:200]} is no plain file")
    if url := far(path):
        data = stores.read(url, start, start + size) if size else b""
    else:
        with open_regular(path) as file:
            file.seek(start)
            data = file.read(size)
    if len(data) < size:
        raise EOFError(f"it ends before its member {printable(name)[:200]} does")
    return data


def _untarred(tar: tarfile.TarFile, member: tarfile.TarInfo, lock: threading.Lock) -> bytes:
    """The bytes of a file in a tar; InputError for what is a link or a device, or far too large."""
    _check_one(member.name, member.size)
    with lock:
        file = tar.extractfile(member) if member.isreg() else None
        if file is None:
            raise InputError(f"its member {printable(member.name)[:200]} is no plain file")
        return file.read()


@contextmanager
def _lmdb(path: Path) -> Iterator[list[Member]]:
    """LSUN's, rosinality's and others': pictures under any keys, of several sizes the largest."""
    with open_regular(path / "data.mdb" if path.is_dir() else path) as file:
        size = os.fstat(file.fileno()).st_size
        found, lock = _largest([*_pictures(file, size)]), threading.Lock()
        yield [Member(_name(one.key), partial(_value, file, one, lock)) for one in found]


def _pictures(file: BinaryIO, size: int) -> Iterator[Record]:
    """What begins as a picture does."""
    total = 0
    for record in records(file, size):
        total += record.size
        _check_total(total, size)
        file.seek(record.start)
        if sniff(file.read(min(record.size, HEAD_BYTES))):
            yield record


def _largest(found: list[Record]) -> list[Record]:
    """Of pictures at several sizes, under keys as 256-00017, those of the largest."""
    sizes = [_SIZED.fullmatch(_name(record.key)) for record in found]
    sides = [int(size[1]) for size in sizes if size]
    if len(sides) < len(found):
        return found
    return [one for one, side in zip(found, sides, strict=True) if side == max(sides)]


def _name(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _value(file: BinaryIO, record: Record, lock: threading.Lock) -> bytes:
    _check_one(_name(record.key), record.size)
    with lock:
        file.seek(record.start)
        return file.read(record.size)


@contextmanager
def _parquet(path: Path) -> Iterator[list[Member]]:
    """A data set as the Hugging Face hub keeps it: files with a column of pictures."""
    table, column = column_of(str(path))
    path = Path(table)
    files = sorted(path.rglob("*.parquet"), key=natural) if path.is_dir() else [path]
    members = []
    with ExitStack() as stack:
        for file in files:
            rows = _Rows(*stack.enter_context(_file(file, _COLUMNS)), column)
            name = _below(file, path) if path.is_dir() else file.name
            names = (f"{name.removesuffix('.parquet')}/{row:07d}" for row in range(rows.count))
            members += [Member(one, partial(rows.picture, row)) for row, one in enumerate(names)]
        yield members


class _Rows:
    """The pictures of one parquet file, read a few rows at a time, best in their order."""

    def __init__(self, file: BinaryIO, size: int, column: str) -> None:
        from pyarrow import parquet

        self._file, self._lock = parquet.ParquetFile(file), threading.Lock()
        self._column = _column(self._file.schema_arrow, column)
        about = self._file.metadata
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        _check_total(sum(group.total_byte_size for group in groups), size)
        self.count = int(about.num_rows)
        if not 0 <= self.count <= 1000 + size // _ROW:
            raise ValueError(f"{self.count} rows in {size} bytes")
        largest = max((group.total_byte_size for group in groups), default=0)
        # One picture may stand in every row, and takes as much as all of its group.
        self._at_once = min(_AT_ONCE, max(1, _KEPT_BYTES // max(1, largest)))
        self._starts = [0, *accumulate(int(group.num_rows) for group in groups)]
        self._first, self._next = 0, 0
        self._kept = deque()  # type: deque[Any]
        self._bytes = 0
        self._size, self._furthest, self._total = size, 0, 0
        self._batches = iter(())  # type: Iterator[Any]

    def picture(self, row: int) -> bytes:
        """The bytes of a row's picture."""
        with self._lock:
            ahead = self._starts[self._group(self._next) + 1]
            if not self._kept or not self._first <= row < ahead:
                self._begin(row)
            while row >= self._next:
                self._read_on()
            value = self._kept[row - self._first]
        data = _data(value)
        if not isinstance(data, bytes):
            raise InputError(f"row {row} holds no picture, at most the name of one")
        _check_one(f"row {row}", len(data))
        return data

    def _group(self, row: int) -> int:
        """The row group that a row is in; the last one for what is behind all."""
        return min(bisect_right(self._starts, row), len(self._starts) - 1) - 1

    def _begin(self, row: int) -> None:
        """At the row group of a row: a share of a table need not read all of it."""
        group = self._group(row)
        groups = [*range(group, len(self._starts) - 1)]
        batches = self._file.iter_batches(
            self._at_once, row_groups=groups, columns=[self._column], use_threads=False
        )
        self._batches = (batch for batch in batches if batch.num_rows)
        self._first = self._next = self._starts[group]
        self._kept.clear()
        self._bytes = 0

    def _read_on(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            raise ValueError("it holds fewer rows than it says")
        rows = batch.column(0).to_pylist()
        self._kept.extend(rows)
        self._bytes += sum(map(_bytes_of, rows))
        self._next += len(rows)
        if self._next > self._furthest:
            self._furthest, self._total = self._next, self._total + sum(map(_bytes_of, rows))
            _check_total(self._total, self._size)
        while len(self._kept) > max(_KEPT, len(rows)) or (
            self._bytes > _KEPT_BYTES and len(self._kept) > len(rows)
        ):
            self._bytes -= _bytes_of(self._kept.popleft())
            self._first += 1


def _bytes_of(value: Any) -> int:
    data = _data(value)
    return len(data) if isinstance(data, bytes) else 0


def _data(value: Any) -> Any:
    """What stands in a row: bytes, or a struct with them, as the hub has it."""
    return value.get("bytes") if isinstance(value, dict) else value


def names_in(path: Path) -> list[str] | None:
    """What a column of words holds, as paths or URLs; None = it holds pictures.

    Raises:
        InputError: there is no such column. MissingError: see `opened_set`.
    """
    check_set(path)
    table, column = column_of(str(path))
    with _named(Path(table), "table in parquet"), _file(Path(table), _COLUMNS) as (file, size):
        from pyarrow import parquet, types

        schema = parquet.ParquetFile(file).schema_arrow
        kind = schema.field(_column(schema, column)).type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            return None
        # A word that stands in many rows is then in memory once.
        rows = parquet.ParquetFile(file, read_dictionary=[column])
        batches = rows.iter_batches(_WORDS_AT_ONCE, columns=[column], use_threads=False)
        return [*_words((batch.column(0) for batch in batches), max(_WORDS, _WORD_TIMES * size))]


def _words(columns: Iterator[Any], left: int) -> Iterator[str]:
    """Those of a table, in dictionaries of each batch; ValueError for more than `left` bytes."""
    for column in columns:
        longest = max((len(word) for word in column.dictionary.to_pylist() if word), default=0)
        if longest > _LONGEST_WORD:
            raise ValueError(f"a name of {longest:,} letters")
        for word in column.to_pylist():
            left -= _WORD + len(word or "")
            if left < 0:
                raise ValueError("far more names than a file of its size may hold")
            if word:
                yield str(word)


def _column(schema: Any, named: str = "") -> str:
    """The column with the pictures: a struct with their bytes, as the hub has it, or bytes."""
    from pyarrow import types

    if named:
        if named not in schema.names:
            raise ValueError(f"no column {named} among {', '.join(schema.names)}")
        return named
    structs = [f.name for f in schema if types.is_struct(f.type) and _has_bytes(f.type)]
    binary = [f.name for f in schema if types.is_binary(f.type) or types.is_large_binary(f.type)]
    for name in (*structs, *binary):
        return str(name)
    raise ValueError(f"no column of pictures among {', '.join(schema.names)}")


def _has_bytes(struct: Any) -> bool:
    return any(struct.field(index).name == "bytes" for index in range(struct.num_fields))


def _is_picture(name: str) -> bool:
    file = name.rpartition("/")[2]
    return not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES


def _sorted(members: Iterator[Member]) -> list[Member]:
    return sorted(members, key=lambda one: one.name)


def _check_one(name: str, size: int) -> None:
    if size > LARGEST:
        raise InputError(f"its member {printable(name)[:200]} is too large for a picture")


def _check_total(total: int, size: int) -> None:
    """ValueError where a file of `size` bytes says it holds far more."""
    if total > max(_LEAST, _TIMES * size):
        raise ValueError("it would be unpacked to far more than a file of its size may")


_KINDS = {
    "": _Kind("folder", _folder),
    "zip": _Kind("zip", _zip),
    "tar": _Kind("tar", _tar),
    "lmdb": _Kind("LMDB", _lmdb),
    "parquet": _Kind("data set in parquet files", _parquet, "pyarrow", "parquet"),
}
