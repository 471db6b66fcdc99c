"""Encoded frames kept in files of a few seconds each, so that a killed run loses at most one.

A segment holds a line of JSON, the encoder's settings, then the packets in decoding order, each
behind its time, whether it is a key frame or has alpha, and its length; alpha stands behind the
packet, whose own length then stands before it. It has its name only once it is full.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from dseinvert.errors import InputError, OutputError
from dseinvert.media.atomic import remove_stale_parts, replacing, shown
from dseinvert.media.encoding import Encoder, Encoding, Packet
from dseinvert.media.planes import Planes
from dseinvert.names import open_regular

EVERY = 250
_SUFFIX = ".segment"
_PACKET = struct.Struct("<qBI")
_KEY, _ALPHA = 1, 2
_LENGTH = struct.Struct("<I")


class Segments:
    """A context to write a clip's frames in; what an earlier run of the same settings left counts.

    A segment that was not full when it was closed, the last of a clip, is written anew.
    """

    def __init__(self, folder: Path, settings: Encoding, every: int = EVERY) -> None:
        self.folder, self.settings, self.every = folder, settings, every
        self.done = 0
        """Frames that need not be written again."""

        self.last: int | None = None
        """When the last of them is shown; None = there are none."""

        self.problems: list[str] = []
        """What was wrong with the streams that were copied beside the frames."""

        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._encoder: Encoder | None = None
        self._open_frames = 0

    @property
    def resume(self) -> Fraction | None:
        """Seconds from which on frames are wanted; None = from the beginning."""
        return None if self.last is None else (self.last + 1) * self.settings.time_base

    def __enter__(self) -> Segments:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"{shown(self.folder)}: cannot be made: {(error.strerror or '').lower()}"
            raise OutputError(why, "choose another place") from error
        remove_stale_parts(self.folder)
        full = self._full_segments()
        for path in set(segment_files(self.folder)) - set(full):
            path.unlink()
        self.done = len(full) * self.every
        self.last = max(segment_times(full[-1], self.settings)) if full else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._encoder:
            try:
                self._put(self._encoder.flush())
            except BaseException:
                self._stack.__exit__(*sys.exc_info())
                raise
        self._stack.__exit__(kind, error, trace)

    def write(self, picture: np.ndarray | Planes, pts: int) -> None:
        """Encode the next frame, [H, W, 3] uint8 or uint16, shown at `pts` ticks."""
        if self.last is not None and pts <= self.last:
            raise ValueError(f"a frame at {pts} after one at {self.last}")
        if self._encoder is None:
            self._open()
        assert self._encoder is not None
        self._put(self._encoder.encode(picture, pts))
        self.last = pts
        self._open_frames += 1
        if self._open_frames == self.every:
            self._close()

    def _open(self) -> None:
        name = f"{len(segment_files(self.folder)):06d}{_SUFFIX}"
        part = self._stack.enter_context(replacing(self.folder / name))
        self._file = self._stack.enter_context(part.open("wb"))
        self._file.write(_head(self.settings))
        self._encoder = Encoder(self.settings)

    def _put(self, packets: Iterator[Packet]) -> None:
        assert self._file is not None
        for packet in packets:
            data, marks = packet.data, _KEY * packet.key
            if packet.alpha:
                data, marks = _LENGTH.pack(len(data)) + data + packet.alpha, marks | _ALPHA
            self._file.write(_PACKET.pack(packet.pts, marks, len(data)))
            self._file.write(data)

    def _close(self) -> None:
        assert self._encoder is not None
        self._put(self._encoder.flush())
        self._encoder, self._file, self._open_frames = None, None, 0
        self._stack.close()

    def _full_segments(self) -> list[Path]:
        """The leading segments that hold `every` frames of these settings."""
        full: list[Path] = []
        for index, path in enumerate(segment_files(self.folder)):
            if path.stem != f"{index:06d}":
                break
            try:
                if len(segment_times(path, self.settings)) != self.every:
                    break
            except InputError:  # of other settings, or damaged
                break
            full.append(path)
        return full


def segment_files(folder: Path) -> list[Path]:
    """The closed segments of a folder in order."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def segment_times(path: Path, settings: Encoding) -> list[int]:
    """The `pts` of a segment's packets in decoding order, without reading their data."""
    times: list[int] = []
    with _opened(path, settings) as file:
        size = os.fstat(file.fileno()).st_size
        while head := file.read(_PACKET.size):
            if len(head) < _PACKET.size:
                raise InputError(f"{shown(path)}: is damaged", "delete it")
            pts, marks, length = _PACKET.unpack(head)
            least = _LENGTH.size if marks & _ALPHA else 0
            if length < least or file.seek(length, 1) > size:
                raise InputError(f"{shown(path)}: is damaged", "delete it")
            times.append(pts)
    return times


def read_segment(path: Path, settings: Encoding) -> Iterator[Packet]:
    """The packets of a segment in decoding order; InputError where it is of other `settings`."""
    with _opened(path, settings) as file:
        while head := file.read(_PACKET.size):
            pts, marks, length = _PACKET.unpack(head)
            data, alpha = file.read(length), b""
            if marks & _ALPHA:
                end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
                data, alpha = data[_LENGTH.size : end], data[end:]
            yield Packet(pts, bool(marks & _KEY), data, alpha)


@contextmanager
def _opened(path: Path, settings: Encoding) -> Iterator[BinaryIO]:
    """A segment at its first packet; InputError where it is no file, or of other `settings`."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise InputError(f"{shown(path)}: {(error.strerror or '').lower()}", "delete it") from error
    with file:
        if file.readline(1 << 16) != _head(settings):
            raise InputError(f"{shown(path)}: was made with other settings", "delete it")
        yield file


def _head(settings: Encoding) -> bytes:
    return json.dumps(settings.as_json(), sort_keys=True).encode() + b"\n"
