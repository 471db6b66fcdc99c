from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from dseinvert.errors import OutputError
from dseinvert.media.clip import probe
from dseinvert.media.encoding import encoding
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_verify import audio_packets_sha256, compare, compared, verify
from dseinvert.media.video_write import writing

Clips = Callable[..., Path]
MADE = "2024-05-01T08:00:00.000000Z"
TIMES = [Fraction(index, 25) for index in range(30)]


def test_a_clip_is_like_itself(clip_of: Clips) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi"):
        source = clip_of(name, sounds=1, codec="mpeg4", sound_codec="ac3")
        assert compare(source, source) == []


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"frames": 29}, "29 frames, not 30"),
        ({"times": [*range(0, 29 * 512, 512), 29 * 512 + 40]}, "1 frames are shown at other times"),
        ({"times": range(0, 30 * 510, 510)}, "29 frames are shown at other times"),
        ({"sounds": 0}, r"audio packets differ \(1 and 0 streams\)"),
        ({"sounds": 2}, r"audio packets differ \(1 and 2 streams\)"),
        ({"sound_codec": "ac3"}, "audio packets differ"),
    ],
)
def test_each_difference_is_told(clip_of: Clips, other: dict[str, object], difference: str) -> None:
    found = compare(clip_of("a.mp4", sounds=1), clip_of("b.mp4", **{"sounds": 1, **other}))
    assert any(re.match(difference, text) for text in found), found


def test_a_longer_last_frame_is_told(clip_of: Clips, tmp_path: Path) -> None:
    source, output = clip_of("a.mp4", options={"bf": "0"}), tmp_path / "b.mp4"
    with av.open(str(source)) as first, av.open(str(output), "w") as second:
        copy = second.add_stream_from_template(first.streams.video[0])
        for packet in first.demux(video=0):
            if packet.size:
                packet.duration += 1024 * (packet.pts == 29 * 512)
                packet.stream = copy
                second.mux(packet)
    assert compare(source, output) == ["lasts 1.28 s, not 1.2 s"]


def test_sound_is_told_apart_by_its_packets_alone(clip_of: Clips) -> None:
    one, same = clip_of("a.mp4", sounds=2), clip_of("a.mkv", sounds=2)
    first, second = audio_packets_sha256(one)
    assert first != second
    assert audio_packets_sha256(same) == (first, second)
    assert audio_packets_sha256(clip_of("a.mp4")) == ()


def test_a_good_file_verifies(clip_of: Clips) -> None:
    verify(clip_of("a.mp4"), Path("out.mp4"), TIMES)


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (TIMES[:-1], "30 frames instead of 29"),
        ([*TIMES, Fraction(3)], "30 frames instead of 31"),
        ([*TIMES[:-1], Fraction(2)], "a frame at 1.16 s, not 2.0 s"),
    ],
)
def test_other_frames_than_written_are_found_out(
    clip_of: Clips, times: list[Fraction], reason: str
) -> None:
    with pytest.raises(OutputError, match=f"out.mp4: the written file .*{reason}"):
        verify(clip_of("a.mp4"), Path("out.mp4"), times)


def test_a_damaged_file_is_found_out(clip_of: Clips, tmp_path: Path) -> None:
    whole = clip_of("a.mp4", container={"movflags": "+faststart"}).read_bytes()
    path = tmp_path / "a.mp4"
    for data in (b"", whole[:-400], whole[:200]):
        path.write_bytes(data)
        with pytest.raises(OutputError, match="the written file is not as it should be"):
            verify(path, Path("out.mp4"), TIMES)


@pytest.mark.parametrize("name", ["a.mov", "a.mp4", "a.mkv", "a.webm"])
def test_a_copy_says_of_itself_what_its_source_says(
    clip_of: Clips, tmp_path: Path, name: str
) -> None:
    """All but what the muxers say about themselves, and the codec."""
    webm, options = name == "a.webm", dict[str, object]()
    if webm:
        options = {"codec": "libvpx-vp9", "sound_codec": "libopus"}
    tags = {"title": "T", "artist": "me", "com.android.version": "14", "creation_time": MADE}
    source = clip_of(
        name,
        6,
        sounds=1,
        chapters=True,
        metadata=tags,
        container={} if webm or name == "a.mkv" else {"movflags": "+use_metadata_tags"},
        **options,
    )
    clip = probe(source)
    output = tmp_path / f"out{Path(name).suffix}"
    with writing(output, encoding(clip, "av1" if webm else "h264"), clip) as sink:
        for frame in read_frames(clip):
            sink.write(frame.pixels, frame.pts)
    rows = compared(source, output)
    own = ("encoder", "duration", "compatible_brands", "minor_version", "stream 0 video")
    own += ("side data sei_unregistered",)  # the settings of x264
    left = [row for row in rows if row[1] != row[2] and not row[0].endswith(own)]
    assert left == []
    assert {("tag title", "T", "T"), ("chapter at 0.500", "part 1", "part 1")} <= {*rows}
