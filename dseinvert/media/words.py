"""Subtitles of text turned into the kind that a container holds: 3GPP, SubRip, ASS, WebVTT."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping

_HELD: Mapping[str, tuple[str, frozenset[str]]] = {
    "mp4": ("mov_text", frozenset({"mov_text"})),
    "mov": ("mov_text", frozenset({"mov_text"})),
    "matroska": ("subrip", frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "text"})),
    "webm": ("webvtt", frozenset({"webvtt"})),
}
"""The kind that each container is written with, and those that it holds."""
_ASS_FIELDS = 8  # before the text of an event: order, layer, style, name, margins, effect
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def converted(container: str, codec: str) -> tuple[str, Callable[[bytes], bytes]] | None:
    """The kind that words of a codec become in a container, and how a packet does.

    None = they stay as they are, or are no text. Fonts, colours and places are not kept.
    """
    kind, held = _HELD[container]
    if codec in held or codec not in _READ:
        return None
    read, write = _READ[codec], _written_as_3gpp if kind == "mov_text" else str.encode
    return kind, lambda data: write(read(data))


def _read_3gpp(data: bytes) -> str:
    """ISO/IEC 14496-17: a length, that much text, and boxes of style."""
    (length,) = struct.unpack_from(">H", data) if len(data) > 1 else (0,)
    text = data[2 : 2 + length]
    wide = text[:2] in (b"\xfe\xff", b"\xff\xfe")
    return text.decode("utf-16" if wide else "utf-8", "replace")


def _written_as_3gpp(text: str) -> bytes:
    data = text.encode()[:0xFFFF]
    return struct.pack(">H", len(data)) + data


def _read_text(data: bytes) -> str:
    return _MARKUP.sub("", data.decode("utf-8", "replace")).strip()


def _read_ass(data: bytes) -> str:
    fields = data.decode("utf-8", "replace").split(",", _ASS_FIELDS)
    text = _MARKUP.sub("", fields[-1])
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ").strip()


_READ: Mapping[str, Callable[[bytes], str]] = {
    "mov_text": _read_3gpp,
    "ass": _read_ass,
    "ssa": _read_ass,
    "subrip": _read_text,
    "srt": _read_text,
    "text": _read_text,
    "webvtt": _read_text,
}
