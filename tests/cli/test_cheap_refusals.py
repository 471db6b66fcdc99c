"""What is cheap is looked at first: no model is loaded for inputs that are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from dseinvert.cli.main import run
from dseinvert.config import EditOptions
from dseinvert.progress import SILENT

Run = Callable[..., int]
LOADING = (
    *("evaluate", "finetune", "images.run", "play.edit", "play.mix", "play.morph"),
    *("video.run", "video.still", "video.sheet", "directions.change"),
)
"""The runs that load a model."""
NOTHING = "nothing*"


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """What tells whether a model was loaded."""
    opened = mock.Mock(side_effect=AssertionError("a model was loaded"))
    for name in LOADING:
        monkeypatch.setattr(f"dseinvert.run.{name}.open_model", opened)
    return opened


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", NOTHING],
        ["images", NOTHING, "--out", "{out}"],
        ["edit", NOTHING, "--out", "{out}"],
        ["mix", NOTHING, NOTHING, "--layers", "0", "--out", "{out}"],
        ["morph", NOTHING, "--out", "{out}/a.mp4"],
        ["video", NOTHING, "--out", "{out}"],
        ["video", NOTHING, "--out", "{out}", "--still", "0"],
        ["video", NOTHING, "--list-people"],
        ["finetune", "--on", NOTHING, "--out", "{out}"],
        ["directions", "preview", "age", "--latents", NOTHING, "--out", "{out}"],
    ],
    ids=" ".join,
)
def test_inputs_that_are_not_there_are_one_line_before_a_model_is_loaded(
    words: list[str],
    no_model: mock.Mock,
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = [word.format(out=tmp_path / "out") for word in words]
    assert run([*given, "--model", str(tiny_model)]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{NOTHING}: matches no file" in line
    assert not no_model.called and not (tmp_path / "out").exists()


def test_the_model_is_what_the_same_words_load_for_inputs_that_are_there(
    no_model: mock.Mock, pictures: Path, tiny_model: Path
) -> None:
    run(["evaluate", str(pictures), "--model", str(tiny_model)])
    assert no_model.called


@pytest.fixture
def latents(dse: Run, pictures: Path, tmp_path: Path) -> Path:
    """A folder that `images` wrote, edited pictures too."""
    out = tmp_path / "latents"
    assert dse("images", pictures, "--no-align", "--edit", "age=2", "--out", out, "-q") == 0
    return out


@pytest.mark.parametrize("place", ["", "more", "more/of/it"])
def test_edits_do_not_come_to_lie_among_their_inputs(
    dse: Run, latents: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(latents.rglob("*"))
    assert dse("edit", latents, "--edit", "smile=1", "--out", latents / place, "-q") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"lies in the input {latents}" in line
    assert sorted(latents.rglob("*")) == before


@pytest.mark.parametrize("place", ["", "more"])
def test_a_folder_of_edits_from_before_goes_on(
    dse: Run, latents: Path, place: str, tiny_model: Path
) -> None:
    from dseinvert.run.play.edit import run_edit

    out = latents / place
    run_edit([str(latents)], EditOptions(out, edits=("smile=1",), model=str(tiny_model)), SILENT)
    first = out / "p0.smile+1.png"
    drawn = first.read_bytes()
    first.unlink()
    assert dse("edit", latents, "--edit", "smile=1", "--out", out, "-q") == 0
    assert first.read_bytes() == drawn


def test_files_and_globs_may_be_edited_beside_themselves(dse: Run, latents: Path) -> None:
    files = latents / "*.safetensors"
    assert dse("edit", files, "--edit", "smile=1", "--out", latents, "-q") == 0
    assert (latents / "p0.smile+1.png").exists()
