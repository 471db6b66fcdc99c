"""The records of an LMDB file, read by its layout (version 1, 64-bit, little-endian).

The library itself maps the file and follows what it says, so that a damaged one ends the process.
Here every page is read where it must lie, and once at most.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEAD = 16
"""Bytes before what a page holds."""
_META = struct.Struct("<II Q Q IHH 32x Q IHH 32x Q Q Q")
"""Magic, version, address, map size; of two trees page size, flags, depth, root; last page, age."""
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_NODE = 8
"""Bytes of a record or branch before its key."""
_BIG, _OTHER = 1, 6
"""Of a record: its value lies on pages of its own; it is a tree, or several values."""


@dataclass(frozen=True)
class Record:
    """A key, and where its value lies in the file."""

    key: bytes
    start: int
    size: int


def records(file: BinaryIO, size: int) -> Iterator[Record]:
    """All records of the main table, in the order of their keys.

    Raises:
        ValueError, struct.error: it is no LMDB, or damaged.
    """
    side, root = _newest(file, size)
    pending, seen = [root], {root}
    while pending:
        number = pending.pop()
        page = _page(file, number, side, size)
        flags, count = _kind(page)
        nodes = [_node(page, index) for index in range(count)]
        if sum(_NODE + node[-1] for node in nodes) > side:
            raise ValueError(f"page {number} holds more than fits")
        if flags & _LEAF:
            for node in nodes:
                yield from _leaf(file, page, node, number * side, side, size)
        elif flags & _BRANCH:
            below = [low | high << 16 | more << 32 for _, low, high, more, _ in nodes]
            if len({*below}) < len(below) or seen & {*below}:
                raise ValueError("a page comes twice")
            seen.update(below)
            pending.extend(reversed(below))
        else:
            raise ValueError(f"page {number} is of no known kind")


def _newest(file: BinaryIO, size: int) -> tuple[int, int]:
    """Page size, and the main tree's first page, as the younger of two heads has them."""
    first = _head(file, 0)
    side = first[4]
    if not (512 <= side <= 1 << 16 and side & (side - 1) == 0):
        raise ValueError(f"pages of {side} bytes")
    newest = max(first, _head(file, side), key=lambda head: head[-1])
    if (newest[-2] + 1) * side > size:
        raise ValueError("it was cut short")
    empty = newest[11] == 2**64 - 1
    if empty:
        raise ValueError("it holds nothing")
    return side, newest[11]


def _head(file: BinaryIO, start: int) -> tuple[int, ...]:
    file.seek(start + _HEAD)
    head: tuple[int, ...] = _META.unpack(file.read(_META.size))
    if head[:2] != (_MAGIC, _VERSION):
        raise ValueError("not an LMDB of version 1")
    return head


def _page(file: BinaryIO, number: int, side: int, size: int) -> bytes:
    if (number + 1) * side > size:
        raise ValueError(f"page {number} is not there")
    file.seek(number * side)
    return file.read(side)


def _kind(page: bytes) -> tuple[int, int]:
    """Flags, and how many nodes there are."""
    _, _, flags, lower, _ = struct.unpack_from("<QHHHH", page)
    return flags, max(0, lower - _HEAD) // 2


def _node(page: bytes, index: int) -> tuple[int, int, int, int, int]:
    """Where it lies; numbers whose meaning depends on the kind of page; the key's length."""
    (place,) = struct.unpack_from("<H", page, _HEAD + 2 * index)
    return (place, *struct.unpack_from("<HHHH", page, place))


def _leaf(
    file: BinaryIO, page: bytes, node: tuple[int, int, int, int, int], at: int, side: int, size: int
) -> Iterator[Record]:
    place, low, high, flags, length = node
    start, count = place + _NODE + length, low | high << 16
    if flags & _OTHER:
        return
    key = page[place + _NODE : start]
    if flags & _BIG:
        (number,) = struct.unpack_from("<Q", page, start)
        if not _kind(_page(file, number, side, size))[0] & _OVERFLOW:
            raise ValueError(f"page {number} is of no known kind")
        start = number * side + _HEAD
    else:
        start += at
    if start + count > size:
        raise ValueError("a value is not there")
    yield Record(key, start, count)
