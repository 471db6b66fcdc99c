"""How the written video is asked for: its rows, bits, encoder and sound."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dseinvert.media.clip import INTERLACED, probe
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_verify import audio_packets_sha256
from tests.moving_face import clip

Run = Callable[..., int]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 6, sound=True)


def test_a_height_is_taken_and_the_width_follows(dse: Run, talking: Path, tmp_path: Path) -> None:
    arguments = ("--height", "101", "--preset", "veryfast", "--bitrate", "300k")
    assert dse("video", talking, "--edit", "age=1", *arguments, "--out", tmp_path, "-q") == 0
    assert probe(tmp_path / "talking.age+1.mp4").size == (124, 100)


def test_the_sound_of_another_file_takes_the_place_of_its_own(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    other = clip(tmp_path / "other.mp4", 12, sound=True)
    arguments = ("--audio", other, "--out", tmp_path / "out", "-q")
    assert dse("video", talking, "--edit", "age=1", *arguments) == 0
    found = audio_packets_sha256(tmp_path / "out" / "talking.age+1.mp4")
    assert found == audio_packets_sha256(other) != audio_packets_sha256(talking)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--bitrate", "fast"), 2, "800k or 4M"),
        (("--bitrate", "1M", "--crf", "20"), 2, "--bitrate"),
        (("--codec", "ffv1", "--bitrate", "1M"), 2, "ffv1 has no --bitrate"),
        (("--codec", "prores", "--preset", "slow"), 2, "prores has no --preset"),
        (("--frames", "--height", "64"), 2, "--height"),
        (("--pix-fmt", "yuv999p"), 2, "--pix-fmt"),
        (("--codec", "hevc_rkmpp"), 4, "this FFmpeg has no encoder hevc_rkmpp"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    dse: Run,
    talking: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    out = tmp_path / "out"
    assert dse("video", talking, "--edit", "age=1", *arguments, "--out", out) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line and not out.exists()


def combed(path: Path) -> Path:
    """An interlaced clip whose bar moves between the fields of each frame."""
    with av.open(str(path), "w") as output:
        options = {"x264-params": "tff=1"}
        video = output.add_stream("libx264", 25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        for pts in range(8):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                np.frombuffer(plane, np.uint8)[...] = 128
            rows = np.frombuffer(frame.planes[0], np.uint8).reshape(48, -1)
            for field in (0, 1):
                x = 4 * (2 * pts + field)
                rows[field::2, x : x + 8] = 235
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def test_interlaced_pictures_are_made_whole_when_asked(tmp_path: Path) -> None:
    path = combed(tmp_path / "a.mp4")
    plain, whole = probe(path), probe(path, deinterlace=True)
    assert INTERLACED in plain.notes and INTERLACED not in whole.notes

    def combs(one: object) -> float:
        pictures = [frame.pixels[..., 1].astype(int) for frame in read_frames(one)]  # type: ignore[arg-type]
        return float(np.mean([np.abs(np.diff(picture, axis=0)).mean() for picture in pictures]))

    before, after = ([frame.pts for frame in read_frames(one)] for one in (plain, whole))
    assert before == after and len(after) == 8
    assert combs(whole) < combs(plain) / 3
