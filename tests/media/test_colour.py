"""Colours against the formulas of H.273, written out here once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.media.clip import probe
from dseinvert.media.colour import BT601, BT709, Colours, Turn, guessed, turn_of
from dseinvert.media.encoding import encoding
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_write import writing

Writer = Callable[..., Path]
BARS = [
    *((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0)),
    *((0, 0, 255), (0, 0, 0), (128, 128, 128), (224, 172, 105), (90, 56, 37), (17, 200, 66)),
]
LUMA = {BT601: (0.299, 0.114), BT709: (0.2126, 0.0722), 9: (0.2627, 0.0593)}


def planes(matrix: int, full: bool, bits: int) -> np.ndarray:
    """The bars, 16 columns each, as yuv444p samples [3, 16, W]."""
    red, blue = LUMA[matrix]
    r, g, b = np.array(BARS).T / 255
    y = red * r + (1 - red - blue) * g + blue * b
    chroma = np.stack([(b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)])
    step = 1 << bits - 8
    if full:
        levels = [y * (256 * step - 1), *(chroma * (256 * step - 1) + 128 * step)]
    else:
        levels = [(16 + 219 * y) * step, *((128 + 224 * chroma) * step)]
    samples = np.clip(np.round(levels), 0, 256 * step - 1)
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.repeat(np.repeat(samples[:, None], 16, 2), 16, 1).astype(dtype)


def bars_of(pixels: np.ndarray) -> np.ndarray:
    """The middle of each bar [12, 3]."""
    return pixels[8, 8::16].astype(float)


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_bars_are_right_within_two_steps(
    write_planes: Writer, tmp_path: Path, matrix: int, full: bool, bits: int
) -> None:
    pixel_format = "yuv444p" if bits == 8 else "yuv444p10le"
    path = write_planes(
        tmp_path / "a.mkv",
        *(planes(matrix, full, bits), pixel_format),
        colorspace=matrix,
        color_range=2 if full else 1,
    )
    frame = next(iter(read_frames(probe(path))))
    assert np.abs(bars_of(frame.pixels) - BARS).max() <= 2


@pytest.mark.parametrize("full", [False, True])
def test_ten_bits_come_out_as_sixteen(write_planes: Writer, tmp_path: Path, full: bool) -> None:
    path = write_planes(
        tmp_path / "a.mkv",
        *(planes(BT709, full, 10), "yuv444p10le"),
        colorspace=BT709,
        color_range=2 if full else 1,
    )
    frame = next(iter(read_frames(probe(path), depth=16)))
    assert frame.pixels.dtype == np.uint16
    assert np.abs(bars_of(frame.pixels) / 257 - BARS).max() <= 0.6


@pytest.mark.parametrize("pixel_format", ["bgr0", "gbrp9le", "gray"])
def test_rgb_and_grey_need_no_matrix(tmp_path: Path, pixel_format: str) -> None:
    import av

    image = np.repeat(np.repeat(np.array([BARS], np.uint8), 16, 0), 16, 1)
    if pixel_format == "gray":
        image[:] = image[..., :1]
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pixel_format
        if pixel_format == "gray":
            stream.codec_context.color_range = 1
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = next(iter(read_frames(probe(path)))).pixels
    assert np.abs(found.astype(int) - image).max() <= 2


@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("codec", ["h264", "h265", "ffv1", "prores"])
def test_colours_survive_writing(
    write_planes: Writer, tmp_path: Path, matrix: int, full: bool, codec: str
) -> None:
    source = write_planes(
        tmp_path / "a.mkv",
        *(planes(matrix, full, 8), "yuv444p"),
        colorspace=matrix,
        color_range=2 if full else 1,
        color_primaries=1,
        color_trc=1,
    )
    clip = probe(source)
    output = tmp_path / "out.mov" if codec == "prores" else tmp_path / "out.mkv"
    crf = None if codec in ("ffv1", "prores") else 1
    with writing(output, encoding(clip, codec, crf), clip) as frames:
        for frame in read_frames(clip):
            frames.write(frame.pixels, frame.pts)
    written = probe(output)
    wanted = Colours(1 if codec == "prores" else clip.colours.range, matrix, 1, 1)
    assert written.colours == wanted
    assert np.abs(bars_of(next(iter(read_frames(written))).pixels) - BARS).max() <= 3


def test_without_tags_the_size_decides_as_in_players() -> None:
    assert guessed(Colours(), 640, 480) == Colours(1, BT601)
    assert guessed(Colours(), 1280, 720) == Colours(1, BT709)
    assert guessed(Colours(2, BT601), 1920, 1080) == Colours(2, BT601)


def test_untagged_stays_untagged(write_planes: Writer, tmp_path: Path) -> None:
    clip = probe(write_planes(tmp_path / "a.mkv", planes(BT601, False, 8), "yuv444p"))
    untagged = Colours(clip.colours.range)
    assert clip.colours == untagged
    with writing(tmp_path / "out.mp4", encoding(clip)) as frames:
        frames.write(next(iter(read_frames(clip))).pixels, 0)
    assert probe(tmp_path / "out.mp4").colours.matrix == untagged.matrix


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_turn_moves_pixels_where_the_matrix_says(
    signs: tuple[int, int], transposed: bool
) -> None:
    a, b, c, d = (0, *signs, 0) if transposed else (signs[0], 0, 0, signs[1])
    rows = [a, b, 0, c, d, 0, 0, 0, 1]
    matrix = np.array([value * 65536 for value in rows], "<i4").tobytes()
    image = np.arange(6).reshape(2, 3)
    moved = {}
    for (y, x), value in np.ndenumerate(image):
        moved[a * x + c * y, b * x + d * y] = value
    left, top = (min(place[axis] for place in moved) for axis in (0, 1))
    wanted = np.zeros_like(image.T if transposed else image)
    for (x, y), value in moved.items():
        wanted[y - top, x - left] = value
    assert (turn_of(matrix)(image) == wanted).all()


def test_degrees_are_clockwise() -> None:
    corner = np.array([[1, 0], [0, 0]])
    for turn in (Turn(), Turn(True, True), Turn(False, True, True), Turn(True, False, True)):
        assert (turn(corner) == np.rot90(corner, -turn.degrees // 90)).all()
