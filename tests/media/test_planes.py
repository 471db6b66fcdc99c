"""What a video stores comes out as it went in, but for the samples under a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dseinvert.media.clip import probe
from dseinvert.media.colour import Colours, Turn
from dseinvert.media.encoding import encoding
from dseinvert.media.planes import Planes, planes_of, upright_format
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_write import writing

FORMATS = [f"yuv{chroma}p{depth}" for chroma in (420, 422, 444) for depth in ("", "10le")]
BLOCKS = {"420": (2, 2), "422": (1, 2), "440": (2, 1), "444": (1, 1)}


def stored(path: Path) -> list[list[np.ndarray]]:
    """The planes of each frame as the file holds them, without any turn."""
    with av.open(str(path)) as container:
        return [samples(frame) for frame in container.decode(video=0)]


def samples(frame: Any) -> list[np.ndarray]:
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    return [
        np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    ]


def noise(path: Path, pixel_format: str, size: tuple[int, int], **tags: int) -> Path:
    """A lossless clip of three frames of noise, which no conversion leaves as it is."""
    chance = np.random.default_rng(3)
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", 25)
        video.width, video.height, video.pix_fmt = *size, pixel_format
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        for pts in range(3):
            frame = av.VideoFrame(*size, pixel_format)
            deep = frame.format.components[0].bits > 8
            for plane in frame.planes:
                kind, most = (np.uint16, 1 << 10) if deep else (np.uint8, 256)
                rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
                rows[...] = chance.integers(0, most, rows.shape)
            frame.pts = pts
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def through(source: Path, output: Path, change: Callable[[np.ndarray], None]) -> None:
    """The clip with a change of RGB in the window [8:24, 10:30] of each frame."""
    clip = probe(source)
    with writing(output, encoding(clip, "ffv1"), clip) as sink:
        for frame in read_frames(clip, depth=16 if clip.depth > 8 else 8, planes=True):
            assert frame.planes is not None
            after = frame.pixels.copy()
            change(after[8:24, 10:30])
            window = slice(8, 24), slice(10, 30)
            sink.write(frame.planes.with_change(frame.pixels, after, [window]), frame.pts)


def invert(pixels: np.ndarray) -> None:
    pixels[...] = np.iinfo(pixels.dtype).max - pixels


@pytest.mark.parametrize("size", [(48, 36), (47, 35)])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_what_is_not_changed_is_equal_in_all_planes(
    tmp_path: Path, pixel_format: str, size: tuple[int, int]
) -> None:
    source = noise(tmp_path / "a.mkv", pixel_format, size)
    through(source, tmp_path / "b.mkv", invert)
    rows, columns = BLOCKS[pixel_format[3:6]]
    for old, new in zip(stored(source), stored(tmp_path / "b.mkv"), strict=True):
        for k, (a, b) in enumerate(zip(old, new, strict=True)):
            down, right = (1, 1) if k == 0 else (rows, columns)
            window = slice(8 // down, -(-24 // down)), slice(10 // right, -(-30 // right))
            changed = a != b
            assert changed[window].mean() > 0.5
            changed[window] = False
            assert not changed.any()


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_frames_come_out_as_stored_whatever_their_tags_say(
    tmp_path: Path, pixel_format: str, matrix: int, color_range: int
) -> None:
    tags = {"color_range": color_range, "colorspace": matrix}
    source = noise(tmp_path / "a.mkv", pixel_format, (48, 36), **tags)
    through(source, tmp_path / "b.mkv", lambda pixels: None)
    for old, new in zip(stored(source), stored(tmp_path / "b.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))
    assert probe(source).colours == probe(tmp_path / "b.mkv").colours


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", [1, 4, 6, 7, 9])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le"])
def test_a_change_of_rgb_is_seen_when_the_planes_are_read_back(
    tmp_path: Path, pixel_format: str, matrix: int, color_range: int
) -> None:
    """Within what rounding leaves: two steps of eight bits."""
    path = tmp_path / "grey.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", 25)
        video.width, video.height, video.pix_fmt = 48, 36, pixel_format
        video.codec_context.color_range, video.codec_context.colorspace = color_range, matrix
        frame = av.VideoFrame(48, 36, pixel_format)
        for plane in frame.planes:
            kind = np.uint16 if "10" in pixel_format else np.uint8
            np.frombuffer(plane, kind)[...] = 512 if "10" in pixel_format else 128
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    clip = probe(path)
    deep = clip.depth > 8
    colour = np.array([20, -30, 40]) * (257 if deep else 1)
    through(path, tmp_path / "b.mkv", lambda part: np.add(part, colour, part, casting="unsafe"))
    (before,), (after,) = (
        [*read_frames(probe(one), depth=16 if deep else 8)] for one in (path, tmp_path / "b.mkv")
    )
    moved = after.pixels.astype(int) - before.pixels
    np.testing.assert_allclose(
        moved[8:24, 10:30], colour + 0 * moved[8:24, 10:30], atol=600 if deep else 2
    )
    assert not moved[:8].any()


def test_a_pixel_that_keeps_its_colour_keeps_its_samples_within_the_window(tmp_path: Path) -> None:
    source = noise(tmp_path / "a.mkv", "yuv420p", (48, 36))

    def left_half(pixels: np.ndarray) -> None:
        invert(pixels[:, :10])

    through(source, tmp_path / "b.mkv", left_half)
    for old, new in zip(stored(source), stored(tmp_path / "b.mkv"), strict=True):
        assert not (old[0] != new[0])[:, 20:].any()
        assert not (old[1] != new[1])[:, 10:].any()


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p10le"])
def test_a_turned_clip_keeps_its_samples_turned(
    tmp_path: Path, pixel_format: str, rotation: int
) -> None:
    clip = probe(noise(tmp_path / "a.mkv", pixel_format, (48, 36)))
    turn = {90: Turn(True, True), 180: Turn(False, True, True), 270: Turn(True, False, True)}
    with av.open(str(clip.path)) as container:
        frame = next(container.decode(video=0))
        planes = planes_of(frame, turn[rotation], Colours(1, 1))
        assert planes is not None
        for raw, upright in zip(samples(frame), planes.parts, strict=True):
            assert np.array_equal(np.rot90(raw, -rotation // 90), upright)
        again = planes.frame()
    assert again.format.name == upright_format(pixel_format, turn[rotation])
    assert all(np.array_equal(a, b) for a, b in zip(samples(again), planes.parts, strict=True))


def test_what_is_not_planar_has_no_planes(tmp_path: Path) -> None:
    for name in ("rgb24", "ya8", "nv12", "yuv420p10be"):
        assert planes_of(av.VideoFrame(8, 8, name), Turn(), Colours(1, 1)) is None
    odd = av.VideoFrame(7, 8, "yuv420p")
    assert planes_of(odd, Turn(flip_x=True), Colours(1, 1)) is None
    assert planes_of(odd, Turn(flip_y=True), Colours(1, 1)) is not None


def test_padding_repeats_the_last_column_and_two_lie_side_by_side() -> None:
    parts = tuple(
        np.arange(n * m, dtype=np.uint8).reshape(n, m) for n, m in ((3, 5), (2, 3), (2, 3))
    )
    planes = Planes("yuv420p", Colours(1, 1), parts).padded(6, 4)
    assert planes.size == (6, 4) and (planes.parts[0][:, 5] == planes.parts[0][:, 4]).all()
    both = planes.beside(planes)
    assert both.size == (12, 4) and both.parts[1].shape == (2, 6)
    frame = both.frame()
    assert all(np.array_equal(a, b) for a, b in zip(samples(frame), both.parts, strict=True))
