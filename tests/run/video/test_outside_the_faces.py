"""An edit written without loss changes no stored sample outside the windows of the faces."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from dseinvert.media.rows import Rows
from tests.given_clips import given
from tests.media.test_planes import BLOCKS, samples, stored
from tests.moving_face import frames

Run = Callable[..., int]


def grainy(path: Path, pixel_format: str, size: tuple[int, int], **tags: int) -> Path:
    """Six frames of a face in coloured noise, and two of noise alone, stored without loss."""
    chance = np.random.default_rng(1)
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", 25)
        video.width, video.height, video.pix_fmt = *size, pixel_format
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        for index, picture in enumerate(frames(8, size, without={6, 7})):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=pixel_format
            )
            for plane in frame.planes:
                deep = frame.format.components[0].bits > 8
                rows = np.frombuffer(plane, np.uint16 if deep else np.uint8)
                rows += chance.integers(0, 4, rows.shape).astype(rows.dtype)
            frame.pts = index
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def check(source: Path, result: Path, latents: Path, chroma: str) -> None:
    """Equal outside the windows, rounded outwards to blocks; not equal within those."""
    with Rows(latents) as rows:
        places, quads = rows.read("frame"), rows.read("quad")
    before, after = stored(source), stored(result)
    assert len(before) == len(after)
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        changed = [a != b for a, b in zip(old, new, strict=True)]
        assert any(one.any() for one in changed) == (place in places)
        for quad in quads[places == place]:
            for k, one in enumerate(changed):
                down, right = BLOCKS[chroma] if k in (1, 2) else (1, 1)
                left, top = np.maximum(np.floor(quad.min(0)), 0)
                wide, high = np.ceil(quad.max(0)) + 1
                one[
                    int(top) // down : math.ceil(high / down),
                    int(left) // right : math.ceil(wide / right),
                ] = False
        assert not any(one.any() for one in changed)


@pytest.mark.parametrize(
    ("pixel_format", "size", "tags"),
    [
        ("yuv420p", (176, 144), {"color_range": 1, "colorspace": 1}),
        ("yuv420p", (175, 143), {"color_range": 2, "colorspace": 6}),
        ("yuv422p10le", (176, 144), {"color_range": 1, "colorspace": 9}),
        ("yuv444p", (175, 144), {}),
    ],
)
def test_nothing_changes_outside_the_windows_of_the_faces(
    dse: Run, tmp_path: Path, pixel_format: str, size: tuple[int, int], tags: dict[str, int]
) -> None:
    source, out = grainy(tmp_path / "a.mkv", pixel_format, size, **tags), tmp_path / "out"
    assert dse("video", source, "--edit", "age=3", "--codec", "ffv1", "--out", out, "-q") == 0
    check(source, out / "a.age+3.mkv", out / "a.safetensors", pixel_format[3:6])


def test_nor_in_the_given_clip(dse: Run, tmp_path: Path) -> None:
    source = given("sharp-420.mkv")
    edit = ("--edit", "age=+2", "--codec", "ffv1", "--out", tmp_path, "-q")
    assert dse("video", source, *edit) == 0
    check(source, tmp_path / "sharp-420.age+2.mkv", tmp_path / "sharp-420.safetensors", "420")


def test_a_second_pass_over_a_result_loses_no_more(dse: Run, tmp_path: Path) -> None:
    source = grainy(tmp_path / "a.mkv", "yuv420p", (176, 144))
    arguments = ("--edit", "age=3", "--codec", "ffv1", "-q")
    for name, out in ((source, "b"), (tmp_path / "b" / "a.age+3.mkv", "c")):
        assert dse("video", name, *arguments, "--out", tmp_path / out) == 0
    rim = (slice(0, 4), slice(0, 4))
    for old, new in zip(stored(source), stored(tmp_path / "c" / "a.age+3.age+3.mkv"), strict=True):
        assert all(np.array_equal(a[rim], b[rim]) for a, b in zip(old, new, strict=True))


def test_side_by_side_shows_the_source_as_it_is_stored(dse: Run, tmp_path: Path) -> None:
    source, out = grainy(tmp_path / "a.mkv", "yuv420p", (176, 144)), tmp_path / "out"
    arguments = ("--edit", "age=3", "--codec", "ffv1", "--side-by-side", "--out", out, "-q")
    assert dse("video", source, *arguments) == 0
    (written,) = out.glob("*.side.mkv")
    for old, new in zip(stored(source), stored(written), strict=True):
        for plane, both in zip(old, new, strict=True):
            assert np.array_equal(plane, both[:, : plane.shape[1]])
            assert both.shape[1] == 2 * plane.shape[1]


def coloured(path: Path, codec: str, pixel_format: str) -> Path:
    """Four frames of a face in coloured noise, and one of noise alone, stored without loss."""
    chance = np.random.default_rng(2)
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, 25, options={"qp": "0"} if "264" in codec else {})
        video.width, video.height, video.pix_fmt = 176, 144, pixel_format
        for index, picture in enumerate(frames(5, without={4})):
            noisy = picture.astype(np.uint16) * 257 + chance.integers(0, 1024, picture.shape)
            noisy = noisy.clip(0, 65535).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(noisy, format="rgb48le").reformat(
                format=pixel_format
            )
            frame.pts = index
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def planar(path: Path) -> list[list[np.ndarray]]:
    """Grey or RGB, and alpha, of each frame, without a loss."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            parts = frame.format.components
            if frame.format.name.startswith("gray"):
                found.append(samples(frame))
                continue
            alpha, deep = any(part.is_alpha for part in parts), parts[0].bits > 8
            name = f"gbr{'a' * alpha}p{f'{parts[0].bits}le' * deep}"
            found.append(samples(frame.reformat(format=name)))
    return found


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix", "written"),
    [
        ("png", "rgb24", ".mov", "bgr0"),
        ("png", "rgba", ".mov", "bgra"),
        ("png", "gray", ".mov", "gray"),
        ("png", "rgb48be", ".mov", "gbrp16le"),
        ("libx264rgb", "bgr0", ".mkv", "bgr0"),
        ("ffv1", "gbrp10le", ".mkv", "gbrp10le"),
        ("ffv1", "gray10le", ".mkv", "gray10le"),
        ("qtrle", "rgb24", ".mov", "bgr0"),
    ],
)
def test_rgb_and_grey_change_nowhere_outside_the_windows(
    dse: Run, tmp_path: Path, codec: str, pixel_format: str, suffix: str, written: str
) -> None:
    source, out = coloured(tmp_path / f"a{suffix}", codec, pixel_format), tmp_path / "out"
    assert dse("video", source, "--edit", "age=3", "--codec", "ffv1", "--out", out, "-q") == 0
    (result,) = out.glob("a.age+3.m*")
    with av.open(str(result)) as container:
        assert container.streams.video[0].pix_fmt == written
    with Rows(out / "a.safetensors") as rows:
        places, quads = rows.read("frame"), rows.read("quad")
    assert {*places.tolist()} == {0, 1, 2, 3}
    for place, (old, new) in enumerate(zip(planar(source), planar(result), strict=True)):
        changed = np.any([a != b for a, b in zip(old, new, strict=True)], axis=0)
        assert changed.any() == (place in places)
        for quad in quads[places == place]:
            left, top = np.maximum(np.floor(quad.min(0)), 0).astype(int)
            wide, high = (np.ceil(quad.max(0)) + 1).astype(int)
            changed[top:high, left:wide] = False
        assert not changed.any()


def test_rgb_is_made_yuv_for_players_as_before(dse: Run, tmp_path: Path) -> None:
    source = coloured(tmp_path / "a.mov", "png", "rgb24")
    assert dse("video", source, "--edit", "age=3", "--out", tmp_path / "out", "-q") == 0
    (result,) = (tmp_path / "out").glob("a.age+3.m*")
    with av.open(str(result)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
