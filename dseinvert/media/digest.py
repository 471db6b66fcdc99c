"""What tells the bytes of one file from those of another."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dseinvert.errors import InputError
from dseinvert.media.atomic import shown
from dseinvert.names import open_regular


def file_sha256(path: Path) -> str:
    """The sha256 of a file of any size, as hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"{shown(path)}: cannot be read: {why}") from error
    return digest.hexdigest()
