from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from dseinvert.config import VideoOptions
from dseinvert.media.images import encode_png
from dseinvert.run.video.plan import make_task, open_source
from tests.moving_face import clip, frames


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 40)


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [(None, None, 40), ("0.4", None, 30), (None, "1", 25), ("1", "9", 15)],
)
def test_a_task_knows_about_how_many_frames_it_has(
    talking: Path, tmp_path: Path, start: str | None, end: str | None, count: int
) -> None:
    first, last = (None if text is None else Fraction(text) for text in (start, end))
    options = VideoOptions(out=tmp_path, start=first, end=last)
    task = make_task(open_source(talking, None), "talking", options, {"detector": "none"}, {})
    assert task.frames == count


def test_of_a_folder_of_frames_too(tmp_path: Path) -> None:
    for k, picture in enumerate(frames(12)):
        (tmp_path / f"{k:03d}.png").write_bytes(encode_png(picture))
    source = open_source(tmp_path, Fraction(25))
    options = VideoOptions(out=tmp_path / "out", start=Fraction(1, 25))
    assert make_task(source, "frames", options, {"detector": "none"}, {}).frames == 11
