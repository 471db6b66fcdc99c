from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dseinvert.errors import InputError, OutputError, UsageError
from dseinvert.media.clip import probe
from dseinvert.media.encoding import encoding
from dseinvert.media.frame_files import TIMES, probe_frames, writing_frames
from dseinvert.media.images import encode_png
from dseinvert.media.video_read import frame_times, read_frames
from dseinvert.media.video_write import writing

Clips = Callable[..., Path]


def save(folder: Path, *names: str, size: tuple[int, int] = (6, 8)) -> None:
    """One plain picture for each name, the next brighter than the last."""
    for index, name in enumerate(names):
        (folder / name).write_bytes(encode_png(np.full((*size, 3), 10 * index, np.uint8)))


def test_numbers_order_the_frames(tmp_path: Path) -> None:
    save(tmp_path, "f1.png", "f2.png", "f10.png")
    (tmp_path / "notes.txt").write_text("mine")
    clip = probe_frames(tmp_path, Fraction(30000, 1001))
    frames = list(read_frames(clip))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 10, 20]
    assert [frame.time for frame in frames] == [Fraction(1001 * i, 30000) for i in range(3)]
    assert (clip.size, clip.rate, clip.claimed_frames) == ((8, 6), Fraction(30000, 1001), 3)
    assert clip.duration == Fraction(3003, 30000)


def test_a_part_of_a_folder(tmp_path: Path) -> None:
    save(tmp_path, *(f"{index}.png" for index in range(10)))
    frames = read_frames(probe_frames(tmp_path, Fraction(10)), Fraction(3, 10), Fraction(1, 2))
    assert [frame.pts for frame in frames] == [3, 4]


def test_a_clip_becomes_files_and_a_clip_again(clip_of: Clips, tmp_path: Path) -> None:
    times = [0, 512, 1000, 1700, 1701, 3000]
    source = probe(clip_of("a.mp4", 6, times=times))
    pixels = []
    with writing_frames(tmp_path / "new" / "frames", source.time_base) as files:
        for frame in read_frames(source):
            files.write(frame.pixels, frame.pts)
            pixels.append(frame.pixels)
    clip = probe_frames(tmp_path / "new" / "frames")
    assert [path.name for path in clip.files] == [f"frame-{n:06d}.png" for n in range(1, 7)]
    assert clip.time_base == source.time_base and frame_times(clip) == times
    for frame, wanted in zip(read_frames(clip), pixels, strict=True):
        assert (frame.pixels == wanted).all()
    table = (tmp_path / "new" / "frames" / TIMES).read_text().splitlines()
    assert table[:3] == [
        "file,pts,time_base,seconds",
        "frame-000001.png,0,1/12800,0.000000",
        "frame-000002.png,512,1/12800,0.040000",
    ]


def test_a_folder_becomes_a_video(tmp_path: Path) -> None:
    save(tmp_path, "1.png", "2.png", "3.png", size=(48, 64))
    clip = probe_frames(tmp_path, Fraction(24))
    with writing(tmp_path / "out.mp4", encoding(clip), clip) as output:
        for frame in read_frames(clip):
            output.write(frame.pixels, frame.pts)
    made = probe(tmp_path / "out.mp4")
    assert [pts * made.time_base for pts in frame_times(made)] == [
        0,
        Fraction(1, 24),
        Fraction(1, 12),
    ]
    assert made.duration == Fraction(3, 24)
    assert made.colours.matrix == 1


def test_a_folder_without_frames_or_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        probe_frames(tmp_path, Fraction(25))
    save(tmp_path, "1.png")
    with pytest.raises(UsageError, match="has no frame rate"):
        probe_frames(tmp_path)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "not a table of these frames"),
        ("file,pts,time_base\n1.png,0,1/25\n", "not a table of these frames"),
        ("file,pts,time_base\n1.png,0,1/0\n2.png,1,1/0\n", "not a table of these frames"),
        ("file,pts,time_base\n1.png,x,1/25\n2.png,1,1/25\n", "not a table of these frames"),
        ("file,pts,time_base\n1.png,1,1/25\n2.png,1,1/25\n", "do not grow"),
        ("\0\udcff", "not a table of these frames"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, table: str, reason: str) -> None:
    save(tmp_path, "1.png", "2.png")
    (tmp_path / TIMES).write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reason):
        probe_frames(tmp_path)


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    save(tmp_path, "1.png", "2.png")
    save(tmp_path, "3.png", size=(8, 6))
    frames = iter(read_frames(probe_frames(tmp_path, Fraction(25))))
    assert [next(frames).pts, next(frames).pts] == [0, 1]
    with pytest.raises(InputError, match=r"3\.png: is 6 x 8 where the first frame is 8 x 6"):
        next(frames)


def test_a_place_for_frames_that_cannot_be_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError), writing_frames(tmp_path / "file" / "out", Fraction(1, 25)):
        pass
