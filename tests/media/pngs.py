"""PNG files with chunks that Pillow does not write."""

from __future__ import annotations

import struct
import zlib


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """The file with one more chunk after its header."""
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:33] + chunk + png[33:]
