"""Who is on two videos, by a network that the user has."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.media.clip import probe
from dseinvert.media.encoding import encoding
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_write import writing
from dseinvert.run.flow.progress import watching
from dseinvert.run.video import evaluate as video_evaluate
from dseinvert.run.video.evaluate import evaluate_videos
from dseinvert.similarity.identity import Identity
from tests.moving_face import clip


def looks(faces: Tensor) -> Tensor:
    """[B, 3, 112, 112] -> [B, 12]: where a face is bright; enough to tell pictures apart."""
    return torch.nn.functional.adaptive_avg_pool2d(faces, 2).flatten(1)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Identity(looks, "brightness", "0" * 64)
    monkeypatch.setattr(video_evaluate, "open_identity", lambda path: opened)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "source.mp4", 8)


def evaluated(source: Path, other: Path, network: Path | None = Path("net")) -> dict[str, object]:
    with watching(quiet=True) as watcher:
        return evaluate_videos(source, other, watcher, network)


def flickering(source: Path, path: Path) -> Path:
    opened = probe(source)
    with writing(path, encoding(opened, crf=8), opened) as sink:
        for frame in read_frames(opened):
            turned = frame.pixels if frame.index % 2 else cv2.flip(frame.pixels, 0)
            sink.write(np.ascontiguousarray(turned), frame.pts)
    return path


def test_a_video_shows_who_itself_shows(source: Path) -> None:
    told = evaluated(source, source)
    found = [told[name] for name in ("tl_id", "tg_id", "video_id")]
    assert found == pytest.approx([1, 1, 1])
    assert "brightness" in str(told["identity"])


def test_somebody_else_on_every_second_frame_is_told(source: Path, tmp_path: Path) -> None:
    told = evaluated(source, flickering(source, tmp_path / "flickering.mp4"))
    assert float(str(told["tl_id"])) < float(str(told["tg_id"])) < 0.95
    assert float(str(told["video_id"])) < 0.95


def test_without_a_network_nobody_is_recognised(source: Path) -> None:
    told = evaluated(source, source, None)
    assert "video_id" not in told and "--identity" in str(told["identity"])


def test_a_network_that_is_not_there_is_told_before_the_work(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    with pytest.raises(MissingError):
        evaluated(source, source, tmp_path / "none.onnx")
