"""`video` by another runtime: the same frames within the stated tolerance, of the same latents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.export.exporting import Exported
from dseinvert.media.clip import probe
from dseinvert.media.frame_files import probe_frames
from dseinvert.media.rows import Rows
from dseinvert.media.video_read import read_frames
from tests.moving_face import clip

pytest.importorskip("onnxruntime")
Run = Callable[..., int]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its size is one that loses nothing at --codec ffv1: the colours are not halved."""
    folder = tmp_path_factory.mktemp("clips")
    return clip(folder / "talking.mp4", 18, sound=True, pixel_format="yuv444p")


def pixels(path: Path) -> np.ndarray:
    opened = probe_frames(path) if path.is_dir() else probe(path)
    return np.stack([frame.pixels for frame in read_frames(opened)]).astype(int)


def origin(path: Path) -> dict[str, str]:
    with Rows(path) as rows:
        return json.loads(rows.header["origin"])


@pytest.mark.parametrize("edits", [("--edit", "age=2"), ()], ids=["edited", "reconstructed"])
def test_a_video_is_inverted_and_edited_as_by_torch(
    dse: Run, talking: Path, tmp_path: Path, in_cache: Exported, edits: tuple[str, ...]
) -> None:
    for backend in ("torch", "onnx"):
        words = ("--out", tmp_path / backend, "--frames", "--backend", backend, "-q")
        assert dse("video", talking, *edits, *words) == 0
    name = f"talking.{'age+2' if edits else 'recon'}.frames"
    wanted, made = pixels(tmp_path / "torch" / name), pixels(tmp_path / "onnx" / name)
    assert np.abs(wanted - made).max() <= 1
    assert np.abs(wanted - pixels(talking)).max() > 8  # something was drawn
    ours, theirs = (tmp_path / by / "talking.safetensors" for by in ("torch", "onnx"))
    assert origin(ours)["key"] == origin(theirs)["key"]
    assert origin(ours)["backend"] == "torch" and origin(theirs)["backend"].startswith("onnx ")
    with Rows(ours) as first, Rows(theirs) as second:
        assert np.abs(first.read("code") - second.read("code")).max() <= 1e-4


def test_latents_made_by_one_backend_serve_another(
    dse: Run,
    talking: Path,
    tmp_path: Path,
    in_cache: Exported,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ("video", talking, "--edit", "age=2", "--out", tmp_path, "--json", "-q")
    assert dse(*arguments, "--backend", "torch") == 0
    before = (tmp_path / "talking.safetensors").stat().st_mtime_ns
    capfd.readouterr()
    assert dse(*arguments, "--backend", "onnx") == 0
    (told,) = json.loads(capfd.readouterr().out)["clips"]
    assert told["outputs"][0]["earlier"]
    assert dse(*arguments, "--edit", "smile=1", "--backend", "onnx") == 0
    assert (tmp_path / "talking.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--backend", "caffe"), "--backend 'caffe'"),
        (("--backend", "tensorrt", "--device", "cpu"), "runs on cuda, not on cpu"),
    ],
)
def test_a_backend_that_cannot_be_had_is_refused_before_any_work(
    dse: Run,
    talking: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    assert dse("video", talking, "--out", tmp_path / "out", *words) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_exports_nothing(
    dse: Run, talking: Path, tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("video", talking, "--out", tmp_path, "--backend", "onnx", "--dry-run") == 0
    assert "done once" not in capfd.readouterr().err
    assert not (cache / "exports").exists()
