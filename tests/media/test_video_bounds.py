"""A small clip that would take the machine is refused in a line, before its frames are read."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import av
import pytest

from dseinvert.errors import InputError
from dseinvert.media.clip import MOST_STREAMS, probe
from dseinvert.media.video_read import read_frames


def written(
    path: Path,
    size: tuple[int, int] = (16, 16),
    streams: int = 1,
    gap: int = 1,
    codec: str = "mpeg4",
) -> Path:
    """Two frames in each stream, `gap` seconds apart."""
    with av.open(str(path), "w") as container:
        made = [container.add_stream(codec, rate=1) for _ in range(streams)]
        for stream in made:
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
        for stream in made:
            for k in range(2):
                frame = av.VideoFrame(*size, "yuv420p")
                frame.pts = k * gap
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_a_clip_of_far_too_many_streams_is_refused(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = written(tmp_path / "a.mp4", streams=MOST_STREAMS + 1)
    with pytest.raises(InputError, match=f"more than {MOST_STREAMS} streams"):
        probe(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10
    assert probe(written(tmp_path / "b.mp4", streams=20)).size == (16, 16)


def test_a_clip_of_far_too_large_pictures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.mp4", (64, 64))
    monkeypatch.setattr("dseinvert.media.clip.MOST_PIXELS", 64 * 63)
    with pytest.raises(InputError, match="pictures of 64x64"):
        probe(path)


def test_a_gap_of_ten_years_takes_no_time(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mkv", gap=10 * 365 * 86400, codec="ffv1")
    began = time.process_time()
    frames = [*read_frames(probe(path))]
    assert len(frames) == 2 and frames[1].time > 10**8
    assert time.process_time() - began < 5
