"""What is written by default is what players and editors take; what was chosen wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dseinvert.errors import MissingError, UsageError
from dseinvert.media.clip import Clip, probe
from dseinvert.media.frame_files import probe_frames
from dseinvert.media.images import encode_png
from dseinvert.media.playable import playable
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_write import suffix_for, writing
from tests.media.test_planes import stored

Clips = Callable[..., Path]
QUIET = {"options": {"x265-params": "log-level=none"}}
PHONE = {"codec": "libx265", "pixel_format": "yuv420p10le", "tags": (1, 9, 9, 18), **QUIET}


def written(clip: Clip, folder: Path, codec: str | None = None, **asked: object) -> Path:
    """The clip written by the choice for it, under the name that suits it."""
    settings = playable(clip, codec, **asked).settings
    path = folder / f"out{suffix_for(clip, settings)}"
    with writing(path, settings, clip) as sink:
        for frame in read_frames(clip, depth=16 if clip.depth > 8 else 8, planes=True):
            sink.write(frame.pixels if frame.planes is None else frame.planes, frame.pts)
    return path


def told(path: Path) -> tuple[str, str, str, str, tuple[int, int]]:
    """Suffix, codec, sample entry, pixel format and size of the video in a file."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        tag, size = context.codec_tag, (context.width, context.height)
        return path.suffix, context.name, tag, context.pix_fmt, size


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("a.mp4", {}, (".mp4", "h264", "avc1", "yuv420p", (64, 48))),
        ("a.mov", PHONE, (".mov", "hevc", "hvc1", "yuv420p10le", (64, 48))),
        (
            "a.mov",
            {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
            (".mov", "hevc", "hvc1", "yuv420p10le", (64, 48)),
        ),
        ("a.mp4", {"pixel_format": "yuv444p"}, (".mp4", "h264", "avc1", "yuv420p", (64, 48))),
        ("a.mp4", {"pixel_format": "yuv422p"}, (".mp4", "h264", "avc1", "yuv420p", (64, 48))),
        (
            "a.avi",
            {"codec": "ffv1", "pixel_format": "bgr0"},
            (".mp4", "h264", "avc1", "yuv420p", (64, 48)),
        ),
        (
            "a.mp4",
            {"size": (63, 47), "pixel_format": "yuv444p"},
            (".mp4", "h264", "avc1", "yuv420p", (64, 48)),
        ),
    ],
    ids=["h264", "phone", "prores", "444", "422", "rgb", "odd"],
)
def test_the_default_is_what_players_take(
    clip_of: Clips, tmp_path: Path, name: str, options: dict[str, object], wanted: tuple[object]
) -> None:
    if name == "a.avi":
        options = {**options, "tick": Fraction(1, 25), "times": range(4)}
    assert told(written(probe(clip_of(name, 4, **options)), tmp_path)) == wanted


def test_pictures_and_gifs_too(clip_of: Clips, tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(encode_png(np.full((47, 63, 3), 50 * k, np.uint8)))
    folder = probe_frames(tmp_path, Fraction(25))
    gif = probe(
        clip_of(
            "a.gif", 3, codec="gif", pixel_format="rgb8", tick=Fraction(1, 100), times=(0, 4, 8)
        )
    )
    for clip, size in ((folder, (64, 48)), (gif, (64, 48))):
        (tmp_path / "out").mkdir(exist_ok=True)
        found = told(written(clip, tmp_path / "out"))
        assert found == (".mp4", "h264", "avc1", "yuv420p", size)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_prores_lies_in_a_mov(clip_of: Clips, tmp_path: Path, name: str) -> None:
    source = probe(clip_of(name, 4, size=(63, 48), codec="libx264", pixel_format="yuv444p"))
    found = told(written(source, tmp_path, "prores"))
    assert found[:2] == (".mov", "prores") and found[3:] == ("yuv422p10le", (64, 48))


def test_one_note_says_what_is_not_as_in_the_source(clip_of: Clips) -> None:
    plain, deep = probe(clip_of("a.mp4")), probe(clip_of("a.mov", 4, **PHONE))
    odd = replace(plain, width=63, chroma="444")
    assert playable(plain).notes == ()
    assert playable(deep).notes == ("is written as h265",)
    (note,) = playable(odd).notes
    assert "loses 4:4:4 chroma" in note and "padded from 63 x 48 to 64 x 48" in note
    (note,) = playable(deep, "h264").notes
    assert "loses 10 bits" in note and "ffv1" in note


def test_what_was_chosen_wins(clip_of: Clips, tmp_path: Path) -> None:
    deep = probe(clip_of("a.mov", 4, **PHONE))
    found = told(written(deep, tmp_path, "h264", pixel_format="yuv422p10le"))
    assert found[1:4] == ("h264", "avc1", "yuv422p10le")
    odd = probe(clip_of("a.mkv", 3, size=(63, 47), codec="ffv1"))
    found = told(written(odd, tmp_path, "h264", pixel_format="yuv444p"))
    assert found[3:] == ("yuv444p", (63, 47))
    with pytest.raises(UsageError, match="av1 takes no --pix-fmt yuv444p"):
        playable(deep, "av1", "yuv444p")


def test_padding_repeats_the_rim_of_the_stored_samples(clip_of: Clips, tmp_path: Path) -> None:
    source = clip_of("a.mkv", 2, size=(63, 47), codec="ffv1")
    path = written(probe(source), tmp_path, "h264", crf=0)
    for old, new in zip(stored(source), stored(path), strict=True):
        assert np.array_equal(new[0][:47, :63], old[0]) and np.array_equal(new[1], old[1])
        assert np.array_equal(new[0][:, 63], new[0][:, 62])


def test_a_codec_without_loss_keeps_what_is_stored(clip_of: Clips) -> None:
    for options in ({"size": (63, 47)}, {"pixel_format": "yuva420p"}, {"pixel_format": "yuv422p"}):
        clip = probe(clip_of("a.mkv", 2, codec="ffv1", **options))
        choice = playable(clip, "ffv1")
        found = choice.settings.pixel_format, choice.settings.width
        assert found == (clip.pixel_format, clip.width)


def test_an_encoder_that_this_ffmpeg_lacks_is_refused_in_one_line(clip_of: Clips) -> None:
    clip = probe(clip_of("a.mp4"))
    with pytest.raises(MissingError, match="this FFmpeg has no encoder hevc_rkmpp") as caught:
        playable(clip, "hevc_rkmpp")
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingError, match="h264_v4l2m2m does not work here"):
        playable(clip, "h264_v4l2m2m")


def with_words(clip: Clip, path: Path) -> list[tuple[str, str, float, float]]:
    """The words of a written copy: kind, text, when and how long."""
    with writing(path, playable(clip).settings, clip) as output:
        for frame in read_frames(clip):
            output.write(frame.pixels, frame.pts)
    found = []
    with av.open(str(path)) as container:
        (stream,) = container.streams.subtitles
        name = {"srt": "subrip"}.get(stream.codec_context.name, stream.codec_context.name)
        for packet in container.demux(stream):
            data = bytes(packet)
            text = (data[2:] if name == "mov_text" else data).decode()
            if packet.size:
                time, length = (
                    round(float(x * packet.time_base), 3) for x in (packet.pts, packet.duration)
                )
                found.append((name, text, time, length))
    return found


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("subrip", "<i>hello</i>, you"),
        ("ass", "0,0,Default,,0,0,0,,{\\i1}hello{\\i0}, you"),
        ("webvtt", "<b>hello</b>, you"),
    ],
)
def test_words_of_matroska_become_those_of_mp4(
    clip_of: Clips, tmp_path: Path, codec: str, data: str
) -> None:
    source = tmp_path / "words.mkv"
    with av.open(str(clip_of("a.mp4"))) as first, av.open(str(source), "w") as output:
        copy = output.add_stream_from_template(first.streams.video[0])
        words = output.add_mux_stream(codec, time_base=Fraction(1, 1000))
        words.metadata["language"] = "deu"
        packet = av.Packet(data.encode())
        packet.stream, packet.time_base = words, Fraction(1, 1000)
        packet.pts, packet.dts, packet.duration = 100, 100, 400
        output.mux(packet)
        for packet in first.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    said = with_words(probe(source), tmp_path / "x.mp4")
    assert [one for one in said if one[1]] == [("mov_text", "hello, you", 0.1, 0.4)]
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.subtitles[0].language == "deu"


def test_words_of_mp4_become_those_of_other_containers(clip_of: Clips, tmp_path: Path) -> None:
    source = tmp_path / "words.mp4"
    with av.open(str(clip_of("a.mp4"))) as first, av.open(str(source), "w") as output:
        copy = output.add_stream_from_template(first.streams.video[0])
        words = output.add_mux_stream("mov_text", time_base=Fraction(1, 1000))
        for packet in first.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
        packet = av.Packet(b"\0\5hello")
        packet.stream, packet.time_base = words, Fraction(1, 1000)
        packet.pts = packet.dts = 100
        packet.duration = 400
        output.mux(packet)
    clip = probe(source)
    for suffix, kind in ((".mkv", "subrip"), (".mov", "mov_text"), (".mp4", "mov_text")):
        said = with_words(clip, tmp_path / f"x{suffix}")
        assert [one for one in said if one[1]] == [(kind, "hello", 0.1, 0.4)]
    assert written(clip, tmp_path, "prores").suffix == ".mov"
