from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dseinvert.cli.edit import edit
from dseinvert.cli.images import images
from dseinvert.config import (
    EditOptions,
    EvaluateOptions,
    ImagesOptions,
    MixOptions,
    MorphOptions,
    PreviewOptions,
    SampleOptions,
    SpreadOptions,
    VideoOptions,
    field_docs,
)
from dseinvert.media.images import encode_png

Run = Callable[..., int]


@pytest.mark.parametrize(("verb", "options"), [(images, ImagesOptions), (edit, EditOptions)])
def test_every_option_of_a_verb_is_a_documented_field(
    verb: Callable[..., int], options: type
) -> None:
    names = {field.name for field in fields(options)}
    assert set(field_docs(options)) == names
    shared = {field.name for field in fields(SpreadOptions)}
    assert set(field_docs(SpreadOptions)) == shared
    talk = {"paths", "json", "quiet", "verbose", "log", "config", *shared}
    assert {{"edit": "edits"}.get(p, p) for p in inspect.signature(verb).parameters} - talk == names


@pytest.mark.parametrize(
    "options",
    [
        *(ImagesOptions, EditOptions, VideoOptions, SampleOptions, MixOptions, MorphOptions),
        *(EvaluateOptions, PreviewOptions),
    ],
)
def test_all_but_the_folder_are_given_by_name(options: type) -> None:
    """So that a new one may stand anywhere."""
    by_place = [field.name for field in fields(options) if not field.kw_only]
    assert by_place == ["out"]


def test_json_is_all_that_stdout_carries(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "p1.png").write_bytes(b"")
    arguments = ("--out", tmp_path / "out", "--no-align", "--edit", "smile=-1.5", "--json")
    assert dse("images", pictures, tmp_path / "none.jpg", *arguments) == 1
    told = json.loads(capfd.readouterr().out)
    assert told["exit_code"] == 1
    assert {item["name"]: item["status"] for item in told["items"]} == {
        **{f"p{n}": "done" for n in range(7)},
        "p1": "refused",
    }
    assert told["items"][-1]["faces"][0]["pictures"]["smile-1.5"].endswith(".smile-1.5.png")
    assert [problem["reason"] for problem in told["problems"]] == ["no such file or directory"]


def test_json_says_why_a_run_could_not_begin(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", tmp_path, "--out", tmp_path / "out", "--json") == 3
    told = capfd.readouterr()
    assert json.loads(told.out)["exit_code"] == 3
    assert told.err.startswith("dseinvert: no images found")


def test_what_a_library_prints_does_not_reach_stdout(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os

    from dseinvert.inversion.inverter import Inverter

    real = Inverter.invert

    def chatty(self: Inverter, images: object) -> object:
        os.write(1, b"hello from C\n")
        print("hello from Python")
        return real(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(Inverter, "invert", chatty)
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align", "--json") == 0
    json.loads(capfd.readouterr().out)


def test_quiet_says_only_what_fails(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--out", tmp_path / "out", "--no-align", "-q")
    assert dse("images", pictures, *arguments) == 0
    assert capfd.readouterr().err == ""
    (pictures / "p1.png").write_bytes(b"")
    assert dse("images", pictures, *arguments) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--edit", "beauty=1"], 2, "this model has: age, smile"),
        (["--edit", "age"], 2, "NAME=STRENGTH"),
        (["--edit", "age=nan"], 2, "not a strength"),
        (["--edit", "age=1e9"], 2, "not a strength"),
        (["--paste"], 2, "--paste needs an --edit"),
        (["--model", "no/such/model"], 2, "no/such/model"),
        (["--device", "cuda:99"], 5, "cuda:99"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_any_work(
    dse: Run,
    pictures: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align", *arguments) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_missing_not_a_bug(
    dse: Run, pictures: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert dse("images", pictures, "--out", tmp_path / "out", "--model", broken) == 4
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_nothing_usable_ends_with_exit_3(dse: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert dse("images", tmp_path / "a.jpg", "--out", out, "--no-align") == 3
    assert dse("images", tmp_path / "none.jpg", "--out", out, "--no-align") == 3


def test_a_dry_run_can_be_read_by_programs(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert dse("images", pictures / "p0.png", "--out", out, "--no-align", "-q") == 0
    (pictures / "new.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    assert dse("images", pictures, "--out", out, "--no-align", "--dry-run", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["dry_run"]
    assert [item["name"] for item in told["items"]] == ["p0"]
    assert [item["name"] for item in told["todo"]] == ["new", *(f"p{n}" for n in range(1, 7))]


@pytest.mark.parametrize("label", ["3", "dog", "-1"])
def test_a_class_that_the_model_does_not_have_is_refused(
    dse: Run, pictures: Path, tmp_path: Path, label: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("images", pictures, "--out", tmp_path / "out", "--label", label) == 2
    assert "--label" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
