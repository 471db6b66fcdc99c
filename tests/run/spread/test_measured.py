"""Shares of `evaluate`, joined, say what one process says."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.evaluation.compare import Result
from dseinvert.evaluation.curves import Curve
from dseinvert.evaluation.frechet import crowd_of
from dseinvert.evaluation.portion import Faces, Portion, dumps, join, load

Run = Callable[[list[str]], int]
COSTS = ("seconds", "peak MiB")


@pytest.fixture
def line(pictures: Path, tiny_model: Path) -> list[str]:
    words = ["--no-align", "--sets", "features", "--batch", "2", "--refine", "latent:2@w+"]
    return ["evaluate", str(pictures), *words, "--model", str(tiny_model), "-q"]


def table(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        next(lines)
        return list(csv.DictReader(lines))


def same_numbers(one: Path, other: Path) -> None:
    """All tables of two folders, except what costs were, within rounding."""
    for name in ("images.csv", "summary.csv"):
        rows, others = table(one / name), table(other / name)
        assert len(rows) == len(others)
        for row, beside in zip(rows, others, strict=True):
            assert row.keys() == beside.keys()
            if row.get("measure") in COSTS:
                continue
            for column in row.keys() - {*COSTS}:
                try:
                    wanted = pytest.approx(float(beside[column]), rel=1e-4, abs=1e-5)
                except ValueError:
                    assert row[column] == beside[column]
                else:
                    assert float(row[column]) == wanted, (name, row, column)
    assert (one / "grid.png").read_bytes() == (other / "grid.png").read_bytes()


@pytest.mark.parametrize("words", [[], ["--count", "5"]])
def test_shares_are_joined_to_the_table_of_one_process(
    line: list[str], words: list[str], tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run([*line, *words, "--out", str(whole)]) == 0
    for number in (3, 1, 2):
        assert run([*line, *words, "--out", str(out), "--shard", f"{number}/3"]) == 0
    assert not (out / "report.md").exists()
    assert run(["report", str(out)]) == 0
    same_numbers(out, whole)
    assert {row["measure"] for row in table(out / "summary.csv")} > {"Fréchet", "psnr", "steps"}


def test_a_share_that_is_missing_or_damaged_is_told(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run([*line, "--out", str(out), "--shard", "1/2"]) == 0
    capsys.readouterr()
    assert run(["report", str(out)]) == 3
    (told,) = capsys.readouterr().err.splitlines()
    assert "of 7 inputs are in no share yet" in told
    assert run([*line, "--out", str(out), "--shard", "2/2"]) == 0
    file = out / "measured-2-of-2.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    capsys.readouterr()
    assert run(["report", str(out)]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "measured-2-of-2.safetensors: damaged numbers of a share" in told
    assert run([*line, "--out", str(out), "--shard", "2/2"]) == 0
    assert run(["report", str(out)]) == 0


def test_shares_with_other_options_are_refused(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run([*line, "--out", str(out), "--shard", "1/2"]) == 0
    capsys.readouterr()
    other = ["--refine", "latent:3@w+", "--out", str(out), "--shard", "2/2"]
    assert run([*line, *other]) == 6
    (told,) = capsys.readouterr().err.splitlines()
    assert "measured-1-of-2.safetensors is of another refine" in told


def test_workers_share_a_comparison_and_print_its_table(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*line, "--out", str(tmp_path / "whole")]) == 0
    capfd.readouterr()
    assert run([*line, "--out", str(tmp_path / "out"), "--workers", "2"]) == 0
    assert "Medians ± deviation over 7 images." in capfd.readouterr().out
    same_numbers(tmp_path / "out", tmp_path / "whole")


def test_a_share_without_a_picture_says_so_and_spoils_nothing(
    line: list[str], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line[1] = str(pictures / "p0.png")
    out = tmp_path / "out"
    for number in (1, 2):
        assert run([*line, "--out", str(out), "--shard", f"{number}/2", "--json"]) == 0
        capfd.readouterr()
    counts = [len(load(path).faces.names) for path in sorted(out.iterdir())]
    assert sorted(counts) == [0, 1]
    assert run(["report", str(out), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["folders"][0]["faces"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "1/2"], "need an --out"),
        (["--out", "o", "--shard", "1/2", "--protocol", "dse"], "--protocol is measured by one"),
        (["--out", "o", "--engine", "ray"], "--engine ray does not measure"),
        (["--out", "o", "--shard", "3/2"], "--shard '3/2'"),
    ],
)
def test_what_is_not_shared_is_one_line(
    line: list[str], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line, *words]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert said in told


def test_edits_of_shares_are_joined() -> None:
    """Curves hold a number for each strength and face, and a set for each strength."""

    def curve(count: int, first: int) -> Curve:
        numbers = torch.arange(first, first + count).float().expand(2, -1)
        crowd = crowd_of(numbers[0][:, None].double())
        scores = {"b": numbers + 20, "a": numbers + 30}
        return Curve("m", "age", (-1.0, 1.0), numbers, numbers, scores, crowds=(crowd, crowd))

    def portion(count: int, first: int) -> Portion:
        places = tuple((first + k, 0) for k in range(count))
        inputs = tuple(place for place, _ in places)
        crops = tuple(np.zeros((2, 2, 3), np.uint8) for _ in places)
        faces = Faces(tuple(map(str, inputs)), places, crops, inputs, 5)
        ones = torch.ones(count)
        crowd = crowd_of(torch.arange(first, first + count)[:, None].double() + 2)
        result = Result("m", None, torch.zeros(count, 3, 2, 2), {"psnr": ones}, ones, None)
        return Portion(faces, (result,), (curve(count, first),), crowd, settings={"a": "b"})

    whole = join([loads(dumps(portion(2, 3))), loads(dumps(portion(3, 0)))], Path())
    (one,) = whole.curves
    assert one.identity.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert [*one.scores] == ["b", "a"] and one.scores["a"][0].tolist() == [30, 31, 32, 33, 34]
    assert one.apart == pytest.approx([4.0, 4.0]) and whole.faces.names == tuple("01234")


def loads(data: bytes) -> Portion:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "share.safetensors")
        path.write_bytes(data)
        return load(path)
