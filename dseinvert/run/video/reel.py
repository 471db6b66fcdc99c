"""The frames of a few seconds of a clip, kept by the first pass over it for those that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dseinvert.media.video_read import Frame

ROOM = 256 << 20
"""Bytes of frames that are kept; 1.2 s of 1080p at 30 fps take 214 MiB."""


class Reel:
    """Frames as they were read, if all of them take little room; else none.

    To reach the first frame of a part, all since a key frame must be decoded, each time anew.
    """

    def __init__(self, room: int = ROOM) -> None:
        """`room`: bytes that all frames together may take."""
        self._left, self._whole = room, False
        self._frames: list[Frame] = []

    def keeping(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, of one reading from its beginning to its end."""
        for frame in frames:
            self._left -= frame.pixels.nbytes
            if self._left >= 0:
                self._frames.append(frame)
            else:
                self._frames.clear()
            yield frame
        self._whole = self._left >= 0

    @property
    def frames(self) -> Sequence[Frame]:
        """All frames of that reading in order; none where it did not end, or they were too many."""
        return self._frames if self._whole else ()
