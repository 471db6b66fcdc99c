from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from dseinvert.errors import InputError
from dseinvert.media import video_read
from dseinvert.media.clip import probe
from dseinvert.media.video_read import frame_times, read_frames

Clips = Callable[..., Path]
Number = Callable[[np.ndarray], int]
ROOT = Path(__file__).parents[2]
UNEVEN = [0, 512, 1000, 1700, 1701, 3000, 3512, 4024, 9000, 9512, 10024, 12000]
# Reads each file named on the command line to its end, and tells what came of it, a line each.
READ_ALL = """
import json, sys
from pathlib import Path
from dseinvert.errors import InputError
from dseinvert.media.clip import probe
from dseinvert.media.video_read import read_frames
for name in sys.argv[1:]:
    try:
        reading = read_frames(probe(Path(name)))
        frames = sum(1 for _ in reading)
        print(json.dumps([name, frames, reading.partial, [*reading.clip.notes]]), flush=True)
    except InputError as error:
        print(json.dumps([name, 0, False, str(error)]), flush=True)
"""


def read_in_a_child(paths: list[Path]) -> dict[Path, tuple[int, bool, object]]:
    """Frames, whether partial, and notes or the refusal of each file; a crash or a hang fails."""
    command = [sys.executable, "-c", READ_ALL, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-2000:])
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(name): (frames, partial, notes) for name, frames, partial, notes in told}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}),
        ("a.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.avi", {"codec": "mpeg4", "tick": Fraction(1, 25), "times": range(30)}),
        ("a.ts", {}),
        ("a.gif", {"codec": "gif", "pixel_format": "rgb8", "tick": Fraction(1, 100)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_come_whole_and_in_order(
    clip_of: Clips, number_of: Number, name: str, options: dict[str, object]
) -> None:
    if name == "a.gif":
        options = {**options, "times": range(0, 120, 4)}
    clip = probe(clip_of(name, 30, **options))
    reading = read_frames(clip)
    frames = list(reading)
    assert [number_of(frame.pixels) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    seconds = [frame.time - frames[0].time for frame in frames]
    assert seconds == pytest.approx([index / 25 for index in range(30)], abs=0.0011)
    assert frames[0].pixels.shape == (48, 64, 3) and frames[0].pixels.dtype == np.uint8
    assert frames[0].key and not reading.partial


def test_uneven_times_are_exact(clip_of: Clips, number_of: Number) -> None:
    clip = probe(clip_of("a.mp4", 12, times=UNEVEN))
    frames = list(read_frames(clip))
    assert [frame.pts for frame in frames] == UNEVEN == frame_times(clip)
    assert [frame.time for frame in frames] == [Fraction(pts, 12800) for pts in UNEVEN]
    assert [number_of(frame.pixels) for frame in frames] == list(range(12))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pixels_stand_upright(clip_of: Clips, rotation: int) -> None:
    straight, turned = (
        next(iter(read_frames(probe(path)))).pixels
        for path in (clip_of("a.mp4"), clip_of("a.mp4", rotation=rotation))
    )
    assert (np.rot90(straight, rotation // 90) == turned).all()


@pytest.mark.parametrize(
    "options", [{}, {"options": {"x264-params": "open-gop=1:bframes=3", "g": "7"}}]
)
def test_a_part_has_the_very_pixels_of_the_whole(
    clip_of: Clips, options: dict[str, object]
) -> None:
    clip = probe(clip_of("a.mp4", 30, **options))
    whole = list(read_frames(clip))
    for first, end in ((0, 3), (4, 5), (7, 12), (10, 30), (13, 14), (29, 30), (30, 40)):
        part = list(read_frames(clip, Fraction(first, 25), Fraction(end, 25)))
        assert [frame.pts for frame in part] == [frame.pts for frame in whole[first:end]]
        for one, other in zip(part, whole[first:end], strict=True):
            assert (one.pixels == other.pixels).all()
        assert [frame.index for frame in part] == list(range(len(part)))


def test_a_part_of_a_file_without_times_is_found_too(clip_of: Clips, number_of: Number) -> None:
    clip = probe(clip_of("a.h264", 30))
    reading = read_frames(clip, Fraction(1, 2), Fraction(3, 5))
    assert [number_of(frame.pixels) for frame in reading] == [13, 14]
    assert "without a time" in reading.trouble.problems[0]
    assert not reading.partial


@pytest.mark.parametrize(
    ("given", "wanted", "problem"),
    [
        ([0, None, None, 1536], [0, 512, 1024, 1536], "without a time"),
        ([None, None, None], [0, 512, 1024], "without a time"),
        ([0, 512, 512, 1024], [0, 512, 513, 1024], "do not grow"),
        ([0, 512, 400, 1024], [0, 512, 513, 1024], "do not grow"),
        ([50_000, 50_512, 0, 512], [50_000, 50_512, 51_024, 51_536], "do not grow"),
        ([-1024, -512, 0], [-1024, -512, 0], ""),
    ],
)
def test_times_always_grow(
    clip_of: Clips,
    monkeypatch: pytest.MonkeyPatch,
    given: list[int | None],
    wanted: list[int],
    problem: str,
) -> None:
    frames = [SimpleNamespace(pts=pts, dts=None) for pts in given]
    monkeypatch.setattr(video_read, "decoded", lambda *_: iter(frames))
    clip = replace(probe(clip_of("a.mp4")), duration=None)
    reading = read_frames(clip)
    found = [pts for pts, _ in video_read.timed_frames(clip, reading.trouble)]
    assert found == wanted
    assert [problem in text for text in reading.trouble.problems] == ([True] if problem else [])


def broken(path: Path, out: Path, packets: tuple[int, ...]) -> Path:
    """`path` with the data of some packets overwritten."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        found = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for number in packets:
        position, size = found[number]
        data[position : position + size] = bytes(size)
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("packets", [(0,), (7,), (11, 12, 20), (29,)])
def test_a_bad_packet_costs_its_frame_alone(
    clip_of: Clips, number_of: Number, tmp_path: Path, packets: tuple[int, ...]
) -> None:
    source = clip_of("a.mov", 30, codec="png", pixel_format="rgb24")
    reading = read_frames(probe(broken(source, tmp_path / "a.mov", packets)))
    numbers = [number_of(frame.pixels) for frame in reading]
    assert numbers == [number for number in range(30) if number not in packets]
    assert reading.trouble.lost == len(packets)
    assert reading.partial


def test_a_clip_whose_every_packet_is_bad_is_refused(clip_of: Clips, tmp_path: Path) -> None:
    source = clip_of("a.mov", 30, codec="png", pixel_format="rgb24")
    with pytest.raises(InputError, match="none of its frames can be decoded"):
        probe(broken(source, tmp_path / "a.mov", tuple(range(30))))


def test_a_header_that_promises_more_is_found_out(clip_of: Clips) -> None:
    clip = probe(clip_of("a.mp4"))
    reading = read_frames(replace(clip, duration=Fraction(60)))
    assert len(list(reading)) == 30
    assert reading.partial and "before its header says" in reading.trouble.problems[0]


def test_only_a_few_frames_are_held(clip_of: Clips) -> None:
    clip = probe(clip_of("a.mp4", 200))
    frames: Iterator[video_read.Frame] = iter(read_frames(clip))
    first = next(frames)
    assert first.pixels.base is None or first.pixels.base.nbytes < 10 * first.pixels.nbytes
    assert sum(1 for _ in frames) == 199


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"container": {"movflags": "+faststart"}}),
        ("b.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
        ("a.mkv", {}),
        ("a.ts", {}),
        ("a.webm", {"codec": "libvpx-vp9", "sound_codec": "libopus"}),
        ("a.avi", {"codec": "mpeg4", "tick": Fraction(1, 25), "times": range(30)}),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
    ],
)
def test_a_file_cut_anywhere_is_read_or_refused(
    clip_of: Clips, tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    whole = clip_of(name, 30, sounds=1, **options)
    data, paths = whole.read_bytes(), []
    for share in range(1, 25):
        paths.append(tmp_path / f"{share:02d}-{name}")
        paths[-1].write_bytes(data[: len(data) * share // 25])
    counts = []
    for path, (frames, partial, said) in read_in_a_child(paths).items():
        assert frames <= 30
        assert frames or str(said).startswith(str(path))
        # A transport stream, or pieces of mp4, may end between two packets unnoticed.
        assert partial or frames == 30 or not frames or name in ("a.ts", "b.mp4")
        counts.append(frames)
    assert counts == sorted(counts) and counts[-1] > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_file_with_flipped_bytes_is_read_or_refused(
    clip_of: Clips, tmp_path: Path, seed: int
) -> None:
    chance, paths = np.random.default_rng(seed), []
    for name in ("a.mp4", "a.mkv", "a.ts"):
        whole = clip_of(name, 30, sounds=1)
        for number in range(8):
            data = bytearray(whole.read_bytes())
            for at in chance.integers(0, len(data), 20):
                data[at] = chance.integers(256)
            paths.append(tmp_path / f"{number}-{name}")
            paths[-1].write_bytes(data)
    assert len(read_in_a_child(paths)) == len(paths)
