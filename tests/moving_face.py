"""Clips of a few dozen small frames in which a face moves over a background."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from dseinvert.media.images import read_image

FACES = Path(__file__).parent / "portraits"
RATE, TICK, STEP = 25, Fraction(1, 12800), 512
SIZE = (176, 144)
_SOUND_RATE, _SAMPLES = 8000, 1024


def background(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A soft picture [H, W, 3] of nothing."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    planes = [60 + 80 * columns / size[0], 90 + 60 * rows / size[1], 110 + 0 * rows]
    return np.stack(planes, -1).astype(np.uint8)


def portrait(number: int = 1, side: int = 112) -> np.ndarray:
    """A face [side, side, 3] of the examples, hair and shoulders around it."""
    image = read_image(FACES / f"portrait-{number}.jpg")
    side_px = min(image.shape[:2])
    top, left = ((length - side_px) // 2 for length in image.shape[:2])
    square = image[top : top + side_px, left : left + side_px]
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def frames(
    count: int,
    size: tuple[int, int] = SIZE,
    without: Collection[int] = (),
    faces: tuple[int, ...] = (1,),
) -> list[np.ndarray]:
    """Frames [H, W, 3] in which faces go to the right; those of `without` have none."""
    side = min(112, size[0] // len(faces) - 4)
    pictures = [portrait(face, side) for face in faces]
    made = []
    for index in range(count):
        frame = background(size)
        for k, picture in enumerate([] if index in without else pictures):
            x = 4 + k * size[0] // len(faces) + index % 30
            x = min(x, size[0] - side)
            y = (size[1] - side) // 2
            frame[y : y + side, x : x + side] = picture
        made.append(frame)
    return made


def clip(
    path: Path,
    count: int = 16,
    *,
    size: tuple[int, int] = SIZE,
    without: Collection[int] = (),
    faces: tuple[int, ...] = (1,),
    sound: bool = False,
    times: list[int] | None = None,
    pixel_format: str = "yuv420p",
) -> Path:
    """A video of `frames`, written with PyAV alone; times: `pts`, None = every STEP ticks."""
    times = times or [*range(0, count * STEP, STEP)]
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", RATE, options={"g": "8", "crf": "12"})
        video.width, video.height, video.pix_fmt = *size, pixel_format
        video.codec_context.time_base = TICK
        noise = output.add_stream("aac", _SOUND_RATE) if sound else None
        if noise:
            output.mux(_sound(noise, count))
        for pts, pixels in zip(times, frames(count, size, without, faces), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = pts, TICK
            output.mux(_lasting(video.encode(frame)))
        output.mux(_lasting(video.encode(None)))
    return path


def _lasting(packets: list[Any]) -> list[Any]:
    for packet in packets:
        packet.duration = packet.duration or STEP
    return packets


def _sound(stream: Any, count: int) -> list[Any]:
    wave = np.sin(np.arange(_SOUND_RATE * count // RATE) * 0.3).astype(np.float32) / 4
    packets = []
    for at in range(0, len(wave), _SAMPLES):
        piece = wave[None, at : at + _SAMPLES]
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = _SOUND_RATE, Fraction(1, _SOUND_RATE), at
        packets += stream.encode(frame)
    return packets + stream.encode(None)
