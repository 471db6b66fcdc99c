from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.cli.main import run

Run = Callable[..., int]


def test_list_can_be_read_by_programs(dse: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert dse("models", "list", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert all({"name", "folder", "description", "bytes"} == set(row) for row in rows)


def test_list_has_one_line_a_model(dse: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert dse("models", "list", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert dse("models", "list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]


def test_show_describes_a_folder(
    dse: Run, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "show", tiny_model, "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["name"] == "tiny"
    assert set(told["directions"]) == {"age", "smile"}
    assert dse("models", "show", tiny_model) == 0
    assert "age: one deviation" in capfd.readouterr().out


def test_a_file_is_added_shown_verified_and_removed(
    dse: Run, foreign_gan: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "add", foreign_gan, "--name", "mine", "--json") == 0
    added = json.loads(capfd.readouterr().out)
    assert added["name"] == "mine" and added["new"] is True
    assert dse("models", "path", "mine") == 0
    assert capfd.readouterr().out.strip() == added["folder"]
    assert dse("models", "show", "mine", "--json") == 0
    assert json.loads(capfd.readouterr().out)["source"]["file"] == foreign_gan.name
    assert dse("models", "verify", "mine", "--json") == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert told["files"] == {"generator.safetensors": "ok"}
    assert dse("models", "rm", "mine") == 0
    assert not Path(added["folder"]).exists()
    assert dse("models", "rm", "mine") == 2


def test_adding_again_says_so(
    dse: Run, foreign_gan: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "add", foreign_gan) == 0 == dse("models", "add", foreign_gan)
    first, second = capfd.readouterr().out.splitlines()
    assert first.endswith("(added)") and second.endswith("(here already)")


def test_damage_is_exit_code_4(
    dse: Run, foreign_gan: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "add", foreign_gan) == 0 == dse("models", "verify")
    (weights,) = (cache / "models").glob("*/generator.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    capfd.readouterr()
    assert dse("models", "verify") == 4
    told = capfd.readouterr()
    assert f"damaged  {weights}" in told.out and told.err.count("\n") == 1
    assert dse("models", "show", "foreign-gan") == 4
    (weights.parent / "model.json").write_text("")
    assert dse("models", "verify", "--json") == 4
    assert {"model.json": "damaged"} in [row["files"] for row in json.loads(capfd.readouterr().out)]


def test_a_checkpoint_file_can_be_shown_and_trained_for(
    dse: Run, foreign_gan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("models", "show", foreign_gan, "--json") == 0
    assert json.loads(capfd.readouterr().out)["name"] == "foreign-gan"
    few = ["--iterations", 1, "--batch", 1, "--eval-samples", 1, "--grid-every", 0, "-q"]
    small = ["--without-lpips", "--widths", "8,8,8,8", "--device", "cpu"]
    run = tmp_path / "run"
    assert dse("train", "--gan", foreign_gan, "--out", run, *few, *small) == 0
    assert dse("models", "show", run, "--json") == 0


def test_what_can_be_pulled_is_listed(dse: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert dse("models", "pull", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert dse("models", "pull") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    assert dse("models", "pull", "nothing") == 2


def test_a_gan_of_faces_crops_photos_only_when_it_is_said_to_be_one(
    foreign_gan: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def alignment() -> str:
        capfd.readouterr()
        assert run(["models", "show", "mine", "--json"]) == 0
        return str(json.loads(capfd.readouterr().out)["alignment"])

    assert run(["models", "add", str(foreign_gan), "--name", "mine"]) == 0
    assert alignment() == "none"
    assert run(["models", "add", str(foreign_gan), "--faces"]) == 0
    assert alignment() == "ffhq"
    assert run(["models", "add", str(foreign_gan)]) == 0
    assert alignment() == "ffhq"
