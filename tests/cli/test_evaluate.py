from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.media.images import read_image


@pytest.fixture
def line(faces_folder: Path, tiny_model: Path) -> list[str]:
    return ["evaluate", str(faces_folder), "--no-align", "--model", str(tiny_model), "-q"]


def numbers(file: Path) -> list[dict[str, str]]:
    with file.open() as table:
        next(table)
        return list(csv.DictReader(table))


def test_methods_stand_side_by_side_in_files(
    line: list[str], tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "numbers"
    assert run([*line, "--against", str(tiny_model), "--count", "3", "--out", str(out)]) == 0
    names = {"summary.csv", "images.csv", "report.md", "grid.png", "quality-seconds.svg"}
    assert {path.name for path in out.iterdir()} == names
    rows = numbers(out / "images.csv")
    assert [row["method"] for row in rows] == ["mean latent"] * 3 + ["encoder"] * 3 + ["tiny"] * 3
    # The same encoder twice: the same numbers.
    assert [row["psnr"] for row in rows[3:6]] == [row["psnr"] for row in rows[6:]]
    assert "| encoder |" in capfd.readouterr().out
    assert read_image(out / "grid.png").shape[1] == 4 * 98


def test_refinements_are_methods_like_others(
    line: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    more = ["--refine", "latent:3@w+", "--refine", "generator:2"]
    assert run([*line, *more, "--count", "2", "--perceptual", "none", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["summary"]
    psnr = {row["method"]: row["mean"] for row in found if row["measure"] == "psnr"}
    assert [*psnr] == ["mean latent", "encoder", "latent:3@w+", "generator:2"]
    assert min(psnr["latent:3@w+"], psnr["generator:2"]) >= psnr["encoder"] - 1e-3


def test_baselines_stand_in_the_same_table_with_their_steps(
    line: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    more = ["--baselines", "i2s-w+:2,pti:3", "--loss", "perceptual", "--sets", "features"]
    assert run([*line, *more, "--count", "2", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    steps = {row["method"]: row["mean"] for row in found["summary"] if row["measure"] == "steps"}
    assert steps == {"mean latent": 0, "encoder": 0, "i2s-w+:2": 2, "pti:3": 3}
    assert {row["method"] for row in found["summary"] if row["measure"] == "Fréchet"} == {*steps}
    assert "squared error + features" in found["protocol"] and "pti = half" in found["protocol"]


@pytest.fixture
def brightness(tmp_path: Path) -> Path:
    """A scorer whose outputs are the means of red, green and blue."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    of, kind = onnx.helper, onnx.TensorProto.FLOAT
    given = of.make_tensor_value_info("images", kind, ["n", 3, "h", "w"])
    gives = of.make_tensor_value_info("means", kind, ["n", 3, 1, 1])
    nodes = [of.make_node("GlobalAveragePool", ["images"], ["means"])]
    graph = of.make_graph(nodes, "brightness", [given], [gives])
    file = tmp_path / "bright.onnx"
    opset = [of.make_opsetid("", 17)]
    onnx.save(of.make_model(graph, opset_imports=opset, ir_version=8), str(file))
    return file


def test_a_refinement_and_a_baseline_of_one_name_are_told_apart(
    line: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*line, "--refine", "sam:2", "--baselines", "sam:2", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["summary"]
    found = [*dict.fromkeys(row["method"] for row in rows)]
    assert found == ["mean latent", "encoder", "encoder, sam:2", "sam:2"]


def test_edits_are_scored_from_end_to_end(
    line: list[str], brightness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dseinvert.run.evaluate.open_identity", lambda _: no_one)
    out = tmp_path / "numbers"
    words = ["--edit", "age", "--identity", str(brightness), "--scorer", f"{brightness}:1:0..1"]
    assert run([*line, *words, "--count", "2", "--sets", "features", "--out", str(out)]) == 0
    rows = numbers(out / "curves.csv")
    assert len(rows) == 11 and [float(row["strength"]) for row in rows][::10] == [-3, 3]
    # Where nothing is edited nothing changes; elsewhere all is measured.
    assert float(rows[5]["bright-1"]) == pytest.approx(0, abs=1e-6)
    assert float(rows[0]["bright-1"]) != 0
    assert all(float(row[name]) > 0 for row in rows for name in ("prior", "Fréchet"))
    assert (out / "identity-age-by-bright-1.svg").is_file()
    assert "What edits do at either end" in (out / "report.md").read_text("utf-8")


def no_one(images: torch.Tensor) -> torch.Tensor:
    """An embedding that knows colours only."""
    return torch.nn.functional.normalize(images.mean((2, 3)) + 2, dim=1)


def test_the_batch_does_not_change_the_numbers(line: list[str], tmp_path: Path) -> None:
    for batch in ("1", "3"):
        run([*line, "--batch", batch, "--count", "3", "--out", str(tmp_path / batch)])
    one, three = (numbers(tmp_path / batch / "images.csv") for batch in ("1", "3"))
    for a, b in zip(one, three, strict=True):
        assert float(a["psnr"]) == pytest.approx(float(b["psnr"]), abs=1e-3)


def test_json_holds_all_measures(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*line, "--count", "2", "--perceptual", "none", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    measures = {row["measure"] for row in found["summary"] if row["method"] == "encoder"}
    assert {"psnr", "ssim", "mse", "cosine", "prior", "seconds"} <= measures
    assert "dB" in found["protocol"] and found["images"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--refine", "latent:3@q"], "--space 'q'"),
        (["--edit", "age"], "--edit needs an --identity"),
        (["--baselines", "pti,magic"], "--baselines 'pti,magic'"),
        (["--scorer", "smile.onnx:1"], "--scorer without --edit"),
        (["--loss", "perceptual", "--perceptual", "none"], "--loss perceptual"),
        (["--against", "{other}"], "another generator"),
        (["--video", "a.mp4", "b.mp4"], "name images, or two videos"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    line: list[str],
    other_model: Path,
    capfd: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    assert run([*line, *(word.format(other=other_model) for word in more)]) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and message in said[0]
