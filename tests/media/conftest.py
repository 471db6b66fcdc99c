"""Video clips for the tests, made on the spot: each is a few dozen small pictures with a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

RATE = 25
TICK = Fraction(1, 12800)
STEP = 512
SOUND_RATE = 48000


def numbered(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture [H, W, 3] that shows `index` as eight black or white bars over a soft gradient."""
    rows, columns = np.mgrid[0:height, 0:width]
    gradient = [60 + 100 * columns / width, 80 + 80 * rows / height, 120 + 0 * rows + index % 30]
    image = np.stack(gradient, -1).astype(np.uint8)
    for bit in range(8):
        bar = slice(bit * width // 8, (bit + 1) * width // 8)
        image[: height // 2, bar] = 235 if index >> bit & 1 else 20
    return image


def number_of(pixels: np.ndarray) -> int:
    """The number that `numbered` drew."""
    height, width = pixels.shape[:2]
    middles = [(2 * bit + 1) * width // 16 for bit in range(8)]
    white = float(np.iinfo(pixels.dtype).max) / 2
    return sum(int(pixels[height // 4, x].mean() > white) << bit for bit, x in enumerate(middles))


def make_clip(
    path: Path,
    frames: int = 30,
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    kind: str | None = None,
    times: Sequence[int] | None = None,
    tick: Fraction = TICK,
    rotation: float | None = None,
    aspect: Fraction | None = None,
    tags: tuple[int, int, int, int] = (0, 2, 2, 2),
    sounds: int = 0,
    sound_codec: str = "aac",
    sound_start: Fraction = Fraction(0),
    subtitles: bool = False,
    chapters: bool = False,
    cover: bool = False,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """A video of `numbered` pictures, written with PyAV alone.

    times: `pts` of the frames; None = every STEP ticks. tags: range, matrix, primaries, transfer.
    """
    width, height = size
    with av.open(str(path), "w", format=kind, container_options=container or {}) as output:
        video = output.add_stream(codec, RATE, options={"g": "10", **(options or {})})
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.codec_context.time_base = tick
        context = video.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = tags
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation is not None:
            video.set_display_rotation(rotation)
        tracks = [output.add_stream(sound_codec, SOUND_RATE) for _ in range(sounds)]
        words = output.add_mux_stream("subrip", time_base=Fraction(1, 1000)) if subtitles else None
        picture = _cover(output) if cover else None
        output.metadata.update(metadata or {})
        if chapters:
            output.set_chapters([_chapter(0, 0, 500), _chapter(1, 500, 1200)])
        if picture:
            output.mux(picture)
        for index, track in enumerate(tracks):
            for packet in _sound(track, frames, 440 * (index + 1), sound_start):
                output.mux(packet)
        if words:
            output.mux(_words(words))
        shown_at = [*(times or range(0, frames * STEP, STEP))]
        until = dict(zip(shown_at, [*shown_at[1:], shown_at[-1] + STEP], strict=True))
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(index, *size), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = shown_at[index]
            frame.time_base = tick
            output.mux(_lasting(video.encode(frame), until))
        output.mux(_lasting(video.encode(None), until))
    return path


def write_planes(path: Path, planes: np.ndarray, pixel_format: str, **tags: int) -> Path:
    """A lossless clip of two frames whose samples are `planes` [3, H, W]."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", RATE)
        frame = av.VideoFrame(planes.shape[2], planes.shape[1], pixel_format)
        for plane, samples in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            packed = samples.view(np.uint8)
            rows[:, : packed.shape[1]] = packed
            plane.update(rows)
        video.width, video.height, video.pix_fmt = frame.width, frame.height, pixel_format
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        for pts in (0, 1):
            frame.pts = pts
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def _lasting(packets: list[Any], until: dict[int, int]) -> list[Any]:
    """`packets` with how long each is shown, so that the last one's length is known too."""
    for packet in packets:
        packet.duration = until[packet.pts] - packet.pts
    return packets


def _sound(track: Any, frames: int, pitch: int, start: Fraction) -> list[Any]:
    samples = np.arange(int(SOUND_RATE * frames / RATE))
    wave = np.sin(samples * 2 * np.pi * pitch / SOUND_RATE).astype(np.float32) / 4
    to_codec = av.AudioResampler(track.codec_context.format, "stereo", SOUND_RATE)
    packets = []
    for at in range(0, len(wave), 1024):
        piece = np.stack([wave[at : at + 1024]] * 2)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
        frame.pts = at + int(start * SOUND_RATE)
        for converted in to_codec.resample(frame):
            packets += track.encode(converted)
    return packets + track.encode(None)


def _words(stream: Any) -> list[Any]:
    packets = []
    for start, text in ((100, "hello"), (600, "world")):
        packet = av.Packet(text.encode())
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = 400
        packets.append(packet)
    return packets


def _chapter(index: int, start: int, end: int) -> dict[str, Any]:
    title = {"title": f"part {index}"}
    return {
        "id": index + 1,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": title,
    }


def _cover(output: Any) -> list[Any]:
    from av.stream import Disposition

    stream = output.add_stream("png", 1)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
    stream.disposition = Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(numbered(0, 32, 32), format="rgb24")
    return stream.encode(frame) + stream.encode(None)


@pytest.fixture(scope="session")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`clip_of("name.mp4", **options)` makes a clip as `make_clip` does; the same one only once."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Path] = {}

    def make(name: str, *arguments: Any, **options: Any) -> Path:
        key = repr((name, arguments, sorted(options.items())))
        if key not in made:
            place = folder / str(len(made))
            place.mkdir()
            made[key] = make_clip(place / name, *arguments, **options)
        return made[key]

    return make


@pytest.fixture(scope="session", name="number_of")
def _number_of() -> Callable[[np.ndarray], int]:
    """`number_of(pixels)` reads the number a clip's picture shows."""
    return number_of


@pytest.fixture(scope="session", name="write_planes")
def _write_planes() -> Callable[..., Path]:
    """`write_planes(path, samples, pixel_format, **tags)` writes a lossless clip of two frames."""
    return write_planes
