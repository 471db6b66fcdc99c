from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.errors import ExitCode, MissingError, NoInputError, OutputError, UsageError
from dseinvert.models import Model, open_model
from dseinvert.training import adapt as room
from dseinvert.training.adapt import adapt, picture_side, split
from dseinvert.training.options import FinetuneOptions
from tests.conftest import build_tiny_model, picture

OPTIONS = FinetuneOptions(
    iterations=6, batch=4, lr=0.01, eval_every=2, ema=0.5, perceptual="none", held_out=0.25
)
SIDE = picture_side(16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def model(folder: Path) -> Model:
    return open_model(str(folder))


def photos(count: int = 12) -> list[list[np.ndarray]]:
    """Files of one face each."""
    return [[picture(seed, SIDE, SIDE)] for seed in range(count)]


def encoder(out: Path) -> bytes:
    return (out / "encoder.safetensors").read_bytes()


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int, how: object) -> None:
    """Be asked to stop, or be killed, in the middle of a step."""
    descend = room.descend

    def interrupted(run, state, batch, *, measure):
        if state.step == step:
            if isinstance(how, BaseException):
                raise how
            signal.raise_signal(how)
        return descend(run, state, batch, measure=measure)

    monkeypatch.setattr(room, "descend", interrupted)


def test_the_held_out_loss_falls_and_a_new_model_lies_beside_the_old(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    done = adapt(model, photos(), replace(OPTIONS, iterations=30), tmp_path / "mine")
    assert done.after["loss"] < 0.98 * done.before["loss"]
    assert (done.learned, done.held_out) == (9, 3)
    new = open_model(str(tmp_path / "mine"))
    assert new.name == "mine"
    assert new.sha256 == model.sha256
    assert new.encoder_sha256 != model.encoder_sha256
    assert new.directions.keys() == model.directions.keys() == {"age", "smile"}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_the_card_says_what_was_gained(model: Model, tmp_path: Path) -> None:
    done = adapt(model, photos(), OPTIONS, tmp_path / "mine")
    card = json.loads((tmp_path / "mine" / "model.json").read_text())["adapted"]
    assert card["before"] == done.before
    assert card["after"] == done.after
    assert (card["learned"], card["held_out"], card["best"]) == (9, 3, done.best)


def test_the_numbers_of_the_card_are_those_of_the_saved_encoder(
    model: Model, tmp_path: Path
) -> None:
    done = adapt(model, photos(), OPTIONS, tmp_path / "mine")
    again = adapt(
        open_model(str(tmp_path / "mine")),
        photos(),
        replace(OPTIONS, iterations=1),
        tmp_path / "next",
    )
    assert again.before == pytest.approx(done.after, rel=1e-5)


def test_the_same_seed_gives_the_same_model_and_another_does_not(
    model: Model, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        adapt(model, photos(), replace(OPTIONS, seed=seed), tmp_path / name)
    assert encoder(tmp_path / "a") == encoder(tmp_path / "b") != encoder(tmp_path / "c")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, SystemExit()])
@pytest.mark.parametrize("step", [0, 2, 3])
def test_a_run_that_was_cut_short_goes_on_bit_for_bit(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: object, step: int
) -> None:
    whole = adapt(model, photos(), OPTIONS, tmp_path / "whole" / "run")
    out = tmp_path / "parts" / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, step, how)
        if isinstance(how, BaseException):
            with pytest.raises(SystemExit):
                adapt(model, photos(), OPTIONS, out)
        else:
            part = adapt(model, photos(), OPTIONS, out)
            assert part.step == step + 1
            assert part.stopped in (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
    assert open_model(str(out)).encoder is not None
    assert adapt(model, photos(), OPTIONS, out) == whole
    for name in ("encoder.safetensors", "model.json", "evaluation.csv", "training.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / "run" / name).read_bytes()


def test_a_finished_run_is_not_run_again(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = adapt(model, photos(), OPTIONS, tmp_path / "run")
    interrupt_at(monkeypatch, OPTIONS.iterations, AssertionError("a step too many"))
    assert adapt(model, photos(), OPTIONS, tmp_path / "run") == done


def test_where_it_gets_worse_it_ends_early_and_rolls_back(model: Model, tmp_path: Path) -> None:
    wild = replace(OPTIONS, lr=1.0, iterations=40, patience=2)
    done = adapt(model, photos(), wild, tmp_path / "run")
    assert done.step < 40
    assert done.step == done.best + 2 * wild.eval_every
    new = open_model(str(tmp_path / "run"))
    if done.best == 0:
        assert done.after == done.before
        old = dict(model.encoder.state_dict())  # type: ignore[union-attr]
        assert all(torch.equal(t, old[n]) for n, t in new.encoder.state_dict().items())  # type: ignore[union-attr]


def test_files_are_held_out_whole() -> None:
    files = [[picture(10 * k + n, SIDE, SIDE) for n in range(3)] for k in range(6)]
    learned, held = split(files, OPTIONS)
    assert (len(learned), len(held)) == (12, 6)
    keys = {picture.tobytes() for picture in held}
    for faces in files:
        assert len({face.tobytes() in keys for face in faces}) == 1


@pytest.mark.parametrize(
    "files", [photos(7), [[], *photos(7)], [[face for (face,) in photos(12)]], []]
)
def test_too_few_faces_are_refused(
    model: Model, tmp_path: Path, files: list[list[np.ndarray]]
) -> None:
    with pytest.raises(NoInputError, match="too few"):
        adapt(model, files, OPTIONS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_on_other_pictures_or_with_other_options_is_refused(
    model: Model, tmp_path: Path
) -> None:
    adapt(model, photos(), OPTIONS, tmp_path / "run")
    with pytest.raises(UsageError, match="pictures"):
        adapt(model, photos(13), OPTIONS, tmp_path / "run")
    with pytest.raises(UsageError, match="lr"):
        adapt(model, photos(), replace(OPTIONS, lr=0.1), tmp_path / "run")
    with pytest.raises(UsageError, match="eval_steps"):
        adapt(model, photos(), replace(OPTIONS, eval_every=3), tmp_path / "run")


def test_no_model_is_overwritten(model: Model, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the model that is adapted"):
        adapt(model, photos(), OPTIONS, folder)
    other = build_tiny_model(tmp_path / "other", seed=1)
    before = encoder(other)
    with pytest.raises(UsageError, match="another model"):
        adapt(model, photos(), OPTIONS, other)
    assert encoder(other) == before


def test_a_model_without_an_encoder_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no encoder"):
        adapt(replace(model, encoder=None), photos(), OPTIONS, tmp_path / "run")


def test_a_file_in_the_way_is_told(model: Model, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="run"):
        adapt(model, photos(), OPTIONS, tmp_path / "run" / "deeper")


@pytest.mark.parametrize(
    "change",
    [
        *({"iterations": 0}, {"batch": 1}, {"lr": 0}, {"seed": -1}, {"synthetic": 1.0}),
        *({"held_out": 0.0}, {"ema": 1.0}, {"patience": 0}, {"perceptual": "ssim"}),
    ],
)
def test_senseless_options_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(change)).replace("_", "-")):
        FinetuneOptions(**change)  # type: ignore[arg-type]
