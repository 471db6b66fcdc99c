"""`--keep-folders`: the folders of the inputs are those of the outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., int]


@pytest.fixture
def tree(pictures: Path) -> Path:
    """p0.png at the top, and two other pictures of that name in folders below."""
    for number, folder in ((1, "summer"), (2, "summer/beach")):
        (pictures / folder).mkdir()
        shutil.move(pictures / f"p{number}.png", pictures / folder / "p0.png")
    for number in range(3, 7):
        (pictures / f"p{number}.png").unlink()
    return pictures


def latents(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*.safetensors")}


KEPT = {"p0.safetensors", "summer/p0.safetensors", "summer/beach/p0.safetensors"}


def test_pictures_of_one_name_keep_it_in_folders_of_their_own(
    dse: Run, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--out", tmp_path / "out", "--no-align", "--keep-folders")
    assert dse("images", tree, *words) == 0
    assert "3 faces from 3 images in 3 folders" in capfd.readouterr().err
    assert latents(tmp_path / "out") == KEPT
    assert (tmp_path / "out" / "summer" / "beach" / "index.html").is_file()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    assert dse("images", tree, *words, "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert all(item["earlier"] for part in told["folders"] for item in part["items"])
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_outputs_below_the_inputs_are_not_taken_for_inputs(
    dse: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    for _ in range(2):
        assert dse("images", ".", "--out", "out", "--no-align", "--keep-folders", "-q") == 0
        assert latents(tree / "out") == KEPT


def test_a_glob_keeps_the_folders_behind_its_first_star(
    dse: Run, tree: Path, tmp_path: Path
) -> None:
    words = ("--out", tmp_path / "out", "--no-align", "--keep-folders", "-q")
    assert dse("images", f"{tree}/*/p0.png", *words) == 0
    assert latents(tmp_path / "out") == {"summer/p0.safetensors"}


def test_without_it_no_picture_is_lost_either(dse: Run, tree: Path, tmp_path: Path) -> None:
    assert dse("images", tree, "--out", tmp_path / "out", "--no-align", "-q") == 0
    assert len(latents(tmp_path / "out")) == 3
