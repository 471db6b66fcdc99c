"""What can be done with a GAN that has no encoder, and what of it reaches its encoders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.models import open_model
from tests.media.test_sets import zipped

Run = Callable[..., int]
FEW = ("--iterations", "1", "--batch", "2", "--eval-samples", "2", "--grid-every", "0", "-q")
SMALL = ("--without-lpips", "--widths", "8,8,8,8", "--device", "cpu")


def methods(told: str) -> list[str]:
    rows = json.loads(told)["summary"]
    return [*dict.fromkeys(row["method"] for row in rows)]


def test_baselines_that_need_no_encoder_run_on_a_bare_gan(
    dse: Run, foreign_gan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("evaluate", zipped(tmp_path), "--no-align", "--count", "2", "--perceptual", "none")
    words = (*words, "--model", foreign_gan, "--json", "-q")
    assert dse(*words, "--baselines", "all:2") == 0
    found = methods(capfd.readouterr().out)
    alone = ["i2s-w:2", "i2s-w+:2", "pti:2", "bdinvert:2", "sam:2"]
    assert found == ["mean latent", *alone, "pti-z+:2", "bdinvert-z+:2", "sam-z+:2"]
    for asked in ("none", "indomain:2"):
        assert dse(*words, "--baselines", asked) == 4
        assert "no encoder" in json.loads(capfd.readouterr().out)["error"]


def test_directions_of_a_gan_reach_the_runs_trained_from_it(
    dse: Run, foreign_gan: Path, tmp_path: Path
) -> None:
    assert dse("models", "add", foreign_gan, "--name", "mine") == 0
    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        assert dse("train", "--gan", "mine", "--out", run, *FEW, *SMALL) == 0
    learn = ("directions", "learn", "--method", "sefa", "--count", "2", "--model")
    assert dse(*learn, "mine") == 0
    assert not open_model(str(runs[0])).directions
    assert dse("train", "--gan", "mine", "--out", runs[0], *FEW, *SMALL) == 0  # it had ended
    assert {*open_model(str(runs[0])).directions} == {"sefa0", "sefa1"}
    folder = open_model("mine").folder
    assert dse("directions", "import", folder, "--model", runs[1]) == 0
    assert {*open_model(str(runs[1])).directions} == {"sefa0", "sefa1"}
    assert dse("directions", "import", tmp_path, "--model", runs[1]) == 2


def test_what_was_learned_on_a_run_stays_there(dse: Run, foreign_gan: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = ("train", "--gan", foreign_gan, "--out", run, *FEW, *SMALL)
    assert dse(*train) == 0
    learn = ("directions", "learn", "--method", "sefa", "--count", "1", "--model", run)
    assert dse(*learn) == 0
    assert dse(*train, "--iterations", "2") == 0
    assert {*open_model(str(run)).directions} == {"sefa0"}


def test_a_plane_that_was_judged_on_few_codes_is_told(
    dse: Run, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    for count, told in ((30, True), (220, False)):
        rows = [f"{seed},{seed % 2}" for seed in range(count)]
        (tmp_path / "scores.csv").write_text("\n".join(["seed,hat", *rows]))
        words = ("directions", "learn", "--method", "interfacegan", "--name", f"hat{count}", "-q")
        words = (*words, "--labels", tmp_path / "scores.csv", "--attribute", "hat")
        assert dse(*words, "--model", tiny_model, "--copy", f"copy{count}") == 0
        assert ("says little" in capfd.readouterr().err) == told


def test_verify_names_the_models(
    dse: Run, foreign_gan: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "add", foreign_gan, "--name", "mine") == 0
    capfd.readouterr()
    assert dse("models", "verify", "mine") == 0
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith("ok") and line.endswith("(mine)")
    assert dse("models", "verify", "mine", "--json") == 0
    assert json.loads(capfd.readouterr().out)[0]["name"] == "mine"


def test_pictures_of_a_table_are_found_in_a_set(dse: Run, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    rows = [f"00000/img{number:08}.png,{number % 2}" for number in range(20)]
    (tmp_path / "table.csv").write_text("\n".join(["file,hat", *rows]))
    words = ("directions", "learn", "--method", "interfacegan", "--name", "hat", "--no-align", "-q")
    words = (*words, "--labels", tmp_path / "table.csv", "--images", zipped(tmp_path))
    assert dse(*words, "--model", tiny_model, "--copy", "other") == 0
    assert "hat" in open_model("other").directions


def test_an_encoder_is_adapted_to_a_set(dse: Run, tiny_model: Path, tmp_path: Path) -> None:
    words = ("finetune", "--on", zipped(tmp_path), "--model", tiny_model, "--no-align", "-q")
    few = ("--iterations", "1", "--batch", "2", "--perceptual", "none")
    assert dse(*words, *few, "--out", tmp_path / "mine") == 0
