"""Clips through the front door: frames with exact times, and files like the command line's."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dseinvert
from dseinvert.cli.main import run
from dseinvert.media.clip import probe
from dseinvert.media.video_read import read_frames
from dseinvert.progress import Silent
from tests.moving_face import clip

COUNT = 12


class Heard(Silent):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def begin(self, what: str, total: int) -> None:
        self.begun.append(what.split(": ")[1])


@pytest.fixture(scope="module")
def gan() -> dseinvert.Gan:
    return dseinvert.load("default", backend="torch")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("clip") / "moving.mp4"
    clip(file, COUNT, sound=True)
    return file


def test_every_frame_comes_with_its_own_time(gan: dseinvert.Gan, source: Path) -> None:
    video = gan.video(source)
    frames = list(video.edit("age=+2"))
    wanted = list(read_frames(probe(source)))
    assert [frame.number for frame in frames] == list(range(COUNT))
    assert [frame.time for frame in frames] == [Fraction(frame.time) for frame in wanted]
    shapes = {(frame.pixels.shape, frame.pixels.dtype) for frame in frames}
    assert shapes == {((*reversed(video.size), 3), np.dtype(np.uint8))}
    assert any((a.pixels != b.pixels).any() for a, b in zip(frames, wanted, strict=True))


def test_another_edit_needs_no_new_inversion(gan: dseinvert.Gan, source: Path) -> None:
    heard = Heard()
    video = gan.video(source, watcher=heard)
    older = [frame.pixels for frame in video.edit("age=+2")]
    assert heard.begun == ["finding faces", "inverting"]
    smiling = [frame.pixels for frame in video.edit("smile=+2")]
    assert len(heard.begun) == 2
    assert any((a != b).any() for a, b in zip(older, smiling, strict=True))


def test_the_file_is_that_of_the_command_line(
    gan: dseinvert.Gan, source: Path, tmp_path: Path
) -> None:
    words = ["--edit", "age=+2", "--codec", "ffv1", "--backend", "torch", "--quiet"]
    assert run(["video", str(source), "--out", str(tmp_path / "a.mkv"), *words]) == 0
    written = gan.video(source).edit("age=+2").write(tmp_path / "b.mkv", codec="ffv1")
    assert written.read_bytes() == (tmp_path / "a.mkv").read_bytes()


def test_nothing_is_left_behind(
    gan: dseinvert.Gan, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    video = gan.video(source).edit("age=+2")
    first = next(iter(video))
    assert first.number == 0 and any(tmp_path.iterdir())
    del video, first
    gc.collect()
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_is_said_before_anything_is_read(
    gan: dseinvert.Gan, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(dseinvert.InputError, match="no such file"):
        gan.video(tmp_path / "none.mp4")
    with pytest.raises(dseinvert.UsageError, match="no direction"):
        gan.video(source).edit("wings=+1")
    with pytest.raises(dseinvert.UsageError, match="--refine"):
        gan.video(source, refine="latent").edit("age=+1").write(tmp_path / "a.mp4")
    assert not [*tmp_path.iterdir()]


def test_a_clip_without_a_face_is_one_line(gan: dseinvert.Gan, tmp_path: Path) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    for number in range(3):
        photo = dseinvert.open_photo(np.full((64, 64, 3), 90, np.uint8))
        photo.save(folder / f"{number}.png")
    with pytest.raises(dseinvert.InputError, match="no face found"):
        list(gan.video(folder, fps=25))


def test_options_of_a_clip_are_those_of_the_command_line(
    gan: dseinvert.Gan, source: Path, tmp_path: Path
) -> None:
    wrong: list[dict[str, Any]] = [
        *({"faces": "biggest"}, {"faces": 0}, {"smooth": 7}, {"smooth": "x"}, {"paste": "x"}),
        *({"start": -1}, {"end": "x"}, {"start": float("nan")}, {"fps": 0}, {"fps": "x"}),
        *({"refine": "latent"}, {"refine": 5}),
    ]
    for options in wrong:
        with pytest.raises(dseinvert.UsageError, match=next(iter(options))):
            gan.video(source, **options)
    with pytest.raises(dseinvert.InputError, match="behind its end") as late:
        gan.video(source, start=99)
    assert late.value.exit_code == 2
    with pytest.raises(dseinvert.UsageError, match="behind its end"):
        gan.video(source).edit("age=+1@9:00-9:10")
    video = gan.video(source, start=Fraction(1, 3), end=1, faces="all", smooth=0.5)
    for path, more in (("a.txt", {}), ("", {}), ("a.mkv", {"crf": 1000}), ("a.mkv", {"crf": "x"})):
        with pytest.raises((dseinvert.OutputError, dseinvert.UsageError)):
            video.write(tmp_path / path, **more)  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]
