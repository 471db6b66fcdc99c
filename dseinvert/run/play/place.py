"""The folder that pictures are written to, which remembers what was there before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from dseinvert.media.address import far
from dseinvert.media.atomic import make_folder, shown, sync_folder, within, write_bytes
from dseinvert.media.digest import file_sha256
from dseinvert.names import counted

_NAMED = 3


@dataclass(frozen=True)
class Place:
    """An output folder; threads may write to it at once."""

    out: Path
    replaced: list[str] = field(default_factory=list)
    """Files that were there with other contents."""
    mark: str = ""
    """Of temporary files; see `part_path`."""
    digests: dict[str, str] = field(default_factory=dict)
    """The sha256 of what was written into a store, by name, until it is asked for."""

    @classmethod
    def made(cls, out: Path, mark: str = "") -> Place:
        """The folder, which exists afterwards; OutputError where it cannot."""
        make_folder(out)
        return cls(out, mark=mark)

    def path(self, name: str) -> Path:
        """Where a file is going to be written; one that is there counts as replaced."""
        path = within(self.out, name)
        if path.exists():
            self.replaced.append(name)
        return path

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; `sync` says when all of them must be on the disk."""
        path = within(self.out, name)
        if path.is_file() and path.read_bytes() != data:
            self.replaced.append(name)
        write_bytes(path, data, sync=False, mark=self.mark)
        if far(self.out):
            self.digests[name] = hashlib.sha256(data).hexdigest()

    def sha256(self, name: str) -> str:
        """Of a file that was written just now; "" = it was not written from memory into a store."""
        return self.digests.pop(name, "") if far(self.out) else file_sha256(self.out / name)

    def sync(self) -> None:
        """All that was written is on the disk afterwards."""
        sync_folder(self.out)

    def told(self) -> list[str]:
        """A line about what was replaced; nothing where nothing was."""
        if not self.replaced:
            return []
        some = ", ".join(self.replaced[:_NAMED]) + ", ..." * (len(self.replaced) > _NAMED)
        return [f"{counted(len(self.replaced), 'file')} in {shown(self.out)} replaced: {some}"]
