"""What lies beside the pictures comes along: tags, light levels, alpha, the last frame's length."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dseinvert.media.clip import Clip, probe
from dseinvert.media.described import later, without_place
from dseinvert.media.encoding import encoding
from dseinvert.media.playable import playable
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_write import Cut, suffix_for, writing
from tests.given_clips import given
from tests.media.test_planes import stored

Clips = Callable[..., Path]
HDR = "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
PHONE = {
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.creationdate": "2024-05-01T10:00:00+0200",
    "com.apple.quicktime.location.ISO6709": "+48.2082+016.3738/",
    "com.android.version": "14",
    "creation_time": "2024-05-01T08:00:00.000000Z",
    "make": "M",
    "model": "P",
    "title": "T",
}


def copied(clip: Clip, folder: Path, cut: Cut | None = None, **asked: Any) -> Path:
    settings = playable(clip, **asked).settings
    path = folder / f"out{suffix_for(clip, settings)}"
    with writing(path, settings, clip, cut or Cut()) as sink:
        for frame in read_frames(clip, cut and cut.start, depth=8, planes=True):
            assert frame.planes is not None
            sink.write(frame.planes, frame.pts)
    return path


def tags(path: Path) -> dict[str, str]:
    return {key.lower(): value for key, value in probe(path).metadata.items()}


@pytest.mark.parametrize("name", ["a.mov", "a.mp4", "a.mkv"])
def test_tags_of_phones_and_editors_stay(clip_of: Clips, tmp_path: Path, name: str) -> None:
    box = {} if name == "a.mkv" else {"movflags": "+use_metadata_tags"}
    source = probe(clip_of(name, 4, metadata=PHONE, container=box))
    wanted = {key.lower(): value for key, value in PHONE.items()}
    assert tags(copied(source, tmp_path)).items() >= wanted.items()
    bare = replace(source, metadata=without_place(source.metadata))
    found = tags(copied(bare, tmp_path))
    assert wanted.items() - found.items() == {
        ("com.apple.quicktime.location.iso6709", "+48.2082+016.3738/")
    }


@pytest.mark.parametrize("name", ["apple.mov", "android.mp4"])
def test_those_of_given_clips_too(tmp_path: Path, name: str) -> None:
    source = probe(given(name))
    kept = {key for key in source.metadata if key.startswith("com.")}
    assert kept and kept <= probe(copied(source, tmp_path)).metadata.keys()


@pytest.mark.parametrize(
    ("code", "rate", "seconds", "wanted"),
    [
        ("01:00:00:00", Fraction(25), Fraction(2, 5), "01:00:00:10"),
        ("23:59:59:24", Fraction(25), Fraction(1, 25), "00:00:00:00"),
        ("00:00:59;29", Fraction(30000, 1001), Fraction(1001, 30000), "00:01:00;02"),
        ("00:09:59;29", Fraction(30000, 1001), Fraction(1001, 30000), "00:10:00;00"),
        ("00:00:59:29", Fraction(30000, 1001), Fraction(1001, 30000), "00:01:00:00"),
        ("10:00:00;00", Fraction(30000, 1001), Fraction(0), "10:00:00;00"),
        ("no code", Fraction(25), Fraction(1), "no code"),
    ],
)
def test_a_timecode_moves_by_frames(
    code: str, rate: Fraction, seconds: Fraction, wanted: str
) -> None:
    assert later(code, rate, seconds) == wanted


def test_the_timecode_of_a_part_is_that_of_its_first_frame(clip_of: Clips, tmp_path: Path) -> None:
    code = {"timecode": "01:00:00:00"}
    source = probe(clip_of("a.mov", 30, metadata=code))
    for start, wanted in ((None, "01:00:00:00"), (Fraction(2, 5), "01:00:00:10")):
        path = copied(source, tmp_path, Cut(start))
        with av.open(str(path)) as container:
            assert container.streams.video[0].metadata["timecode"] == wanted
    assert not source.notes


def test_light_levels_of_hdr10_stay_in_h265_and_are_named_elsewhere(
    clip_of: Clips, tmp_path: Path
) -> None:
    options = {"x265-params": f"log-level=none:{HDR}:max-cll=1000,400"}
    source = probe(
        clip_of(
            *("a.mp4", 4),
            codec="libx265",
            pixel_format="yuv420p10le",
            tags=(1, 9, 9, 16),
            options=options,
        )
    )
    assert source.hdr10.endswith("L(10000000,50):max-cll=1000,400")
    assert probe(copied(source, tmp_path)).hdr10 == source.hdr10
    (note,) = playable(source, "ffv1").notes
    assert "mastering display and light levels" in note
    assert "hdr10" not in encoding(replace(source, hdr10="")).as_json()


def boxes(data: bytes) -> dict[bytes, bytes]:
    """All boxes of an mp4 by name, read with no library; the last of a name wins."""
    found, at = dict[bytes, bytes](), 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            break
        content = data[at + 8 : at + size]
        found[name] = content
        skipped = {b"stsd": 8, b"hvc1": 78}.get(name, 0)
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hvc1"):
            found |= boxes(content[skipped:])
        at += size
    return found


def elements(data: bytes) -> dict[int, bytes]:
    """All elements of a Matroska header by their numbers, read with no library."""
    found, at = dict[int, bytes](), 0
    while at < len(data):
        length = 9 - data[at].bit_length()
        number = int.from_bytes(data[at : at + length], "big")
        at += length
        wide = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
        at += wide
        content = data[at : at + size] if size != (1 << 7 * wide) - 1 else data[at:]
        found[number] = content
        if number in (0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0, 0x55D0):
            found |= elements(content)
        if number == 0x1654AE6B:
            break
        at += len(content)
    return found


def test_light_levels_of_hdr10_are_in_the_headers(clip_of: Clips, tmp_path: Path) -> None:
    options = {"x265-params": f"log-level=none:{HDR}:max-cll=1000,400"}
    source = probe(
        clip_of(
            *("a.mp4", 4),
            codec="libx265",
            pixel_format="yuv420p10le",
            tags=(1, 9, 9, 16),
            options=options,
        )
    )
    settings = playable(source).settings
    for suffix in (".mp4", ".mov", ".mkv"):
        path = tmp_path / f"b{suffix}"
        with writing(path, settings, source) as output:
            for frame in read_frames(source, depth=16):
                output.write(frame.pixels, frame.pts)
        data = path.read_bytes()
        if suffix == ".mkv":
            found = elements(data)
            primaries = [
                struct.unpack(">d" if len(found[k]) == 8 else ">f", found[k])[0]
                for k in range(0x55D1, 0x55DB)
            ]
            wanted = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 1000, 0.005]
            np.testing.assert_allclose(primaries, wanted, rtol=1e-5)
            assert [int.from_bytes(found[k], "big") for k in (0x55BC, 0x55BD)] == [1000, 400]
        else:
            found_boxes = boxes(data)
            numbers = struct.unpack(">8H2I", found_boxes[b"mdcv"])
            assert numbers == (13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450, 10000000, 50)
            assert struct.unpack(">2H", found_boxes[b"clli"]) == (1000, 400)
            assert b"hvcC" in found_boxes
        again = probe(path)
        assert again.hdr10 == source.hdr10 and again.rate == source.rate
        assert len([*read_frames(again)]) == 4


def glass(path: Path) -> Path:
    """A VP9 video whose right half is transparent."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libvpx-vp9", 25, options={"auto-alt-ref": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuva420p"
        video.metadata["alpha_mode"] = "1"
        for pts in range(4):
            frame = av.VideoFrame(64, 48, "yuva420p")
            for plane, value in zip(frame.planes, (90 + pts, 120, 130, 255), strict=True):
                np.frombuffer(plane, np.uint8)[...] = value
            np.frombuffer(frame.planes[3], np.uint8).reshape(48, -1)[:, 32:] = 0
            frame.pts = pts
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def test_alpha_of_vp9_is_read_and_stays_where_the_codec_has_it(tmp_path: Path) -> None:
    source = probe(glass(tmp_path / "a.webm"))
    assert source.alpha and source.pixel_format == "yuva420p"
    for codec, suffix in ((None, ".webm"), ("ffv1", ".mp4"), ("prores", ".mov")):
        path = copied(source, tmp_path, codec=codec)
        assert path.suffix == suffix and probe(path).alpha
        (frame, *_) = read_frames(probe(path), planes=True)
        assert frame.planes is not None
        alpha = frame.planes.parts[3]
        most = np.iinfo(np.uint8).max if alpha.dtype == np.uint8 else 1023
        assert alpha[:, :24].min() > 0.97 * most and alpha[:, 40:].max() < 0.03 * most


def test_alpha_that_is_lost_is_said_and_leaves_no_tag(tmp_path: Path) -> None:
    source = probe(glass(tmp_path / "a.webm"))
    (note,) = playable(source, "h264").notes
    assert "its alpha" in note
    path = copied(source, tmp_path, codec="av1", suffix=".webm")
    with av.open(str(path)) as container:
        assert "alpha_mode" not in {key.lower() for key in container.streams.video[0].metadata}


def test_alpha_of_the_given_clip_stays(tmp_path: Path) -> None:
    source = probe(given("alpha.webm"))
    path = copied(source, tmp_path, codec="ffv1")
    assert all(len(planes) == 4 for planes in stored(path))


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_the_last_frame_lasts_as_long_as_it_did(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    with av.open(str(source), "w") as output:
        video = output.add_stream("libvpx-vp9" if name == "a.webm" else "libx264", 25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        packets = []
        for pts in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            packets += video.encode(frame)
        for packet in packets + video.encode(None):
            packet.duration = 50 if packet.pts == 4 else 1
            output.mux(packet)
    (tmp_path / "out").mkdir()
    path = copied(probe(source), tmp_path / "out", suffix=Path(name).suffix)
    for one in (source, path):
        assert probe(one).duration == Fraction(54, 25)


def test_that_of_the_given_clip_too(tmp_path: Path) -> None:
    assert probe(copied(probe(given("last-2s.mkv")), tmp_path)).duration == Fraction(57, 25)
