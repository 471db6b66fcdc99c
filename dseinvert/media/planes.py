"""Pictures as a video stores them: as YUV, RGB or grey, upright, and changes put into parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dseinvert.media.colour import FULL, Colours, Turn, luma_weights, own_range

Window = tuple[slice, slice]
"""Rows and columns of a picture."""

_PLANAR = re.compile(r"yuvj?(a?)(420|422|440|444)p(?:(9|10|12|14|16)le)?")
_OF_RGB = re.compile(r"gbr(a?)p()(?:(9|10|12|14|16)le)?")
_GREY = re.compile(r"gray()()(?:(9|10|12|14|16)le)?")
_RGB_DEPTHS = (8, 9, 10, 12, 14, 16)
_BLOCKS = {"": (1, 1), "420": (2, 2), "422": (1, 2), "440": (2, 1), "444": (1, 1)}
_TURNED = {"422": "440", "440": "422"}


@dataclass(frozen=True)
class Planes:
    """The samples of one picture; nobody writes into them."""

    format: str
    """A planar format by FFmpeg's name: YUV, but never one of the `yuvj` names, RGB or grey."""
    colours: Colours
    """With the matrix and the range of the samples."""
    parts: tuple[NDArray[Any], ...]
    """Y, U, V or G, B, R or grey, and where there is one alpha: [H, W] or of chroma less, uint8 or
    uint16."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.parts[0].shape
        return width, height

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of pixels that share a sample of chroma."""
        return _BLOCKS[_read(self.format)[1]]

    def with_change(
        self, before: NDArray[Any], after: NDArray[Any], windows: Iterable[Window]
    ) -> Planes:
        """The same picture with what was changed in it as RGB.

        The change itself is converted and added: a sample none of whose pixels changed stays, bit
        for bit, and what a conversion to RGB and back would lose is not lost.

        Args:
            before, after: [H, W, 3] uint8 or uint16 of full range: the picture and the changed one.
            windows: what holds all of the changes; rounded outwards to whole blocks of chroma.
        """
        count = 1 if _GREY.fullmatch(self.format) else 3
        parts = (*(part.copy() for part in self.parts[:count]), *self.parts[count:])
        for window in windows:
            rows, columns = self._whole_blocks(window)
            old, new = before[rows, columns], after[rows, columns]
            if not np.array_equal(old, new):
                change = cv2.subtract(new, old, dtype=cv2.CV_32F)
                self._add(parts, (rows, columns), cv2.transform(change, self._matrix(old.dtype)))
        return replace(self, parts=parts)

    def padded(self, width: int, height: int) -> Planes:
        """Grown to the right and below by repeating the last columns and rows."""
        if self.size == (width, height):
            return self
        down, right = self.block
        small = -(-height // down), -(-width // right)
        shapes = (height, width), small, small, (height, width)
        pairs = zip(self.parts, shapes, strict=False)
        return replace(self, parts=tuple(grown(part, *shape) for part, shape in pairs))

    def without_alpha(self) -> Planes:
        """All but the alpha."""
        name = self.format.replace("yuva", "yuv").replace("gbrap", "gbrp")
        return replace(self, format=name, parts=self.parts[:3])

    def beside(self, other: Planes) -> Planes:
        """Both in one picture, this one on the left; the width of both is even."""
        pairs = zip(self.parts, other.parts, strict=True)
        return replace(self, parts=tuple(np.hstack(pair) for pair in pairs))

    def frame(self) -> Any:
        """A new frame of PyAV with a copy of the samples."""
        import av

        frame = av.VideoFrame(*self.size, self.format)
        for plane, samples in zip(frame.planes, self.parts, strict=True):
            rows = np.frombuffer(plane, samples.dtype).reshape(plane.height, -1)
            rows[:, : samples.shape[1]] = samples
        return frame

    def _whole_blocks(self, window: Window) -> Window:
        found = (
            slice(part.start // step * step, min(-(-part.stop // step) * step, length))
            for part, step, length in zip(window, self.block, self.parts[0].shape, strict=True)
        )
        rows, columns = found
        return rows, columns

    def _matrix(self, dtype: Any) -> NDArray[np.float32]:
        """From a change of RGB [3] to one of the samples (ITU-T H.273 equations 38 to 40)."""
        if _OF_RGB.fullmatch(self.format):
            most = (2 ** _depth(self.format) - 1) / np.iinfo(dtype).max
            return np.asarray(np.eye(3)[[1, 2, 0]] * most, np.float32)
        red, blue = luma_weights(self.colours.matrix)
        luma = np.array([red, 1 - red - blue, blue])
        u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
        v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
        depth = _depth(self.format)
        steps = [2**depth - 1] * 3
        if self.colours.range != FULL:
            steps = [scale << (depth - 8) for scale in (219, 224, 224)]
        scaled = np.stack([luma, u, v]) * np.array(steps)[:, None] / np.iinfo(dtype).max
        return scaled.astype(np.float32)

    def _add(self, parts: tuple[NDArray[Any], ...], window: Window, change: Any) -> None:
        """Add a change [h, w, 3] of the samples to the window of `parts`, which are copies."""
        _add_to(parts[0][window], change[..., 0], _depth(self.format))
        if _GREY.fullmatch(self.format):
            return
        rows, columns = self.block
        height, width = change.shape[:2]
        wide = grown(change[..., 1:], -(-height // rows) * rows, -(-width // columns) * columns)
        small = (wide.shape[1] // columns, wide.shape[0] // rows)
        shared = cv2.resize(wide, small, interpolation=cv2.INTER_AREA)
        y, x = window[0].start // rows, window[1].start // columns
        here = slice(y, y + small[1]), slice(x, x + small[0])
        for k in (1, 2):
            _add_to(parts[k][here], shared[..., k - 1], _depth(self.format))


def upright_format(name: str, turn: Turn) -> str | None:
    """The format of upright planes of frames of the format `name`; None = there is none.

    `yuv422p` on its side is `yuv440p`; alpha has no format for that. Packed RGB and palettes
    are as planes of the same values.
    """
    if not _PLANAR.fullmatch(name):
        return name if _GREY.fullmatch(name) else _planar_rgb(name)
    alpha, chroma, _ = _read(name)
    if not turn.transpose or chroma not in _TURNED:
        return name.replace("yuvj", "yuv")
    turned = name.replace("yuvj", "yuv").replace(chroma, _TURNED[chroma])
    return None if alpha or _depth(name) not in (8, 10, 12) else turned


def is_yuv(name: str) -> bool:
    """Whether FFmpeg's name is that of a YUV format, in which RGB and grey are not exact."""
    return name.startswith(("yuv", "nv", "p0"))


def as_written(name: str) -> str:
    """The format in which FFV1 holds planes of the format `name`."""
    return {"gbrp": "bgr0", "gbrap": "bgra"}.get(name, name)


def _is_planar(name: str) -> bool:
    return any(kind.fullmatch(name) for kind in (_PLANAR, _OF_RGB, _GREY))


def _planar_rgb(name: str) -> str | None:
    import av

    found = av.VideoFormat(name, 16, 16)
    parts = found.components
    depth, alpha = parts[0].bits, any(part.is_alpha for part in parts)
    packed = found.is_rgb or found.has_palette or name in ("ya8", "ya16le", "ya16be")
    if not packed or depth not in _RGB_DEPTHS or "f" in name:
        return None
    depth = 10 if alpha and depth == 9 else depth
    return f"gbr{'a' * alpha}p{'' if depth == 8 else f'{depth}le'}"


def planes_of(frame: Any, turn: Turn, colours: Colours) -> Planes | None:
    """The upright samples of a decoded frame, which they share where nothing moves.

    None = the frame is of no such format, or of an odd size whose last block of chroma would come
    first.
    """
    name = upright_format(frame.format.name, turn)
    if name is None or not _is_planar(frame.format.name) or _cut_block_first(frame, turn):
        return None
    kind = np.uint8 if _depth(name) == 8 else np.uint16
    parts = [
        np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
        for plane in frame.planes
    ]
    return Planes(
        name,
        replace(colours, range=own_range(frame, colours.range)),
        tuple(part if turn == Turn() else turn(part) for part in parts),
    )


def _cut_block_first(frame: Any, turn: Turn) -> bool:
    rows, columns = _BLOCKS[_read(frame.format.name)[1]]
    flip_rows, flip_columns = (turn.flip_y, turn.flip_x)
    if turn.transpose:
        flip_rows, flip_columns = flip_columns, flip_rows
    return bool(flip_rows and frame.height % rows) or bool(flip_columns and frame.width % columns)


def _read(name: str) -> tuple[str, str, int]:
    """`yuva420p10le` -> "a", "420", 10."""
    found = _PLANAR.fullmatch(name) or _OF_RGB.fullmatch(name) or _GREY.fullmatch(name)
    assert found is not None
    return found[1], found[2], int(found[3] or 8)


def _depth(name: str) -> int:
    return _read(name)[2]


def grown(part: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """[H, W] or [H, W, C] with its last row and column repeated up to a height and a width."""
    below, right = height - part.shape[0], width - part.shape[1]
    if not (below or right):
        return part
    return cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)


def _add_to(samples: NDArray[Any], change: NDArray[Any], depth: int) -> None:
    samples[...] = np.rint(samples + change).clip(0, 2**depth - 1)
