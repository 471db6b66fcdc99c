"""What a still keeps of the frames around it, so that they are decoded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dseinvert
from dseinvert.media import video_read
from dseinvert.media.clip import probe
from dseinvert.media.video_read import Frame, read_frames
from dseinvert.run.video import still
from dseinvert.run.video.reel import Reel
from tests.moving_face import clip

COUNT, TIME = 60, 1.2


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "long.mp4", COUNT)


@pytest.fixture(scope="module")
def frames(source: Path) -> list[Frame]:
    return list(read_frames(probe(source)))


def test_all_frames_of_a_whole_reading_are_kept(frames: list[Frame]) -> None:
    reel = Reel()
    assert [*reel.keeping(frames)] == frames == [*reel.frames]


def test_of_more_than_there_is_room_for_or_half_a_reading_nothing_is_kept(
    frames: list[Frame],
) -> None:
    size = frames[0].pixels.nbytes
    for room, kept in ((COUNT * size, COUNT), (COUNT * size - 1, 0)):
        reel = Reel(room)
        assert [*reel.keeping(frames)] == frames and len(reel.frames) == kept
    half = Reel()
    next(iter(half.keeping(frames)))
    assert not half.frames


def test_the_frames_around_a_still_are_decoded_once_and_it_is_the_same(
    tiny_model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = video_read.timed_frames

    def counted(*args: Any, **kwargs: Any) -> Iterator[tuple[int, Any]]:
        for pts, frame in real(*args, **kwargs):
            decoded.append(pts)
            yield pts, frame

    monkeypatch.setattr(video_read, "timed_frames", counted)
    video = dseinvert.load(tiny_model, backend="torch").video(source).edit("age=3")
    kept = video.still(TIME).pixels
    once = len(decoded)
    assert once == len({*decoded})
    monkeypatch.setattr(still, "Reel", lambda: Reel(0))
    np.testing.assert_array_equal(video.still(TIME).pixels, kept)
    assert len(decoded) - once > 2 * once
