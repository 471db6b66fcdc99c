from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dseinvert.errors import OutputError, UsageError
from dseinvert.media.animation import write_animation
from dseinvert.media.clip import probe
from dseinvert.media.video_read import read_frames


def ramp(count: int, height: int, width: int) -> list[np.ndarray]:
    """Frames of one colour each, brighter and brighter."""
    return [np.full((height, width, 3), 40 + 20 * k, np.uint8) for k in range(count)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_a_video_has_every_frame_at_its_time(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_animation(path, ramp(7, 32, 48), Fraction(25))
    clip = probe(path)
    frames = list(read_frames(clip))
    assert clip.size == (48, 32)
    assert [frame.time for frame in frames] == [Fraction(k, 25) for k in range(7)]
    for k, frame in enumerate(frames):
        assert abs(float(frame.pixels.mean()) - (40 + 20 * k)) < 3


def test_an_odd_side_gets_a_white_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_animation(path, ramp(2, 33, 31), Fraction(25))
    assert probe(path).size == (32, 34)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_moving_picture_loops(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_animation(path, iter(ramp(5, 33, 31)), Fraction(20))
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"]) == (5, 0)
        assert image.size == (31, 33)
        image.seek(4)
        image.load()
        assert image.info["duration"] == 50
        assert abs(np.asarray(image.convert("RGB")).mean() - 120) < 4


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the name of a video"):
        write_animation(tmp_path / "a.txt", ramp(2, 8, 8), Fraction(25))


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_nothing_is_left_of_one_that_failed(tmp_path: Path, name: str) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield from ramp(2, 16, 16)
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="full"):
        write_animation(tmp_path / name, broken(), Fraction(25))
    with pytest.raises(OutputError, match="no frame"):
        write_animation(tmp_path / name, [], Fraction(25))
    assert list(tmp_path.iterdir()) == []
