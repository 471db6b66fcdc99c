"""PNG files with chunks that Pillow does not write."""

from __future__ import annotations

import struct
import zlib


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """The file with one more chunk after its header."""
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:33] + chunk + png[33:]


def png(head: tuple[int, int, int, int, int, int, int], rows: bytes) -> bytes:
    """A file of that IHDR: width, height, bits, colour type, and three zeros."""
    parts = [(b"IHDR", struct.pack(">2I5B", *head)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
