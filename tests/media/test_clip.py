from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from dseinvert.errors import InputError
from dseinvert.media.clip import probe
from dseinvert.media.images import encode_png

Clips = Callable[..., Path]


def test_a_clip_is_described_by_what_it_holds(clip_of: Clips) -> None:
    path = clip_of(
        "a.mkv", sounds=2, subtitles=True, chapters=True, metadata={"title": "Ünï"}, frames=30
    )
    clip = probe(path)
    assert clip.size == (64, 48)
    assert (clip.codec, clip.pixel_format, clip.chroma, clip.depth) == ("h264", "yuv420p", "420", 8)
    assert (clip.rate, clip.time_base, clip.start) == (25, Fraction(1, 1000), 0)
    assert [track.codec for track in clip.kinds("audio")] == ["aac", "aac"]
    assert [track.codec for track in clip.kinds("subtitle")] == ["srt"]
    assert [chapter["metadata"]["title"] for chapter in clip.chapters] == ["part 0", "part 1"]
    assert clip.metadata["title"] == "Ünï"
    assert not clip.notes and not clip.partial


@pytest.mark.parametrize(("rotation", "size"), [(0, (64, 48)), (90, (48, 64)), (180, (64, 48))])
def test_the_size_is_that_of_the_upright_picture(
    clip_of: Clips, rotation: int, size: tuple[int, int]
) -> None:
    clip = probe(clip_of("a.mp4", rotation=rotation))
    assert clip.size == size
    assert clip.turn.degrees == -rotation % 360


def test_the_shape_of_a_pixel_turns_with_the_picture(clip_of: Clips) -> None:
    assert probe(clip_of("a.mp4", aspect=Fraction(2))).aspect == 2
    assert probe(clip_of("a.mp4", aspect=Fraction(2), rotation=90)).aspect == Fraction(1, 2)


@pytest.mark.parametrize(
    ("pixel_format", "chroma", "depth"),
    [
        ("yuv420p", "420", 8),
        ("yuv422p", "422", 8),
        ("yuv444p", "444", 8),
        ("yuv420p10le", "420", 10),
        ("gray", "420", 8),
    ],
)
def test_chroma_and_depth_are_told(
    clip_of: Clips, pixel_format: str, chroma: str, depth: int
) -> None:
    clip = probe(clip_of("a.mkv", 2, codec="ffv1", pixel_format=pixel_format))
    assert (clip.chroma, clip.depth) == (chroma, depth)


def test_a_cover_is_not_the_video(clip_of: Clips) -> None:
    clip = probe(clip_of("a.mp4", cover=True, sounds=1))
    assert clip.codec == "h264"
    assert clip.notes == ("holds a cover picture, which is dropped",)


def test_hdr_and_transparency_are_noted(clip_of: Clips) -> None:
    hdr = probe(clip_of("a.mkv", 2, codec="ffv1", pixel_format="yuv420p10le", tags=(1, 9, 9, 16)))
    assert hdr.colours.hdr and "HDR" in hdr.notes[0]
    glass = probe(clip_of("a.mkv", 2, codec="ffv1", pixel_format="yuva420p"))
    assert "transparent" in glass.notes[0]


def test_the_name_says_nothing(clip_of: Clips, tmp_path: Path) -> None:
    data = clip_of("a.mp4").read_bytes()
    for name in ("clip", "clip.txt", "clip.jpg", "concat:clip", "a%03d.png", "é\udcff.mp4"):
        path = tmp_path / name
        path.write_bytes(data)
        assert probe(path).claimed_frames == 30


def test_of_two_videos_the_default_one_is_taken(tmp_path: Path, clip_of: Clips) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(clip_of("a.mp4"))) as first, av.open(str(path), "w") as output:
        copies = [output.add_stream_from_template(first.streams.video[0]) for _ in range(2)]
        copies[0].disposition, copies[1].disposition = 0, 1
        for packet in first.demux(video=0):
            if packet.size:
                packet.stream = copies[1]
                output.mux(packet)
    clip = probe(path)
    assert clip.stream == 1
    assert clip.notes == ("holds several video streams; only stream 1 is read and written",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"some text\n" * 60, "is not a video"),
        (b"<html><body>404</body></html>", "is not a video"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "index is missing"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n", "is not a video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "is not a video"),
        (os.urandom(4096), "is not a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(200), "is not a video|cannot be opened"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        probe(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_picture_belongs_to_another_command(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "a.mp4"
    path.write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(InputError, match=r"is a picture.*dseinvert images"):
        probe(path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "missing.mp4", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "not a regular file"),
    ):
        with pytest.raises(InputError, match=reason):
            probe(path)


def test_sound_alone_is_refused(clip_of: Clips, tmp_path: Path) -> None:
    for name, wanted in (("sound.m4a", ("audio",)), ("cover.mp4", ("audio", "attached"))):
        path = tmp_path / name
        source = av.open(str(clip_of("a.mp4", cover=True, sounds=1)))
        with source, av.open(str(path), "w", format="mp4") as output:
            _copy(source, output, wanted)
        with pytest.raises(InputError, match="has no video, only audio"):
            probe(path)


def test_an_index_without_the_pictures_is_refused(clip_of: Clips, tmp_path: Path) -> None:
    whole = clip_of("a.mp4", container={"movflags": "+faststart"}).read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes(whole[: whole.index(b"mdat") + 4])
    with pytest.raises(InputError, match=r"none of its frames|is not a video"):
        probe(path)


@pytest.mark.parametrize("name", [b"encv", b"enca"])
def test_an_encrypted_clip_is_called_protected(clip_of: Clips, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip_of("a.mp4").read_bytes().replace(b"avc1\0", name + b"\0"))
    with pytest.raises(InputError, match="is protected"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "container", "share"),
    [
        ("a.mp4", {"movflags": "+faststart"}, 0.6),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}, 0.6),
        ("a.mkv", {}, 0.6),
        ("a.avi", {}, 0.9),
    ],
)
def test_a_file_that_ends_early_is_partial(
    clip_of: Clips, tmp_path: Path, name: str, container: dict[str, str], share: float
) -> None:
    tick = Fraction(1, 25)
    whole = clip_of(name, 30, container=container, tick=tick, times=range(30), codec="mpeg4")
    assert not probe(whole).partial
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    assert probe(path).partial == "the file ends early"


def _copy(source: av.container.InputContainer, output: object, wanted: tuple[str, ...]) -> None:
    kept = {}
    for stream in source.streams:
        attached = "attached" if "attached" in str(stream.disposition) else stream.type
        if attached in wanted:
            kept[stream.index] = output.add_stream_from_template(stream, opaque=True)
            kept[stream.index].disposition = stream.disposition
    for packet in source.demux():
        if packet.size and packet.stream.index in kept:
            packet.stream = kept[packet.stream.index]
            output.mux(packet)
