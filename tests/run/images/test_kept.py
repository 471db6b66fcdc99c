"""What hours made under other options is never replaced without a word, nor with one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import numpy as np
import pytest

from dseinvert.cards import bundled_card
from dseinvert.media.images import encode_png
from dseinvert.models import open_model, save_model
from dseinvert.run.images.journal import NAME, dumps, read
from dseinvert.run.images.kept import differences
from dseinvert.run.spread.shard import Shard
from tests.conftest import build_tiny_model

Run = Callable[..., int]
REFINED = ("--no-align", "--refine", "latent:2", "-q")
PLAIN = ("--no-align", "-q")


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder and of those below it, but the books of the processes."""
    found = (path for path in folder.rglob("*") if path.is_file() and "journal" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def some(pictures: Path) -> Path:
    """Two pictures."""
    for number in range(2, 7):
        (pictures / f"p{number}.png").unlink()
    return pictures


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (REFINED, PLAIN, "made with --refine latent:2, now none"),
        (PLAIN, REFINED, "made with --refine none, now latent:2"),
        (REFINED, (*REFINED, "--until", "psnr=30"), "--refine latent:2, now latent:2 psnr=30"),
        (PLAIN, (*PLAIN, "--dry-run", "--refine", "latent:2"), "now latent:2"),
        (
            (*PLAIN, "--format", "jpg"),
            (*PLAIN, "--format", "jpg", "--quality", "50"),
            "--quality as usual, now 50",
        ),
        (
            (*PLAIN, "--edit", "age=1"),
            (*PLAIN, "--edit", "age=1", "--mask", "face"),
            "another --mask",
        ),
    ],
    ids=["none", "more", "until", "dry run", "quality", "mask"],
)
def test_results_of_other_options_stay_until_they_are_to_be_overwritten(
    dse: Run,
    some: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first: tuple[str, ...],
    second: tuple[str, ...],
    said: str,
) -> None:
    out = tmp_path / "out"
    assert dse("images", some, "--out", out, *first) == 0
    before, journal = files(out), (out / NAME).read_bytes()
    capsys.readouterr()
    assert dse("images", some, "--out", out, *second) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "out: holds results made with " in line and said in line
    assert "choose another --out, or --overwrite" in line
    assert files(out) == before and (out / NAME).read_bytes() == journal
    assert dse("images", some, "--out", out, *first) == 0
    assert dse("images", some, "--out", out, *second, "--overwrite") == 0


def test_another_model_is_other_options(
    dse: Run, some: Path, other_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert dse("images", some, "--out", out, *PLAIN) == 0
    before = files(out)
    capsys.readouterr()
    assert dse("images", some, "--out", out, *PLAIN, "--model", other_model) == 6
    assert "other weights of tiny" in capsys.readouterr().err
    assert files(out) == before


def test_what_differs_is_said_before_a_model_is_loaded(
    dse: Run, some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert dse("images", some, "--out", out, *REFINED) == 0
    opened = mock.Mock(side_effect=AssertionError("a model was loaded"))
    monkeypatch.setattr("dseinvert.run.images.run.open_model", opened)
    monkeypatch.setattr("dseinvert.run.spread.crew._start", opened)
    assert dse("images", some, "--out", out, *PLAIN) == 6
    share = next(number for number in (1, 2) if Shard(number, 2).has("p0"))
    assert dse("images", some, "--out", out, *PLAIN, "--shard", f"{share}/2") == 6
    assert dse("images", some, "--out", out, *PLAIN, "--workers", "2") == 6


def test_in_a_store_they_stay_too(
    dse: Run,
    some: Path,
    memory: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("images", some, "--out", "memory://bucket/out", "--no-align", "-q")
    assert dse(*words, "--edit", "age=1") == 0
    before = {path: memory.cat(path) for path in memory.find("/bucket/out") if ".png" in path}
    for other in (("--refine", "latent:2"), ("--edit", "age=1", "--mask", "face")):
        capsys.readouterr()
        assert dse(*words, *other) == 6
        assert "memory://bucket/out: holds results made with " in capsys.readouterr().err
    assert {path: memory.cat(path) for path in before} == before
    assert dse(*words, "--refine", "latent:2", "--overwrite") == 0


def test_more_inputs_of_other_options_are_refused_only_beside_those_that_are_there(
    dse: Run, some: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert dse("images", some / "p0.png", "--out", out, *REFINED) == 0
    before = files(out)
    assert dse("images", some, "--out", out, *PLAIN) == 6
    assert files(out) == before
    assert dse("images", some / "p1.png", "--out", out, *PLAIN) == 0
    assert files(out).items() >= {n: d for n, d in before.items() if n.startswith("p0")}.items()
    assert dse("images", some / "p0.png", "--out", out, *REFINED) == 0
    assert dse("images", some, "--out", out, *PLAIN) == 6


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((), ("--edit", "age=1")),
        (("--edit", "age=1"), ("--edit", "smile=1")),
        (("--edit", "age=1", "--mask", "face"), ("--edit", "smile=1")),
        ((), ("--format", "webp")),
        ((), ("--name-template", "{stem}_{edit}")),
        ((), ("--batch", "1", "--backend", "torch")),
    ],
    ids=["an edit", "another", "without its mask", "format", "names", "batch"],
)
def test_a_run_that_only_adds_goes_on_and_leaves_what_is_there(
    dse: Run, some: Path, tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    assert dse("images", some, "--out", out, *REFINED, *first) == 0
    before = {name: data for name, data in files(out).items() if not name.endswith((".csv", "ml"))}
    assert dse("images", some, "--out", out, *REFINED, *second) == 0
    assert files(out).items() >= before.items()


def test_a_changed_input_and_a_lost_output_are_done_again_and_so_are_lost_ones_of_other_options(
    dse: Run, some: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert dse("images", some, "--out", out, *REFINED) == 0
    (some / "p0.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    (out / "p1.recon.png").unlink()
    assert dse("images", some, "--out", out, *REFINED) == 0
    for path in out.glob("p*"):
        path.unlink()
    assert dse("images", some, "--out", out, *PLAIN) == 0


def test_what_a_newer_version_makes_otherwise_is_made_again(
    dse: Run, some: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert dse("images", some, "--out", out, *REFINED) == 0
    entries = read(out / NAME)
    for entry in entries.values():
        entry.settings["outputs"] = 1
    (out / NAME).write_bytes(b"".join(map(dumps, entries.values())))
    (out / "p1.recon.png").write_bytes(b"as it was made then")
    assert dse("images", some, "--out", out, *REFINED) == 0
    assert read(out / NAME)["p1"].settings["outputs"] == 2
    assert (out / "p1.recon.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_of_versions_are_no_options_and_a_blend_is_one() -> None:
    edited = {"edits": {"age+1": "0f"}, "paste": True}
    assert not differences({**edited, "pasting": 6}, {**edited, "pasting": [7, "moved"]})
    assert not differences({**edited, "masking": 1}, {**edited, "masking": 2, "outputs": 3})
    blended = differences({**edited, "pasting": 7}, {**edited, "pasting": [7, "moved"]})
    assert blended == ["--blend difference, now moved"]
    assert differences({**edited, "gps": True}, edited) == ["--keep-gps"]
    assert not differences({**edited, "gps": True}, {**edited, "edits": {}})


def test_a_direction_that_was_learnt_anew_is_another_option(
    dse: Run, some: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, model = tmp_path / "out", build_tiny_model(tmp_path / "tiny")
    words = ("images", some, "--out", out, *PLAIN, "--model", model)
    assert dse(*words, "--edit", "age=1") == 0
    before = files(out)
    old = open_model(str(model))
    swapped = {
        "age": replace(old.directions["smile"], name="age"),
        "smile": replace(old.directions["age"], name="smile"),
    }
    save_model(model, old.generator, old.encoder, swapped, name="tiny", alignment="ffhq")
    capsys.readouterr()
    assert dse(*words, "--edit", "age=1") == 6
    assert "another direction of --edit age+1" in capsys.readouterr().err
    assert files(out) == before
    assert dse(*words, "--edit", "age=2") == 0


def test_what_is_bundled_with_a_newer_version_is_no_other_option(
    dse: Run,
    some: Path,
    other_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    words = ("images", some, "--out", out, *PLAIN, "--edit", "age=1")
    assert dse(*words) == 0
    before = files(out)
    monkeypatch.setattr("dseinvert.run.images.kept.bundled_card", lambda: {"name": "tiny"})
    assert dse(*words, "--model", other_model) == 0
    assert files(out)["p0.age+1.png"] != before["p0.age+1.png"]


def test_of_the_bundled_model_only_what_a_user_chose_is_told() -> None:
    then = {"model": bundled_card()["name"], "generator": "1", "edits": {"age+1": "0"}}
    assert not differences(then, {**then, "edits": {"age+1": "1"}})
    assert not differences(then, {**then, "generator": "2", "feature_editor": "3"})
    assert differences(then, {**then, "feature_editor": "3"}) == ["another --feature-edit"]
    kept = {**then, "edits": {"age=auto": "0"}}
    assert differences(kept, {**kept, "edits": {"age=auto": "1"}})
    trained = {**then, "model": "mine"}
    assert differences(trained, {**trained, "generator": "2"}) == ["other weights of mine"]


def test_what_a_run_between_left_as_it_was_stays_too(
    dse: Run, some: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("images", some, "--out", out, *PLAIN)
    masked = (*words, "--edit", "age=1", "--mask", "face")
    assert dse(*masked) == 0
    assert dse(*words, "--edit", "smile=1") == 0
    before = files(out)
    capsys.readouterr()
    assert dse(*words, "--edit", "age=1") == 6
    assert "made with another --mask or --region" in capsys.readouterr().err
    assert files(out) == before
    assert dse(*masked) == 0
    assert dse(*words, "--edit", "age=1", "--overwrite") == 0
    assert dse(*words, "--edit", "smile=1") == 0
    assert dse(*words, "--edit", "age=1") == 0


def test_no_folder_is_begun_where_another_holds_results_of_other_options(
    dse: Run, some: Path, tmp_path: Path
) -> None:
    for name in ("a", "z"):
        (some / name).mkdir()
        shutil.copy(some / "p0.png", some / name)
    out = tmp_path / "out"
    words = ("images", "--out", out, "--keep-folders")
    assert dse(*words, some / "z", *REFINED) == 0
    shutil.move(out, out.with_name("z"))
    shutil.move(out.with_name("z"), out / "z")
    before = files(out)
    assert dse(*words, some, *PLAIN) == 6
    assert files(out) == before


@pytest.mark.parametrize(
    "theirs",
    [
        {"edits": ["age+1"], "form": 3, "pasting": [], "paste": "yes", "refine": 9 * ["x"]},
        {"edits": 1, "form": None, "pasting": [1, 2, 3], "mask": {}, "crop": [], "new": "\n"},
        {"edits": {"age+1": []}, "refine": "x" * 10_000, "y" * 10_000: 1},
    ],
)
def test_settings_in_a_journal_may_be_anything(theirs: dict[str, Any]) -> None:
    ours = {"edits": {"age+1": "0f"}, "paste": True, "pasting": [7, "moved"], "crop": "none"}
    for one, other in ((theirs, ours), (ours, theirs)):
        told = differences(one, other)
        assert told and all(len(phrase) < 200 for phrase in told)
