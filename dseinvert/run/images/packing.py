"""`--pack N`: the outputs of so many inputs together, in place of files of each.

A shard is three files: `00000.tar` of the pictures, `00000.safetensors` of the latents and
`00000.parquet`, a row an input, as img2dataset lays them out. It grows in temporary files and gets
its names when it is full or the run ends. The table comes last: where it is, all of the shard is,
and only then the journal hears of its inputs; see `packed` for what is done after a death between.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from dseinvert.errors import OutputError
from dseinvert.latent.packed import SUFFIX as LATENTS
from dseinvert.latent.packed import Packing
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.atomic import output_error, part_path, settle
from dseinvert.run.images.journal import Entry, FaceEntry, dumps

OWNER = "dseinvert"
"""Of what is in our tars, by which they are known again."""
FORMAT = "dseinvert-shard-1"
TAR, TABLE = ".tar", ".parquet"
SUFFIXES = (TAR, LATENTS, TABLE)
"""Of the files of a shard, in the order in which they are written."""
_HEADER = 6 << 20
"""Bytes of the header of a file of latents, of which readers take 8 MiB."""
_METRICS = ("psnr", "ssim", "mse")


@dataclass
class Growing:
    """A shard in temporary files."""

    paths: tuple[Path, ...]
    """Of the tar, of float32 and of float16."""
    files: tuple[BinaryIO, ...]
    tar: tarfile.TarFile
    latents: Packing
    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry, files: Mapping[str, bytes]) -> None:
        """An input and its files, which are then on their way to the disk; raises OSError."""
        for face in entry.faces:
            self.latents.add(face.name, files[f"{face.name}{LATENTS}"])
            told = {f"{face.name}.json": _about(entry, face)}
            first = face is entry.faces[0]
            names = (*face.pictures.values(), *(entry.photos.values() if first else ()))
            told |= {name: files[name] for name in names}
            for name, data in sorted(told.items()):
                _append(self.tar, name, data)
        self.files[0].flush()
        self.entries.append(entry)

    def end(self) -> None:
        """Of the tar; raises OSError."""
        self.tar.close()
        self.files[0].flush()

    def remove(self) -> None:
        """The temporary files."""
        for file, path in zip(self.files, self.paths, strict=True):
            with suppress(OSError):  # of a full disk, which has been told of
                file.close()
            with suppress(OSError):
                path.unlink(missing_ok=True)


@dataclass
class Packer:
    """A process's shards, one after the other; `keep` is for many threads, all else for one."""

    out: Path
    prefix: str
    """Of the names of its shards, which no other process shares."""
    size: int
    """Inputs of a shard."""
    begin: Callable[[], int]
    """Gives the number of the first shard, when that is begun."""
    mark: str
    """See `part_path`."""
    folder: Path
    """Of temporary files."""
    kept: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files of inputs that are not in the shard yet, by the input's name."""
    number: int | None = None
    """Of the shard in hand, or the next one; None = none was begun."""
    growing: Growing | None = None
    """None = none is begun."""

    def keep(self, name: str, blobs: Iterable[tuple[str, bytes]]) -> dict[str, str]:
        """Hold the files of an input until its entry is added; the sha256 of each."""
        files = dict(blobs)
        self.kept[name] = files
        return {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}

    def add(self, entry: Entry) -> Entry:
        """Put an input into the shard in hand; its entry then says which that is.

        Raises:
            OutputError: there is no room.
        """
        files = self.kept.pop(entry.name, {})
        shard = self._shard()
        if entry.status == "done":
            entry = replace(entry, pack=self._name)
        try:
            shard.add(entry, files)
        except OSError as error:
            self.abandon()
            raise output_error(self.out, error) from error
        return entry

    @property
    def full(self) -> bool:
        """Whether the shard in hand takes no more."""
        shard = self.growing
        if shard is None:
            return False
        return len(shard.entries) >= self.size or shard.latents.header_bytes > _HEADER

    def finish(self) -> list[Entry]:
        """Give the shard in hand its names; the entries of all that is in it.

        Where nothing of it is done, there is no shard.

        Raises:
            OutputError: it cannot be written; nothing of it is left.
        """
        shard = self.growing
        if shard is None:
            return []
        try:
            if any(entry.status == "done" for entry in shard.entries):
                self._write(shard)
                self.number = self._at + 1
        finally:
            self.abandon()
        return shard.entries

    def abandon(self) -> None:
        """What is not in a finished shard goes."""
        if self.growing is not None:
            self.growing.remove()
            self.growing = None

    def _shard(self) -> Growing:
        if self.growing is None:
            parts = [self._part(suffix) for suffix in (TAR, ".f32", ".f16")]
            try:
                self.growing = _begun(parts)
            except OSError as error:
                raise output_error(self.out, error) from error
        return self.growing

    def _write(self, shard: Growing) -> None:
        """The three files, under their names."""
        finals = [self.out / f"{self._name}{suffix}" for suffix in SUFFIXES]
        parts = [shard.paths[0], self._part(LATENTS), self._part(TABLE)]
        try:
            shard.end()
            settle(parts[0], finals[0])
            with parts[1].open("xb") as file:
                shard.latents.write(file)
            settle(parts[1], finals[1])
            write_table(parts[2], shard.entries)
            settle(parts[2], finals[2])
        except BaseException as error:
            for path in (*reversed(finals), *parts):
                remove(path)
            if isinstance(error, OSError):
                raise output_error(finals[0], error) from error
            raise
        finally:
            for path in parts[1:]:
                remove(path)

    def _part(self, suffix: str) -> Path:
        return part_path(self.folder / f"{self._name}{suffix}", self.mark)

    @property
    def _name(self) -> str:
        return f"{self.prefix}{self._at:05d}"

    @property
    def _at(self) -> int:
        if self.number is None:
            self.number = self.begin()
        return self.number


def _begun(paths: list[Path]) -> Growing:
    """A shard with nothing in it, in new files of these names."""
    with ExitStack() as stack:
        files = []
        for path in paths:
            path.unlink(missing_ok=True)
            files.append(stack.enter_context(path.open("x+b")))
        tar = tarfile.open(fileobj=files[0], mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        stack.pop_all()
    return Growing(tuple(paths), tuple(files), tar, Packing(files[1], files[2]))


@contextmanager
def packing(
    out: Path, size: int | None, prefix: str, begin: Callable[[], int], mark: str
) -> Iterator[Packer | None]:
    """What packs the outputs of a process; what is unfinished at the end goes.

    Args:
        out: folder or store.
        size: inputs of a shard. None = nothing is packed.
        prefix: of the names of its shards.
        begin: gives the number of the first one.
        mark: see `part_path`.
    """
    if size is None:
        yield None
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if far(out) else out
        packer = Packer(out, prefix, size, begin, mark, folder)
        stack.callback(packer.abandon)
        yield packer


def remove(path: Path) -> None:
    """A file of a folder or store, if there is one, and as far as that can be."""
    with suppress(OSError, OutputError):
        if url := far(path):
            stores.remove(url)
        else:
            path.unlink(missing_ok=True)


def _append(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """With nothing about it that another run would not write."""
    about = tarfile.TarInfo(name)
    about.size, about.mode, about.uname, about.gname = len(data), 0o644, OWNER, OWNER
    tar.addfile(about, io.BytesIO(data))


def _about(entry: Entry, face: FaceEntry) -> bytes:
    """What stands beside the pictures of a face."""
    told = {
        "key": face.name,
        "item": entry.name,
        "face": entry.faces.index(face) + 1,
        "source": entry.source,
        "sha256": entry.sha256,
        "status": entry.status,
        "matrix": face.crop,
        "metrics": face.metrics,
        "pictures": face.pictures,
        "warnings": entry.warnings,
    }
    return json.dumps(told, sort_keys=True).encode() + b"\n"


def write_table(path: Path, entries: Iterable[Entry]) -> None:
    """The table of a shard, a row an input; the same entries give the same bytes.

    The column `entry` is its line of the journal.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    text, numbers, texts = pyarrow.string(), pyarrow.float64(), pyarrow.list_(pyarrow.string())
    pictures = pyarrow.map_(text, text)
    face = {
        "key": text,
        "matrix": pyarrow.list_(numbers),
        "metrics": pyarrow.map_(text, numbers),
        "pictures": pictures,
    }
    columns = {name: text for name in ("key", "source", "sha256", "status", "error")}
    columns |= {name: numbers for name in _METRICS}
    columns |= {"faces": pyarrow.list_(pyarrow.struct(list(face.items()))), "photos": pictures}
    columns |= {"warnings": texts, "entry": text}
    schema = pyarrow.schema(list(columns.items()), metadata={"format": FORMAT})
    rows = pyarrow.Table.from_pylist([_row(entry) for entry in entries], schema)
    with path.open("xb") as file:
        parquet.write_table(rows, file)


def _row(entry: Entry) -> dict[str, Any]:
    """Of an input; the metrics beside its faces are those of the first one."""
    metrics = entry.faces[0].metrics if entry.faces else {}
    faces = [
        {"key": f.name, "matrix": f.crop, "metrics": f.metrics, "pictures": f.pictures}
        for f in entry.faces
    ]
    return {
        "key": entry.name,
        "source": _utf8(entry.source),
        "sha256": entry.sha256,
        "status": entry.status,
        "error": _utf8(entry.reason) or None,
        **{name: metrics.get(name) for name in _METRICS},
        "faces": faces,
        "photos": entry.photos,
        "warnings": [_utf8(warning) for warning in entry.warnings],
        "entry": dumps(entry).decode(),
    }


def _utf8(text: str) -> str:
    """File names may be no text."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
