"""Timecodes are places by frames, counted from the clip's own one, wherever a time is asked for."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import dseinvert
from dseinvert.errors import UsageError
from dseinvert.media.clip import probe
from dseinvert.media.video_read import frame_times, read_frames
from dseinvert.timecode import Clock, Timecode, in_seconds, read_timecode
from tests.moving_face import clip

Run = Callable[..., int]
NTSC = Fraction(30000, 1001)


def at(text: str, clock: Clock) -> Fraction:
    code = read_timecode(text)
    assert code is not None
    return clock.seconds(code)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face for 40 frames, 25 a second."""
    return clip(tmp_path_factory.mktemp("clips") / "a.mp4", 40)


@pytest.mark.parametrize(
    ("text", "clock", "frames"),
    [
        ("00:00:01:12", Clock(Fraction(25)), 37),
        ("00:01:00;02", Clock(NTSC), 1800),
        ("00:10:00;00", Clock(NTSC), 17982),
        ("00:10:00:00", Clock(NTSC), 18000),
        ("01:00:02:05", Clock(Fraction(25), "01:00:00:00"), 55),
        ("00:00:02:05", Clock(Fraction(25), "01:00:00:00"), 55),
        ("01:00:00;10", Clock(NTSC, "00:59:59;20"), 20),
        ("00:00:00:119", Clock(Fraction(120)), 119),
    ],
)
def test_a_timecode_is_so_many_frames_from_the_beginning(
    text: str, clock: Clock, frames: int
) -> None:
    assert at(text, clock) == frames / clock.rate


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), NTSC, 2 * NTSC, Fraction(120)])
@pytest.mark.parametrize("mark", [":", ";"])
def test_counting_there_and_back_gives_every_timecode(rate: Fraction, mark: str) -> None:
    start = Timecode(0, 0, 0, mark, 0)
    for count in (0, 1, 1799, 1800, 17981, 17982, 35964, 107892, 1_000_001):
        assert start.later(count, rate).count(rate) == count


@pytest.mark.parametrize(
    ("text", "rate", "said"),
    [("00:00:01:25", 25, "00 to 24"), ("00:00:01;12", 25, "drop no"), ("00:00:61:00", 25, "59")],
)
def test_a_timecode_that_no_frame_has_is_told(text: str, rate: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        at(text, Clock(Fraction(rate)))


def test_edits_take_timecodes_beside_times() -> None:
    clock = Clock(Fraction(25))
    told = in_seconds("2:age=0..+2@00:00:01:12-4s,smile=1@0:02-00:00:03:05", clock)
    assert told == "2:age=0..+2@1.48s-4s,smile=1@0:02-3.2s"
    assert in_seconds("age=+2@0:00:01.5-0:00:04", clock) == "age=+2@0:00:01.5-0:00:04"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", [24000, 30000, 60000])
def test_every_frame_is_found_by_its_timecode(tmp_path: Path, suffix: str, rate: int) -> None:
    path, rate_of = tmp_path / f"a{suffix}", Fraction(rate, 1001)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate_of)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        for k in range(150):
            frame = av.VideoFrame(32, 32, "yuv420p")
            frame.pts, frame.time_base = k, 1 / rate_of
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    found = probe(path)
    times = [pts * found.time_base for pts in frame_times(found)]
    for k in (0, 1, 29, 31, 67, 119, 149):
        code = Timecode(0, 0, 0, ":", 0).later(k, rate_of)
        start = found.start + found.clock.seconds(code)
        assert next(n for n, time in enumerate(times) if time >= start) == k


def test_stills_parts_and_edits_are_where_their_timecodes_say(
    dse: Run, source: Path, tmp_path: Path
) -> None:
    words = ("video", source, "--edit", "age=3", "--out", tmp_path, "-q")
    made = []
    for time in ("00:00:00:10", "0.4"):
        assert dse(*words, "--still", time) == 0
        (still,) = tmp_path.glob("*.png")
        made.append((still.name, still.read_bytes()))
        still.unlink()
    assert made[0] == made[1] and made[0][0] == "a.age+3.0.4s.png"
    assert dse(*words, "--codec", "ffv1", "--start", "00:00:00:10", "--end", "00:00:00:16") == 0
    assert len(frame_times(probe(tmp_path / "a.age+3.mp4"))) == 6


def test_a_ramp_by_timecodes_is_the_ramp_by_seconds(
    tiny_model: Path, source: Path, tmp_path: Path
) -> None:
    gan = dseinvert.load(tiny_model, backend="torch")
    # What moves with an edit can differ where a strength differs in its last digits.
    clip_of = gan.video(source, start="00:00:00:05", end="00:00:01:05", blend="difference")
    script = tmp_path / "story.toml"
    script.write_text('[[edit]]\nedit = "age"\nkeys = [["00:00:00:10", 0], ["00:00:01:00", 3]]\n')
    made = [
        np.stack([frame.pixels for frame in edited]).astype(int)
        for edited in (
            clip_of.edit("age=0..3@00:00:00:10-00:00:01:00"),
            clip_of.edit("age=0..3@0.4-1s"),
            clip_of.edit(script=script),
        )
    ]
    assert len(made[0]) == 25 and np.array_equal(made[0], made[1])
    assert np.abs(made[0] - made[2]).max() <= 1 < np.abs(made[0] - made[0][:1]).max()


def test_a_frame_that_the_clip_has_not_is_said_before_work(
    dse: Run, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("video", source, "--edit", "age=3@00:00:00:30-1s", "--out", tmp_path)
    assert dse(*words) == 2
    assert "frames go from 00 to 24" in capfd.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_timecode_of_the_clip_is_where_counting_begins(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.mov"
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        made = output.add_stream("mpeg4", rate=25)
        made.width, made.height = given.streams.video[0].width, given.streams.video[0].height
        made.metadata["timecode"] = "10:00:00:00"
        for frame in given.decode(video=0):
            output.mux(made.encode(frame))
        output.mux(made.encode(None))
    clock, frames = probe(path).clock, read_frames(probe(path))
    assert at("10:00:01:00", clock) == at("00:00:01:00", clock) > Fraction(99, 100)
    assert len([*frames]) == 40
