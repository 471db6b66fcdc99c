from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dseinvert.errors import ExitCode, MissingError, OutputError, UsageError
from dseinvert.media.clip import Clip, probe
from dseinvert.media.encoding import CODECS, Encoding, encoding
from dseinvert.media.segments import Segments, segment_files, segment_times
from dseinvert.media.video_read import frame_times, read_frames
from dseinvert.media.video_verify import audio_packets_sha256, compare
from dseinvert.media.video_write import Cut, check_output, join, suffix_for, writing

Clips = Callable[..., Path]
Number = Callable[[np.ndarray], int]
ROOT = Path(__file__).parents[2]
UNEVEN = [0, 512, 1000, 1700, 1701, 3000, 3512, 4024, 9000, 9512, 10024, 12000]
QUIET = {"options": {"x265-params": "log-level=none"}}
# A child that copies a clip in segments of 10 frames: source, output, folder of segments.
COPY = """
import sys, time
from pathlib import Path
from dseinvert.errors import DseInvertError
from dseinvert.media.clip import probe
from dseinvert.media.encoding import encoding
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_write import writing
source, output, segments = map(Path, sys.argv[1:4])
clip = probe(source)
try:
    with writing(output, encoding(clip), clip, segments=segments, every=10) as frames:
        for frame in read_frames(clip, start=frames.resume):
            frames.write(frame.pixels, frame.pts)
except DseInvertError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def copied(source: Path, output: Path, codec: str = "h264", **settings: object) -> Clip:
    """`source` written to `output` frame by frame, read back."""
    clip = probe(source)
    depth = 16 if clip.depth > 8 else 8
    with writing(output, encoding(clip, codec, **settings), clip) as frames:
        for frame in read_frames(clip, depth=depth):
            frames.write(frame.pixels, frame.pts)
    return probe(output)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"sounds": 1}),
        ("a.mov", {"sounds": 3, "chapters": True}),
        ("a.mkv", {"sounds": 2, "subtitles": True, "chapters": True}),
        ("a.mp4", {"sounds": 1, "times": UNEVEN}),
        ("a.mp4", {"times": range(1000, 31000, 1001), "tick": Fraction(1, 30000)}),
        ("a.mp4", {"frames": 1, "sounds": 1}),
        ("a.mp4", {"frames": 2}),
        ("a.mp4", {"size": (63, 47), "pixel_format": "yuv444p"}),
        ("a.mp4", {"rotation": 90, "sounds": 1}),
        ("a.mp4", {"cover": True, "sounds": 1}),
        ("a.mp4", {"aspect": Fraction(16, 11)}),
        ("a.mp4", {"times": range(5120, 5120 + 30 * 512, 512), "sounds": 1}),
        ("a.mp4", {"sounds": 1, "sound_start": Fraction(1, 2)}),
        ("a.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}, "sounds": 1}),
        ("a.mp4", {"codec": "libx265", "pixel_format": "yuv420p10le", **QUIET}),
        ("a.mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}),
        ("a.mp4", {"codec": "mpeg4", "sounds": 1, "sound_codec": "libmp3lame"}),
        ("a.mkv", {"pixel_format": "gray", "sounds": 1, "sound_codec": "flac"}),
        ("a.mkv", {"codec": "ffv1", "pixel_format": "bgr0", "sounds": 1, "sound_codec": "ac3"}),
        ("a.ts", {"sounds": 1}),
        ("a.webm", {"codec": "libvpx-vp9", "sounds": 1, "sound_codec": "libopus"}),
        ("a.avi", {"codec": "mpeg4", "tick": Fraction(1, 25), "times": range(30), "sounds": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_frames_times_and_sound_are_those_of_the_source(
    clip_of: Clips, tmp_path: Path, number_of: Number, name: str, options: dict[str, object]
) -> None:
    if name == "a.avi":
        options = {**options, "sound_codec": "libmp3lame"}
    frames = options.get("frames", len(options.get("times", range(30))))
    source = clip_of(name, **{**options, "frames": frames})
    codec = "av1" if name == "a.webm" else "h264"
    before = probe(source)
    output = tmp_path / f"out{suffix_for(before, encoding(before, codec))}"
    after = copied(source, output, codec)
    assert compare(source, output) == []
    assert (after.size, after.turn.degrees) == (before.size, 0)
    assert after.aspect == before.aspect
    assert after.depth == (10 if before.depth > 8 else 8)
    assert len(after.kinds("audio")) == options.get("sounds", 0)
    assert left_in(tmp_path) == [output.name]
    if "rotation" not in options:
        numbers = [number_of(frame.pixels) for frame in read_frames(after)]
        assert numbers == list(range(frames))


@pytest.mark.parametrize("seed", range(8))
def test_any_times_are_kept_to_the_tick(clip_of: Clips, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    clip = probe(clip_of("a.mp4"))
    clip = replace(clip, time_base=Fraction(1, chance.choice([600, 1000, 12800, 30000, 90000])))
    steps = [chance.choice([1, 7, 20, 500, 3000]) for _ in range(chance.randint(1, 40))]
    first = chance.choice([0, 1, 30, 600, 5000])
    times = [first + sum(steps[:count]) for count in range(len(steps))]
    picture = np.zeros((48, 64, 3), np.uint8)
    settings = encoding(clip, chance.choice(["h264", "h265"]), preset="veryfast")
    with writing(tmp_path / "out.mp4", settings, every=chance.choice([3, 250])) as output:
        for pts in times:
            output.write(picture, pts)
    made = probe(tmp_path / "out.mp4")
    found = [pts * made.time_base / clip.time_base for pts in frame_times(made)]
    assert found == times


def test_a_turned_clip_is_written_upright(clip_of: Clips, tmp_path: Path) -> None:
    source = clip_of("a.mp4", rotation=90)
    after = copied(source, tmp_path / "out.mp4", crf=5)
    for old, new in zip(read_frames(probe(source)), read_frames(after), strict=True):
        assert np.abs(old.pixels.astype(int) - new.pixels).mean() < 4


def test_chapters_tags_and_subtitles_come_along(clip_of: Clips, tmp_path: Path) -> None:
    tags = {"title": "Ünï", "artist": "me", "date": "2024"}
    source = clip_of("a.mkv", sounds=1, subtitles=True, chapters=True, metadata=tags)
    after = copied(source, tmp_path / "out.mkv")
    found_tags = {key.lower(): value for key, value in after.metadata.items()}
    assert found_tags.items() >= tags.items()
    found = [(float(c["start"] * c["time_base"]), c["metadata"]["title"]) for c in after.chapters]
    assert found == [(0.0, "part 0"), (0.5, "part 1")]
    assert words_of(tmp_path / "out.mkv") == words_of(source) == [(100, "hello"), (600, "world")]


def words_of(path: Path) -> list[tuple[int, str]]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.subtitles[0])
        return [(packet.pts, bytes(packet).decode()) for packet in packets if packet.size]


def test_a_font_beside_the_subtitles_is_kept(clip_of: Clips, tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(clip_of("a.mp4"))) as first, av.open(str(source), "w") as output:
        copy = output.add_stream_from_template(first.streams.video[0])
        output.add_attachment("font.ttf", "font/ttf", b"a font")
        for packet in first.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    copied(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        font = container.streams.attachments[0]
        assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", b"a font")


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "prores", "ffv1"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_every_codec_in_every_container_that_holds_it(
    clip_of: Clips, tmp_path: Path, number_of: Number, codec: str, suffix: str
) -> None:
    times = [0, 512, 1000, 1700, 1800, 3000, 3512, 4024, 9000, 9512, 10024, 12000]
    source, output = clip_of("a.mp4", 12, times=times), tmp_path / f"out{suffix}"
    cannot = {"prores": (".mp4", ".webm"), "ffv1": (".mov", ".webm"), "av1": (".mov",)}
    if suffix in cannot.get(codec, (".webm",)):
        with pytest.raises(UsageError, match="cannot hold"):
            copied(source, output, codec)
        assert left_in(tmp_path) == []
        return
    after = copied(source, output, codec)
    assert compare(source, output) == []
    assert [number_of(frame.pixels) for frame in read_frames(after)] == list(range(12))


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "prores", "ffv1"])
@pytest.mark.parametrize("size", [(63, 47), (64, 47), (63, 48)])
def test_an_odd_size_stays_as_it_is(
    clip_of: Clips, tmp_path: Path, codec: str, size: tuple[int, int]
) -> None:
    source = clip_of("a.mkv", 3, size=size, codec="ffv1")
    assert copied(source, tmp_path / "out.mkv", codec).size == size


def test_ten_bits_stay_ten(clip_of: Clips, tmp_path: Path) -> None:
    source = clip_of("a.mkv", 3, codec="ffv1", pixel_format="yuv420p10le")
    for codec in ("h264", "h265", "av1", "ffv1"):
        after = copied(source, tmp_path / f"{codec}.mkv", codec)
        assert (after.depth, after.chroma) == (10, "420")
    assert copied(source, tmp_path / "eight.mkv", depth=8).depth == 8


def test_lossless_is_lossless(clip_of: Clips, tmp_path: Path) -> None:
    source = clip_of("a.mkv", 5, codec="ffv1", pixel_format="yuv444p")
    after = copied(source, tmp_path / "out.mkv", "ffv1")
    for old, new in zip(read_frames(probe(source)), read_frames(after), strict=True):
        assert np.abs(old.pixels.astype(int) - new.pixels).max() <= 2


def test_a_part_starts_at_zero_with_its_sound(
    clip_of: Clips, tmp_path: Path, number_of: Number
) -> None:
    source = probe(clip_of("a.mp4", 100, sounds=1, chapters=True))
    cut = Cut(Fraction(1), Fraction(2))
    with writing(tmp_path / "out.mp4", encoding(source), source, cut) as frames:
        for frame in read_frames(source, cut.start, cut.end):
            frames.write(frame.pixels, frame.pts)
    after = probe(tmp_path / "out.mp4")
    assert frame_times(after) == [index * 512 for index in range(25)]
    assert [number_of(f.pixels) for f in read_frames(after)] == list(range(25, 50))
    with av.open(str(tmp_path / "out.mp4")) as container:
        sound = [p for p in container.demux(audio=0) if p.size]
        assert -0.03 < float(sound[0].pts * sound[0].time_base) <= 0
        assert 0.95 < float(sound[-1].pts * sound[-1].time_base) < 1
    assert [chapter["metadata"]["title"] for chapter in after.chapters] == ["part 1"]


def heard_at(path: Path) -> list[float]:
    """When each sound packet is heard, in seconds."""
    with av.open(str(path)) as container:
        return [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]


@pytest.mark.parametrize("sound", ["aac", "libmp3lame", "libopus"])
@pytest.mark.parametrize("start", [0, Fraction(1, 4)])
def test_sound_that_starts_up_before_the_pictures_moves_none_of_them(
    clip_of: Clips, tmp_path: Path, sound: str, start: Fraction
) -> None:
    """Encoders put samples before the first one, which mp4 files keep before time 0."""
    source = clip_of("a.mp4", sounds=1, sound_codec=sound, sound_start=start)
    for name in ("out.mkv", "out.mp4", *["out.webm"] * (sound == "libopus")):
        copied(source, tmp_path / name, "av1" if name == "out.webm" else "h264")
        assert compare(source, tmp_path / name) == []
        np.testing.assert_allclose(heard_at(tmp_path / name), heard_at(source), atol=6e-4)
    assert start or heard_at(source)[0] < 0


def test_words_that_were_up_when_a_part_begins_are_up_at_its_beginning(
    clip_of: Clips, tmp_path: Path
) -> None:
    source = probe(clip_of("a.mkv", frames=50, subtitles=True))  # hello from 0.1 to 0.5 s
    cut = Cut(Fraction(2, 5), Fraction(2))
    with writing(tmp_path / "out.mkv", encoding(source), source, cut) as frames:
        for frame in read_frames(source, cut.start, cut.end):
            frames.write(frame.pixels, frame.pts)
    with av.open(str(tmp_path / "out.mkv")) as container:
        words = [p for p in container.demux(subtitles=0) if p.size > 2]
        spans = [(float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in words]
    np.testing.assert_allclose(spans, [(0, 0.1), (0.2, 0.4)], atol=1e-3)


def test_what_a_container_cannot_hold_is_said_before_work_starts(
    clip_of: Clips, tmp_path: Path
) -> None:
    words = probe(clip_of("a.mkv", subtitles=True))
    sound = probe(clip_of("a.mkv", sounds=1, sound_codec="flac"))
    settings = encoding(words)
    for name, source, reason in (
        ("out.webm", None, "webm cannot hold h264"),
        ("out.avi", None, r"not a video that can be written \(end it in \.mp4"),
        ("out", None, "not a video that can be written"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            check_output(tmp_path / name, settings, source)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="webm cannot hold flac audio"):
        check_output(tmp_path / "out.webm", encoding(sound, "av1"), sound)
    assert suffix_for(words, settings) == ".mkv"
    assert left_in(tmp_path) == []


def test_what_a_codec_cannot_do_is_said(clip_of: Clips) -> None:
    clip = probe(clip_of("a.mp4"))
    with pytest.raises(UsageError, match="unknown codec 'divx'"):
        encoding(clip, "divx")
    with pytest.raises(UsageError, match="ffv1 has no --crf"):
        encoding(clip, "ffv1", crf=20)
    with pytest.raises(MissingError, match="libx264 does not work here"):
        encoding(clip, preset="no such preset")
    with pytest.raises(UsageError, match="h264_nvenc cannot hold pictures of 63 x 47"):
        encoding(replace(clip, depth=10), "h264_nvenc", size=(63, 47))


@pytest.mark.parametrize("codec", [name for name in CODECS if "nvenc" in name])
def test_a_hardware_encoder_works_or_is_missing(clip_of: Clips, tmp_path: Path, codec: str) -> None:
    source = clip_of("a.mp4", size=(256, 256))
    try:
        copied(source, tmp_path / "out.mp4", codec)
    except MissingError as error:
        assert "does not work here" in str(error) and "use --codec h264" in str(error)
        assert left_in(tmp_path) == []
    else:
        assert compare(source, tmp_path / "out.mp4") == []


def test_times_must_grow(clip_of: Clips, tmp_path: Path) -> None:
    clip = probe(clip_of("a.mp4"))
    picture = np.zeros((48, 64, 3), np.uint8)
    output = writing(tmp_path / "out.mp4", encoding(clip))
    with pytest.raises(ValueError, match="a frame at 5 after one at 5"), output as frames:
        frames.write(picture, 5)
        frames.write(picture, 5)
    assert left_in(tmp_path) == []


def test_no_frame_is_no_video(clip_of: Clips, tmp_path: Path) -> None:
    clip = probe(clip_of("a.mp4"))
    output = writing(tmp_path / "out.mp4", encoding(clip), clip)
    with pytest.raises(OutputError, match="no frame to write"), output:
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_keeps_the_old_file(
    clip_of: Clips, tmp_path: Path, error: type[BaseException]
) -> None:
    clip = probe(clip_of("a.mp4"))
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(error), writing(tmp_path / "out.mp4", encoding(clip), clip, every=4) as out:
        for frame in read_frames(clip):
            out.write(frame.pixels, frame.pts)
            if frame.index == 10:
                raise error
    assert left_in(tmp_path) == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


def test_a_place_that_cannot_be_written_is_an_output_error(clip_of: Clips, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("file/out.mp4", "folder.mp4"):
        with pytest.raises(OutputError):
            copied(clip_of("a.mp4"), tmp_path / name)
    assert left_in(tmp_path) == ["file", "folder.mp4"]


def write_part(clip: Clip, settings: Encoding, folder: Path, stop: int, every: int = 10) -> None:
    """Write frames into `folder` as a run does that is killed after frame `stop`."""
    with pytest.raises(RuntimeError), Segments(folder, settings, every) as frames:
        for frame in read_frames(clip, start=frames.resume):
            if frames.done + frame.index == stop:
                raise RuntimeError
            frames.write(frame.pixels, frame.pts)


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "prores", "ffv1"])
def test_a_resumed_run_ends_with_the_same_file(clip_of: Clips, tmp_path: Path, codec: str) -> None:
    source = clip_of("a.mkv", 35, sounds=1, size=(200, 120))
    clip = probe(source)
    settings = encoding(clip, codec)
    for folder, stops in (("straight", ()), ("stopped", (4, 17, 30, 33))):
        for stop in stops:
            write_part(clip, settings, tmp_path / folder, stop)
        output, segments = tmp_path / f"{folder}.mkv", tmp_path / folder
        with writing(output, settings, clip, segments=segments, every=10) as frames:
            assert frames.done == (30 if stops else 0)
            for frame in read_frames(clip, start=frames.resume):
                frames.write(frame.pixels, frame.pts)
    assert (tmp_path / "straight.mkv").read_bytes() == (tmp_path / "stopped.mkv").read_bytes()
    assert compare(source, tmp_path / "stopped.mkv") == []
    assert left_in(tmp_path) == ["stopped.mkv", "straight.mkv"]


def test_each_segment_begins_anew(clip_of: Clips, tmp_path: Path) -> None:
    clip = probe(clip_of("a.mp4", 12, times=UNEVEN))
    settings = encoding(clip)
    with Segments(tmp_path, settings, 5) as frames:
        for frame in read_frames(clip):
            frames.write(frame.pixels, frame.pts)
    files = segment_files(tmp_path)
    assert [sorted(segment_times(file, settings)) for file in files] == [
        *(UNEVEN[:5], UNEVEN[5:10], UNEVEN[10:])
    ]
    join(tmp_path / "out.mp4", tmp_path, settings, clip)
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [p.pts for p in container.demux(video=0) if p.is_keyframe and p.size]
    assert keys == [UNEVEN[0], UNEVEN[5], UNEVEN[10]]


def test_work_of_other_settings_is_not_resumed(clip_of: Clips, tmp_path: Path) -> None:
    clip = probe(clip_of("a.mp4"))
    write_part(clip, encoding(clip, crf=30), tmp_path, 25)
    with Segments(tmp_path, encoding(clip, crf=30), 10) as frames:
        assert (frames.done, frames.last) == (20, 19 * 512)
    with Segments(tmp_path, encoding(clip, crf=20), 10) as frames:
        assert (frames.done, frames.last, frames.resume) == (0, None, None)
    assert left_in(tmp_path) == []


def test_a_damaged_segment_is_written_again(clip_of: Clips, tmp_path: Path) -> None:
    clip = probe(clip_of("a.mp4"))
    settings = encoding(clip)
    write_part(clip, settings, tmp_path, 29)
    first, second = segment_files(tmp_path)
    second.write_bytes(second.read_bytes()[:-1])
    with Segments(tmp_path, settings, 10) as frames:
        assert frames.done == 10
    assert left_in(tmp_path) == [first.name]


def test_killed_at_any_moment_the_next_run_ends_with_the_same_file(
    clip_of: Clips, tmp_path: Path
) -> None:
    source = clip_of("a.mp4", 60, sounds=1, size=(192, 128))
    chance, kills = random.Random(0), 0
    arguments = [sys.executable, "-c", COPY, str(source)]
    straight = tmp_path / "straight" / "out.mp4"
    straight.parent.mkdir()
    begun = time.monotonic()
    subprocess.run([*arguments, straight, straight.parent / "work"], cwd=ROOT, check=True)
    whole_run = time.monotonic() - begun
    output = tmp_path / "killed" / "out.mp4"
    output.parent.mkdir()
    for _ in range(6):
        command = [*arguments, str(output), str(output.parent / "work")]
        with subprocess.Popen(command, cwd=ROOT) as child:
            try:
                child.wait(timeout=whole_run * chance.uniform(0.3, 1))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                kills += 1
        if output.exists():
            assert output.read_bytes() == straight.read_bytes()
            output.unlink()
    subprocess.run([*arguments, str(output), str(output.parent / "work")], cwd=ROOT, check=True)
    assert output.read_bytes() == straight.read_bytes()
    assert left_in(output.parent) == ["out.mp4"]
    assert kills


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not can_mount(), reason="no mounts without root here")
@pytest.mark.parametrize("size", ["4k", "16k", "40k", "60k"])
def test_a_full_disk_leaves_nothing(clip_of: Clips, tmp_path: Path, size: str) -> None:
    source = clip_of("a.mp4", 60, sounds=1, size=(192, 128))
    script = f'mount -t tmpfs -o size={size} none "$1" && shift; "$@"; echo "exit $?"; ls -A "$0"'
    inside = [sys.executable, "-c", COPY, source, tmp_path / "out.mp4", tmp_path / "work"]
    command = ["unshare", "-rm", "sh", "-c", script, tmp_path, tmp_path, *inside]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith(f"exit {ExitCode.OUTPUT:d}\n"), done
    assert "no space left on device" in done.stderr and done.stderr.count("\n") == 1
    assert "out.mp4" not in done.stdout and "dse-part" not in done.stdout


def test_a_file_size_limit_leaves_nothing(clip_of: Clips, tmp_path: Path) -> None:
    source = clip_of("a.mp4", 60, sounds=1, size=(192, 128))
    script = 'ulimit -f 40; exec "$@"'
    inside = [sys.executable, "-c", COPY, source, tmp_path / "out.mp4", tmp_path / "work"]
    command = ["sh", "-c", script, "sh", *inside]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == ExitCode.OUTPUT, done
    assert "file too large" in done.stderr
    assert not [name for name in left_in(tmp_path) if "out.mp4" in name]


def test_the_sound_of_a_transport_stream_loses_its_headers_alone(
    clip_of: Clips, tmp_path: Path
) -> None:
    source = clip_of("a.ts", sounds=1)
    copied(source, tmp_path / "out.mp4")
    assert audio_packets_sha256(source) == audio_packets_sha256(tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").start < Fraction(1, 10)
