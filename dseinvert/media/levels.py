"""Mastering display and light levels of HDR10 for the headers of containers.

FFmpeg writes them where a stream is copied that has them, so a stream without a frame is made that
has: boxes `mdcv` and `clli` of ISO/IEC 14496-12 in an mp4 of a header alone.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from typing import Any

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_BOX = struct.Struct(">I4s")
_TABLE = 8  # bytes before the entries of a `stsd`
_MASTERING = re.compile(
    r"master-display=G\((\d+),(\d+)\)B\((\d+),(\d+)\)R\((\d+),(\d+)\)WP\((\d+),(\d+)\)L\((\d+),(\d+)\)"
)
_START = re.compile(rb"\x00{2,}\x01")
_LIGHT = re.compile(r"max-cll=(\d+),(\d+)")


def boxes_of(hdr10: str) -> bytes:
    """The boxes of what `Encoding.hdr10` says; none where it says nothing that fits."""
    mastering, light = _MASTERING.search(hdr10), _LIGHT.search(hdr10)
    found = b""
    try:
        if mastering:
            found += _box(b"mdcv", struct.pack(">8H2I", *map(int, mastering.groups())))
        if light:
            found += _box(b"clli", struct.pack(">2H", *map(int, light.groups())))
    except struct.error:
        return b""
    return found


def header_with(boxes: bytes, add_stream: Callable[[Any], object]) -> io.BytesIO:
    """An mp4 without frames whose only stream, which `add_stream` adds, has the boxes."""
    import av

    file = io.BytesIO()
    options = {"movflags": "+empty_moov+default_base_moof", "fflags": "+bitexact"}
    with av.open(file, "w", format="mp4", container_options=options) as output:
        add_stream(output)
        output.start_encoding()
    return io.BytesIO(_inserted(file.getvalue(), boxes))


def with_lengths(packet: bytes) -> bytes:
    """A packet as such a stream holds them: lengths before its units in place of start codes."""
    units = _START.split(packet)[1:]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def _inserted(data: bytes, boxes: bytes) -> bytes:
    """The boxes at the end of the first entry, and the sizes of all around it grown."""
    grown, start, stop = bytearray(data), 0, len(data)
    for name in _PARENTS:
        start, stop = _find(data, name, start, stop)
        _grow(grown, start - _BOX.size, len(boxes))
        start += _TABLE if name == b"stsd" else 0
    size, _ = _BOX.unpack_from(data, start)
    _grow(grown, start, len(boxes))
    return bytes(grown[: start + size] + boxes + grown[start + size :])


def _find(data: bytes, name: bytes, start: int, stop: int) -> tuple[int, int]:
    """What lies in the first box of that name."""
    while start < stop:
        size, found = _BOX.unpack_from(data, start)
        if found == name:
            return start + _BOX.size, start + size
        start += max(size, _BOX.size)
    raise ValueError(name)


def _grow(data: bytearray, at: int, by: int) -> None:
    size, name = _BOX.unpack_from(data, at)
    _BOX.pack_into(data, at, size + by, name)


def _box(name: bytes, content: bytes) -> bytes:
    return _BOX.pack(_BOX.size + len(content), name) + content
