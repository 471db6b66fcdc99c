"""What a user would not expect is said, and nothing that is there is replaced unasked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from dseinvert.media.clip import probe
from dseinvert.media.frame_files import probe_frames
from dseinvert.media.images import encode_png
from dseinvert.media.video_verify import audio_packets_sha256
from tests.given_clips import given
from tests.moving_face import clip, frames

Run = Callable[..., int]
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 6, sound=True)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 1, 2, 3, 6, 7, 9, 10), "lack the numbers 4 to 5, 8;"),
        ((0, 1, 2), ""),
        ((7, 8, 10), "lack the numbers 9;"),
    ],
)
def test_gaps_between_numbered_pictures_are_named(
    tmp_path: Path, numbers: tuple[int, ...], said: str
) -> None:
    for number, picture in zip(numbers, frames(len(numbers)), strict=True):
        (tmp_path / f"shot_{number}.png").write_bytes(encode_png(picture))
    source = probe_frames(tmp_path, Fraction(25))
    assert said in "".join(source.notes) and bool(source.notes) == bool(said)
    assert source.times == tuple(range(len(numbers)))


def test_that_of_the_given_pictures_too() -> None:
    assert "4 to 5" in probe_frames(given("seq-gap"), Fraction(25)).notes[0]


@pytest.mark.parametrize("name", ["x.avi", "x.gif", "x.wmv", "x.hevc"])
def test_a_container_that_cannot_be_written_is_refused_before_a_model_is_read(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capfd: Said
) -> None:
    monkeypatch.setattr("dseinvert.run.video.run.open_model", None)
    assert dse("video", talking, "--out", tmp_path / name) == 2
    assert name in capfd.readouterr().err and not [*tmp_path.iterdir()]


def test_another_quality_or_codec_replaces_a_result_only_when_asked(
    dse: Run, talking: Path, tmp_path: Path, capfd: Said
) -> None:
    arguments = ("video", talking, "--edit", "age=1", "--out", tmp_path)
    assert dse(*arguments, "-q") == 0
    result = tmp_path / "talking.age+1.mp4"
    before = result.read_bytes()
    for other in (("--crf", "40"), ("--codec", "h265")):
        assert dse(*arguments, "-q", *other) == 6
        assert "--overwrite" in capfd.readouterr().err and result.read_bytes() == before
    assert dse(*arguments, "-q", "--crf", "40", "--overwrite") == 0
    assert result.read_bytes() != before


def test_a_rate_for_a_video_is_said_to_do_nothing(
    dse: Run, talking: Path, tmp_path: Path, capfd: Said
) -> None:
    assert dse("video", talking, "--fps", "50", "--edit", "age=1", "--out", tmp_path) == 0
    assert "--fps is for folders of frames" in capfd.readouterr().err
    assert probe(tmp_path / "talking.age+1.mp4").rate == 25


def test_frames_keep_their_sound_beside_them(dse: Run, talking: Path, tmp_path: Path) -> None:
    edit = ("--edit", "age=1", "-q", "--out")
    assert dse("video", talking, "--frames", *edit, tmp_path) == 0
    folder = tmp_path / "talking.age+1.frames"
    assert dse("video", folder, *edit, tmp_path / "back") == 0
    (written,) = (tmp_path / "back").glob("*.mp4")
    assert audio_packets_sha256(written) == audio_packets_sha256(talking)
    heard = []
    for path in (talking, written):
        with av.open(str(path)) as container:
            packets = [p for p in container.demux(audio=0) if p.size]
            heard.append([float(p.pts * p.time_base) for p in packets])
    assert heard[0] == pytest.approx(heard[1], abs=2e-3)


def test_work_on_a_clip_that_was_renamed_goes_on(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dseinvert.run.video import run

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    old, new, out = tmp_path / "old.mp4", tmp_path / "new.mp4", tmp_path / "out"
    shutil.copy(talking, old)
    with monkeypatch.context() as patch:
        patch.setattr(run, "invert_clip", killed)
        assert dse("video", old, "--edit", "age=1", "--out", out, "-q") != 0
    assert (out / ".old.dse-work").is_dir()
    about = {path.name: path.stat().st_ino for path in (out / ".old.dse-work").iterdir()}
    assert any(name.startswith("tracks-") for name in about)
    old.rename(new)
    found: list[set[str]] = []
    real = run.invert_clip

    def patched(*given: Any) -> None:
        found.append({path.name for path in (out / ".new.dse-work").iterdir()})
        real(*given)

    monkeypatch.setattr(run, "invert_clip", patched)
    assert dse("video", new, "--edit", "age=1", "--out", out, "-q") == 0
    assert {name for name in about if name.startswith("tracks-")} <= found[0]
    assert not (out / ".old.dse-work").exists() and (out / "new.age+1.mp4").exists()
