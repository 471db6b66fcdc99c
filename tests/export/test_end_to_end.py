"""`images` and `edit` by another runtime: the same files within the stated tolerance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.export.backend import kept
from dseinvert.export.exporting import Exported
from dseinvert.latent import load_latent
from dseinvert.media.images import read_image
from dseinvert.models import Model

pytest.importorskip("onnxruntime")
Run = Callable[..., int]


def largest(first: Path, second: Path) -> int:
    """The largest difference of any pixel of two folders' pictures, of 255."""
    names = sorted(file.name for file in first.glob("*.png"))
    assert names == sorted(file.name for file in second.glob("*.png")) and names
    pairs = ((read_image(first / name), read_image(second / name)) for name in names)
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in pairs)


def test_images_are_inverted_and_edited_as_by_torch(
    dse: Run, pictures: Path, tmp_path: Path, in_cache: Exported
) -> None:
    for backend in ("torch", "onnx"):
        out = tmp_path / backend
        words = ("--out", out, "--no-align", "--edit", "age=2", "--backend", backend)
        assert dse("images", pictures, *words) == 0
    assert largest(tmp_path / "torch", tmp_path / "onnx") <= 1
    files = sorted((tmp_path / "torch").glob("*.safetensors"))
    assert len(files) == 7
    for file in files:
        wanted, made = load_latent(file), load_latent(tmp_path / "onnx" / file.name)
        assert (made.code - wanted.code).abs().max() <= 1e-4
        assert made.origin["backend"].startswith("onnx ")
        assert "backend" not in wanted.origin


@pytest.mark.usefixtures("quick")
def test_openvino_gives_the_same_files_as_torch(dse: Run, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    for backend in ("torch", "openvino"):
        latents, drawn = tmp_path / backend, tmp_path / f"{backend}-edited"
        words = ("--out", latents, "--no-align", "--edit", "age=2", "--backend", backend)
        assert dse("images", pictures, *words) == 0
        words = ("--out", drawn, "--edit", "smile=-2", "--backend", backend)
        assert dse("edit", tmp_path / "torch", *words) == 0
    assert largest(tmp_path / "torch", tmp_path / "openvino") <= 1
    assert largest(tmp_path / "torch-edited", tmp_path / "openvino-edited") <= 1
    for file in (tmp_path / "torch").glob("*.safetensors"):
        wanted, made = load_latent(file), load_latent(tmp_path / "openvino" / file.name)
        assert (made.code - wanted.code).abs().max() <= 1e-4
        assert made.origin["backend"].startswith("openvino ")


def test_latents_are_rendered_as_by_torch(
    dse: Run, pictures: Path, tmp_path: Path, in_cache: Exported
) -> None:
    latents = tmp_path / "latents"
    assert dse("images", pictures, "--out", latents, "--no-align", "--backend", "torch") == 0
    for backend in ("torch", "onnx"):
        words = ("--edit", "smile=-2", "--out", tmp_path / backend, "--backend", backend)
        assert dse("edit", latents, *words) == 0
    assert largest(tmp_path / "torch", tmp_path / "onnx") <= 1


def test_a_run_by_another_backend_goes_on_where_one_stopped(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    in_cache: Exported,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert dse("images", pictures / "p0.png", "--out", out, "--no-align", "--backend", "torch") == 0
    before = (out / "p0.safetensors").stat().st_mtime_ns
    assert dse("images", pictures, "--out", out, "--no-align", "--backend", "onnx") == 0
    assert (out / "p0.safetensors").stat().st_mtime_ns == before
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    assert [line["backend"].partition(" ")[0] for line in lines] == ["torch", *["onnx"] * 6]
    assert len({json.dumps(line["settings"]) for line in lines}) == 1
    assert "earlier ones are by torch, within 1 of 255" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_first_use_says_what_takes_so_long(
    dse: Run, pictures: Path, tmp_path: Path, tiny: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("images", pictures, "--no-align", "--backend", "onnx")
    assert dse(*words, "--out", tmp_path / "first") == 0
    said = capsys.readouterr().err
    assert said.count("for onnx, which is done once and takes about half a minute") == 1
    assert "1 of 2: writing encoder" in said and "2 of 2: comparing generator" in said
    assert dse(*words, "--out", tmp_path / "second") == 0
    assert "done once" not in capsys.readouterr().err
    assert kept(tiny, "onnx") is not None


def test_an_unknown_backend_ends_before_anything_is_written(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", "--backend", "caffe") == 2
    assert "--backend 'caffe'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tensorrt_on_a_cpu_says_what_it_runs_on(
    dse: Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--out", tmp_path / "out", "--backend", "tensorrt", "--device", "cpu")
    assert dse("images", pictures, *words) == 2
    assert "runs on cuda, not on cpu" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_the_sidecar_is_printed_as_json(
    dse: Run, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("--to", "onnx", "--out", out, "--device", "cpu", "--triton", "--json")
    assert dse("export", tiny_model, *words) == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == json.loads((out / "export.json").read_text())
    assert "comparing generator with PyTorch" in told.err
    assert (out / "triton" / "tiny_generator" / "config.pbtxt").is_file()
