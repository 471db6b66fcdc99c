"""Files of faces that a photo showed when it was done before, and does not show any more.

`edit FOLDER` would draw their latents. What somebody has changed since stays, and so does what
was made of the other faces with other edits or in another format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from dseinvert.errors import InputError, OutputError
from dseinvert.media import stores
from dseinvert.media.address import far
from dseinvert.media.digest import file_sha256
from dseinvert.run.flow.names import folded
from dseinvert.run.images.journal import Entry


def files_gone(before: Entry, now: Entry, taken: Collection[str]) -> Mapping[str, str]:
    """Of the faces of an earlier entry that are not in this one: their files, and the sha256.

    taken: the folded names of all inputs, whose files may be called as those of a face were.
    """
    if before.pack or now.status not in ("done", "skipped"):
        return {}
    here = {face.name for face in now.faces}
    own = [f for f in before.faces if f.name == now.name or folded(f.name) not in taken]
    gone = [f for f in own if f.name not in here]
    named = {name for f in gone for name in (f"{f.name}.safetensors", *f.pictures.values())}
    return {n: before.files[n] for n in named if n in before.files and n not in now.files}


def remove_gone(out: Path, files: Mapping[str, str]) -> int:
    """Remove those that are as they were written; how many these are.

    One that cannot be read or removed stays.
    """
    return sum(_is_removed(out / name, sha256) for name, sha256 in files.items())


def _is_removed(path: Path, sha256: str) -> bool:
    url = far(path)
    with suppress(OSError, InputError, OutputError):
        found = hashlib.sha256(stores.read(url)).hexdigest() if url else file_sha256(path)
        if found == sha256 and not path.is_symlink():
            stores.remove(url) if url else path.unlink()
            return True
    return False
