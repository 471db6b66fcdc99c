from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

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
