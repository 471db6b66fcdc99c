"""Whether a video file ends before its own boxes do, or is encrypted: told by its structure.

ISO media files are boxes of (size, name), Matroska files elements of (name, size), both with
variable-length numbers; AVI files are one RIFF chunk. All of them announce how long they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ISO_NAMES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide"})
_PAYLOAD = frozenset({b"moov", b"moof", b"mdat"})
_MOST_INDEX = 64 << 20
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675


def ends_early(path: Path) -> bool:
    """True for a file whose last box or element reaches behind its end; False = it may be whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
            if head[4:8] in _ISO_NAMES:
                return any(name in _PAYLOAD and end > size for name, _, end in _boxes(file, size))
            if head[:4] == b"\x1a\x45\xdf\xa3":
                return _matroska_ends_early(file, 0, size)
            if head[:4] == b"RIFF" and head[8:] == b"AVI ":
                return 8 + int.from_bytes(head[4:8], "little") > size
    except OSError:
        pass
    return False


def whole_length(path: Path) -> int:
    """Where the last complete box of an ISO media file ends; the file's length for others."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(8)[4:] in _ISO_NAMES:
                return max((end for *_, end in _boxes(file, size) if end <= size), default=size)
    except OSError:
        return 0
    return size


def is_protected(path: Path) -> bool:
    """True for an ISO media file that declares encrypted sample entries (ISO/IEC 23001-7)."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(8)[4:] not in _ISO_NAMES:
                return False
            for name, start, end in _boxes(file, size):
                if name == b"moov":
                    file.seek(start)
                    index = file.read(min(end - start, _MOST_INDEX))
                    return b"encv" in index or b"enca" in index
    except OSError:
        pass
    return False


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and announced end of each outermost box."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:  # to the end of the file
            length = size - at
        if length < 8:
            return
        yield name, at, at + length
        at += length


def _matroska_ends_early(file: BinaryIO, at: int, size: int) -> bool:
    """Walk the elements; a segment is entered, a cluster only where its size is not said."""
    while at < size:
        file.seek(at)
        head = file.read(12)
        name, name_bytes = _number(head, keep_marker=True)
        length, length_bytes = _number(head[name_bytes:])
        if not (name_bytes and length_bytes):
            return len(head) < 12  # else these are no elements, and nothing can be said
        at += name_bytes + length_bytes
        unknown = length == (1 << 7 * length_bytes) - 1
        if name == _SEGMENT or (name == _CLUSTER and unknown):
            if not unknown and at + length > size:
                return True
            continue
        if unknown:
            return False
        at += length
    return at > size


def _number(data: bytes, keep_marker: bool = False) -> tuple[int, int]:
    """An EBML number (RFC 8794 section 4) and its length in bytes; 0, 0 = there is none."""
    length = 9 - data[0].bit_length() if data and data[0] else 0
    if not length or len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), length
