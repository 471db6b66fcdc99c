from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.media.images import encode_png
from dseinvert.media.scan import scan
from dseinvert.run.images.journal import NAME, read
from dseinvert.run.images.plan import Plan, make_plan

Run = Callable[..., int]


@pytest.fixture
def finished(dse: Run, pictures: Path, tmp_path: Path) -> Path:
    """The output folder of a finished run over `pictures`."""
    out = tmp_path / "out"
    assert dse("images", pictures, "--out", out, "--no-align", "-q") == 0
    return out


def plan(out: Path, *patterns: Path, changed: bool = False, overwrite: bool = False) -> Plan:
    known = read(out / NAME)
    settings = next(iter(known.values())).settings
    settings = {**settings, "model": "another"} if changed else settings
    return make_plan(scan([str(p) for p in patterns]), out, known, settings, overwrite)


def todo(plan: Plan) -> list[str]:
    return [item.name for item in plan.todo]


def test_what_is_done_is_not_done_again(finished: Path, pictures: Path) -> None:
    again = plan(finished, pictures)
    assert not again.todo
    assert len(again.settled) == 7


def test_overwrite_does_it_again(finished: Path, pictures: Path) -> None:
    assert len(plan(finished, pictures, overwrite=True).todo) == 7


def test_other_settings_do_it_again(finished: Path, pictures: Path) -> None:
    assert len(plan(finished, pictures, changed=True).todo) == 7


def test_a_source_with_other_bytes_is_done_again(finished: Path, pictures: Path) -> None:
    (pictures / "p3.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    assert todo(plan(finished, pictures)) == ["p3"]


def test_a_source_with_another_date_only_is_not(finished: Path, pictures: Path) -> None:
    (pictures / "p3.png").touch()
    assert not plan(finished, pictures).todo


@pytest.mark.parametrize("role", ["safetensors", "input.png", "recon.png"])
def test_a_lost_or_altered_output_is_made_again(finished: Path, pictures: Path, role: str) -> None:
    (finished / f"p1.{role}").unlink()
    altered = finished / f"p2.{role}"
    altered.write_bytes(altered.read_bytes()[:-1] + b"x")
    assert todo(plan(finished, pictures)) == ["p1", "p2"]


def test_an_output_that_merely_exists_is_not_taken_for_done(finished: Path, pictures: Path) -> None:
    (finished / NAME).write_bytes(b"")
    settings = {"model": "tiny"}
    assert len(make_plan(scan([str(pictures)]), finished, {}, settings).todo) == 7


def test_a_folder_that_moved_is_still_done(finished: Path, pictures: Path) -> None:
    moved = pictures.rename(pictures.with_name("elsewhere"))
    assert len(plan(finished, moved).settled) == 7


def test_a_second_folder_with_the_same_names_is_new(finished: Path, pictures: Path) -> None:
    second = pictures.with_name("second")
    shutil.copytree(pictures, second)
    assert todo(plan(finished, pictures, second)) == [f"second_p{n}" for n in range(7)]


def test_outputs_in_the_input_folder_are_not_inputs(dse: Run, pictures: Path) -> None:
    for _ in range(2):
        assert dse("images", pictures, "--out", pictures, "--no-align", "--edit", "age=1.5") == 0
    assert len(read(pictures / NAME)) == 7


def test_an_output_folder_inside_the_input_folder_is_not_read(dse: Run, pictures: Path) -> None:
    for _ in range(2):
        assert dse("images", pictures, "--out", pictures / "out", "--no-align", "-q") == 0
    assert len(read(pictures / "out" / NAME)) == 7


def test_outputs_that_a_killed_run_did_not_list_are_not_inputs(dse: Run, pictures: Path) -> None:
    arguments = ("images", pictures, "--out", pictures, "--no-align", "--edit", "age=1.5,smile=-2")
    assert dse(*arguments) == 0
    (pictures / NAME).unlink()
    assert dse(*arguments) == 0
    assert len(read(pictures / NAME)) == 7


def test_an_input_is_never_overwritten(
    dse: Run, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = pictures / "p1.recon.png"
    (pictures / "p2.png").rename(mine)
    before = mine.read_bytes()
    assert dse("images", pictures, "--out", pictures, "--no-align") == 1
    assert mine.read_bytes() == before
    assert "p1.png: its output p1.recon.png would replace an input" in capfd.readouterr().err


def test_outputs_of_inputs_that_are_gone_are_told_and_stay(
    dse: Run, finished: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "p1.png").rename(pictures / "summer.png")
    (pictures / "p2.png").unlink()
    capfd.readouterr()
    assert dse("images", pictures, "--out", finished, "--no-align") == 0
    assert "stay, 2 in all: p1, p2" in capfd.readouterr().err
    assert (finished / "p1.recon.png").is_file() and (finished / "summer.recon.png").is_file()


def test_inputs_that_are_merely_not_named_are_not_gone(finished: Path, pictures: Path) -> None:
    assert plan(finished, pictures / "p0.png").left == ()


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_pictures_of_another_form_are_done_too(
    dse: Run, pictures: Path, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "small"
    words = ("--no-align", "--format", format, "-q")
    assert dse("images", pictures, "--out", out, *words) == 0
    assert len(plan(out, pictures).settled) == 7


def test_a_refused_file_is_not_opened_again(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "p1.png").write_bytes(b"no picture at all")
    given = ("images", pictures, "--out", tmp_path / "out", "--no-align")
    assert dse(*given, "-q") == 1
    assert not plan(tmp_path / "out", pictures).todo
    capfd.readouterr()
    assert dse(*given) == 1
    assert "p1.png: is text, not an image" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (encode_png(np.zeros((20, 20, 3), np.uint8)), ("--max-pixels", "50")),
        (b"\0\0\0\x18ftypheic" + bytes(60), ()),
    ],
    ids=["max-pixels", "a package that is not there"],
)
def test_a_refusal_that_can_be_lifted_is_tried_again(
    dse: Run, tmp_path: Path, data: bytes, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.png").write_bytes(data)
    given = ("images", tmp_path / "a.png", "--out", tmp_path / "out", "--no-align", "-q")
    assert dse(*given, *options) != 0
    assert todo(plan(tmp_path / "out", tmp_path / "a.png")) == ["a"]


def test_a_refused_file_with_other_bytes_is_read(dse: Run, pictures: Path, tmp_path: Path) -> None:
    good = (pictures / "p1.png").read_bytes()
    (pictures / "p1.png").write_bytes(b"no picture at all")
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align", "-q") == 1
    (pictures / "p1.png").write_bytes(good)
    assert todo(plan(tmp_path / "out", pictures)) == ["p1"]
