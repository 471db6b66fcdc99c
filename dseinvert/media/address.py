"""How a command line names what it means: paths, and URLs of stores that fsspec reaches.

A `Path` stands for either: that of a URL keeps its scheme as the first part, `s3:/bucket/a.jpg`.
"""

from __future__ import annotations

import re
from pathlib import Path

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
_NUMBERS = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST = 1_000_000
_TABLE, _LATENTS = ".parquet", ".safetensors"


def is_url(pattern: str) -> bool:
    """Whether it names something in a store."""
    return bool(_URL.match(pattern)) and not pattern.startswith("file://")


def far(path: Path) -> str:
    """The URL that a path stands for; "" = it lies on a disk."""
    scheme, *rest = path.parts or ("",)
    return f"{scheme}//{'/'.join(rest)}" if rest and _SCHEME.fullmatch(scheme) else ""


def address(path: Path) -> str:
    """What names a path from anywhere: its URL, or the path from the root of the disk."""
    return far(path) or str(path.absolute())


def is_there(pattern: str) -> bool:
    """Whether a file or folder has a name as it stands; one that no file system takes is none."""
    try:
        return Path(pattern).exists()
    except (OSError, ValueError):
        return False


def list_of(pattern: str) -> str:
    """The file of `@FILE`, which holds a path or URL a line; "" = it is no list."""
    return pattern[1:] if pattern[:1] == "@" and pattern[1:] and not is_there(pattern) else ""


def column_of(pattern: str) -> tuple[str, str]:
    """`table.parquet:column` -> the table and the column; "" = no column is named."""
    table, colon, column = pattern.rpartition(":")
    if not colon or not table.lower().endswith(_TABLE) or "/" in column or is_there(pattern):
        return pattern, ""
    return table, column


def member_of(pattern: str) -> tuple[str, str]:
    """`00000.safetensors:name` -> the file and the latent; "" = no latent in it is named."""
    pack, colon, name = pattern.rpartition(":")
    if not colon or not pack.lower().endswith(_LATENTS) or "/" in name or is_there(pattern):
        return pattern, ""
    return pack, name


def numbered(pattern: str) -> list[str]:
    """`{000..150}.tar` -> 000.tar, ..., 150.tar; ValueError for more than a million.

    As in shells, all have as many digits as the longer end has, if one of them begins with 0.
    """
    found = None if is_there(pattern) else _NUMBERS.search(pattern)
    if found is None:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    step = 1 if first <= last else -1
    if abs(last - first) >= _MOST:
        raise ValueError(f"more than {_MOST:,} numbers")
    padded = found[1][:1] == "0" or found[2][:1] == "0"
    width = max(len(found[1]), len(found[2])) if padded else 0
    before, after = pattern[: found.start()], pattern[found.end() :]
    ends = numbered(after) if _NUMBERS.search(after) else [after]
    numbers = range(first, last + step, step)
    if len(numbers) * len(ends) > _MOST:
        raise ValueError(f"more than {_MOST:,} numbers")
    return [f"{before}{number:0{width}}{end}" for number in numbers for end in ends]


def is_plain(pattern: str) -> bool:
    """Whether it is a path or glob of a disk, which can be looked at at once."""
    if is_url(pattern) or list_of(pattern) or column_of(pattern)[1] or member_of(pattern)[1]:
        return False
    return is_there(pattern) or not _NUMBERS.search(pattern)
