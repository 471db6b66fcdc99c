"""What the numbers of a video's pixels mean, and the way from them to upright RGB and back."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

# The numbers of ISO/IEC 23091-2 (H.273), which every codec and container uses.
RGB, BT709, UNSPECIFIED, FCC, BT601, SMPTE240M, BT2020 = 0, 1, 2, 4, 6, 7, 9
_BT470BG, _BT2020_CONSTANT = 5, 10
PQ, HLG = 16, 18
LIMITED, FULL = 1, 2
"""Ranges as the decoder names them; 0 = not said, which players take for limited."""

# The scaler has its own numbers for the matrices it knows.
_SCALER = {BT709: 1, FCC: 4, _BT470BG: 5, BT601: 5, SMPTE240M: 7, BT2020: 9, _BT2020_CONSTANT: 9}
# Red's and blue's share of luma (H.273 table 4), for the matrices that the scaler knows.
_LUMA = {
    **{BT709: (0.2126, 0.0722), FCC: (0.30, 0.11), _BT470BG: (0.299, 0.114)},
    **{BT601: (0.299, 0.114), SMPTE240M: (0.212, 0.087)},
    **{BT2020: (0.2627, 0.0593), _BT2020_CONSTANT: (0.2627, 0.0593)},
}
# Bilinear, area; both with accurate rounding and chroma at full width: within half a step of the
# formula where the default of the scaler is off by three; a round trip costs 0.05 steps^2.
_EXACT = 0x40000 | 0x2000 | 0x4000
# What it takes for white among 16-bit samples; a range of ours is the whole of them.
_WHITE = {LIMITED: 65283, FULL: 65472}
_TO_RGB, _FROM_RGB = 2 | _EXACT, 32 | _EXACT


@dataclass(frozen=True)
class Colours:
    """A clip's colour tags, as numbers of H.273."""

    range: int = 0
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def hdr(self) -> bool:
        """True for the transfer curves of high dynamic range."""
        return self.transfer in (PQ, HLG)


@dataclass(frozen=True)
class Turn:
    """How decoded pixels are brought upright: transposed, then mirrored."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """`pixels` [H, W, ...] upright; a copy where anything moves."""
        if self.transpose:
            pixels = pixels.swapaxes(0, 1)
        rows, columns = (
            slice(None, None, -1 if flip else 1) for flip in (self.flip_y, self.flip_x)
        )
        return np.ascontiguousarray(pixels[rows, columns])

    @property
    def degrees(self) -> int:
        """The clockwise part of the turn: 0, 90, 180 or 270 (a mirrored picture has one too)."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0


def turn_of(matrix: bytes) -> Turn:
    """The quarter turn nearest to a display matrix (ISO/IEC 14496-12 8.3.2.3: nine int32)."""
    a, b, _, c, d = struct.unpack("<5i", matrix[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(False, a < 0, d < 0)
    return Turn(True, c < 0, b < 0)


def guessed(colours: Colours, width: int, height: int) -> Colours:
    """`colours` with a matrix and a range: what players take where the file does not say."""
    matrix = colours.matrix
    if matrix not in _SCALER:
        matrix = BT709 if width >= 1280 or height > 576 else BT601
    return Colours(colours.range or LIMITED, matrix, colours.primaries, colours.transfer)


def luma_weights(matrix: int) -> tuple[float, float]:
    """Red's and blue's share of luma by a matrix that `guessed` gives."""
    return _LUMA[matrix]


class Converter:
    """Decoded frames to RGB and back, with the buffers of the scaler kept between frames."""

    def __init__(self, colours: Colours, width: int, height: int) -> None:
        """`colours` as `guessed`; a frame of another size is scaled to `width` x `height`."""
        from av.video.reformatter import VideoReformatter

        self._scaler = VideoReformatter()
        self._matrix = _SCALER[colours.matrix]
        self._range = colours.range
        self._size = width, height

    def to_rgb(self, frame: Any, depth: int = 8) -> np.ndarray:
        """[H, W, 3] uint8 of full range, or uint16 for a `depth` of 16."""
        own = own_range(frame, self._range)
        packed = "rgb24" if depth == 8 else "rgb48le"
        pixels = self._reformat(frame, packed, _TO_RGB, (own, FULL)).to_ndarray()
        if depth == 8 or frame.format.is_rgb:
            return pixels
        return _scaled(pixels, 65535 / _WHITE[own])

    def from_rgb(self, pixels: np.ndarray, pixel_format: str) -> Any:
        """A frame of `pixel_format` from [H, W, 3] uint8 or uint16."""
        import av

        packed = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
        if packed == "rgb48le":
            pixels = _scaled(pixels, _WHITE[LIMITED] / 65535)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=packed)
        return self._reformat(frame, pixel_format, _FROM_RGB, (FULL, self._range))

    def from_frame(self, frame: Any, pixel_format: str, own: int) -> Any:
        """A frame of `pixel_format`: the same one where it needs no change. own: its range."""
        ranged = own == self._range or frame.format.is_rgb
        as_it_is = frame.format.name == pixel_format and ranged
        if as_it_is and (frame.width, frame.height) == self._size:
            return frame
        return self._reformat(frame, pixel_format, _FROM_RGB, (own, self._range))

    def _reformat(self, frame: Any, pixel_format: str, how: int, ranges: tuple[int, int]) -> Any:
        return self._scaler.reformat(
            frame,
            *self._size,
            pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            interpolation=how,
            src_color_range=ranges[0],
            dst_color_range=ranges[1],
        )


def _scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Samples times `factor`, rounded, without overflow."""
    import cv2

    return cv2.addWeighted(pixels, factor, pixels, 0, 0)


def own_range(frame: Any, otherwise: int) -> int:
    """A frame's: RGB and the `yuvj` formats are of full range whatever the tags say."""
    return FULL if frame.format.is_rgb or frame.format.name.startswith("yuvj") else otherwise
