from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import pytest

from dseinvert.cli.video import video
from dseinvert.config import SpreadOptions, VideoOptions, field_docs
from dseinvert.errors import UsageError
from dseinvert.written import SECONDS
from tests.moving_face import clip

Run = Callable[..., int]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 6, sound=True)


def test_every_option_is_a_documented_field() -> None:
    names = {field.name for field in fields(VideoOptions)}
    assert set(field_docs(VideoOptions)) == names
    shared = {field.name for field in fields(SpreadOptions)}
    talk = {"paths", "json", "quiet", "verbose", "log", "config", *shared}
    given = {{"edit": "edits"}.get(p, p) for p in inspect.signature(video).parameters}
    assert given - talk == names


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--edit", "beauty=1"], "this model has: age, smile"),
        (["--faces", "0"], "--faces"),
        (["--faces", "both"], "--faces"),
        (["--smooth", "2"], "--smooth"),
        (["--smooth", "nan"], "--smooth"),
        (["--start", "soon"], "--start"),
        (["--start", "2", "--end", "1"], "--end"),
        (["--fps", "0"], "--fps"),
        (["--codec", "mjpeg"], "one of h264"),
        (["--codec", "ffv1", "--crf", "20"], "--crf"),
        (["--codec", "ffv1", "--out", "x.webm"], "x.webm"),
        (["--preview", "--crf", "20"], "--preview"),
        (["--frames", "--codec", "h264"], "--frames"),
        (["--frames", "--out", "x.mp4"], "--frames"),
        (["--paste", "blur"], "--paste"),
        (["--paste", "difference"], "--edit"),
        (["--edit", "age=1", "--edit", "age=2", "--out", "x.mp4"], "folder"),
        (["--model", "no/such/model"], "no/such/model"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_any_work(
    dse: Run,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dse("video", source, *arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_the_input_is_never_the_output(dse: Run, source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    assert dse("video", source, "--out", source, "--overwrite", "-q") == 2
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    assert dse("video", source, "--out", link, "--overwrite", "-q") == 2
    assert source.read_bytes() == before


def test_a_dry_run_names_the_outputs_and_writes_nothing(
    dse: Run, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("--edit", "age=2,smile=-1", "--edit", "smile=1", "--out", out, "--dry-run")
    assert dse("video", source, *arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(" -> ")[1] for line in lines] == [
        *(f"{out}/clip.age+2,smile-1.mp4", f"{out}/clip.smile+1.mp4")
    ]
    assert dse("video", source, *arguments, "--json") == 0
    assert len(json.loads(capfd.readouterr().out)["todo"][0]["outputs"]) == 2
    assert not out.exists()


def test_nothing_to_do_is_exit_3(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("video", tmp_path / "none.mp4", "--json") == 3
    assert json.loads(capfd.readouterr().out)["exit_code"] == 3
    (tmp_path / "empty").mkdir()
    assert dse("video", tmp_path / "empty") == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5", Fraction(25, 2)), ("1:02.5", Fraction(125, 2)), ("1:00:02", Fraction(3602))],
)
def test_times_are_seconds_or_a_clock(text: str, value: Fraction) -> None:
    assert SECONDS.read("--start", text) == value


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "1e3", "1:"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        SECONDS.read("--start", text)


def test_evaluate_finds_a_video_as_steady_as_itself(
    dse: Run, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("evaluate", "--video", source, source, "--json", "-q") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["frames"] == 6 and told["differences"] == []
    assert told["jitter_ratio"] == 1 and told["psnr"] == 100


def test_evaluate_finds_a_shaking_face(
    dse: Run, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from dseinvert.media.clip import probe
    from dseinvert.media.encoding import encoding
    from dseinvert.media.video_read import read_frames
    from dseinvert.media.video_write import writing

    opened = probe(source)
    shaken = tmp_path / "shaken.mp4"
    with writing(shaken, encoding(opened, crf=8), opened) as sink:
        for frame in read_frames(opened):
            sink.write(np.roll(frame.pixels, 4 * (frame.index % 2), 1), frame.pts)
    assert dse("evaluate", "--video", source, shaken, "--json", "-q") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["jitter_ratio"] > 2 and told["warp_ratio"] > 2


def test_evaluate_refuses_videos_of_two_sizes(
    dse: Run, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = clip(tmp_path / "other.mp4", 6, size=(192, 144))
    assert dse("evaluate", "--video", source, other, "-q") == 1
    assert "size" in capfd.readouterr().err
