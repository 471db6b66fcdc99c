"""A TOML file of a stranger: read where that takes neither minutes nor the whole stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dseinvert.names import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LONGEST, _DOTS, _ALL_DOTS = 1 << 20, 1000, 200_000
"""Bytes of a file, dots in a line and in all: each may nest its key deeper, by a table more."""


def read_toml(path: Path) -> dict[str, Any]:
    """The table that a file is.

    Raises:
        OSError: it is not there, or no regular file. ValueError: no TOML, or far too much of it.
    """
    return toml_value(read_short(path))


def read_short(path: Path) -> bytes:
    """The bytes of a file of words; raises as `read_toml` where it is far too long."""
    with open_regular(path) as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError(f"more than {_LONGEST >> 20} MiB")
    return data


def toml_value(data: bytes) -> dict[str, Any]:
    """The same of its bytes."""
    by_line = [line.count(b".") for line in data.splitlines()]
    if max(by_line, default=0) > _DOTS or sum(by_line) > _ALL_DOTS:
        raise ValueError("keys of far too many dots")
    try:
        return tomllib.loads(data.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
