"""A model folder is read back as it was saved, or refused in a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from dseinvert.errors import DeviceError, MissingError, UsageError
from dseinvert.models import (
    describe,
    generator_sha256,
    load_generator,
    open_model,
    pick_device,
    save_model,
)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_a_saved_model_draws_the_same_picture(folder: Path, tmp_path: Path) -> None:
    model = open_model(str(folder))
    save_model(tmp_path / "again", model.generator, model.encoder, name="again")
    again = open_model(str(tmp_path / "again"))
    latent = model.generator.sample([1, 2])
    assert torch.equal(model.generator.synthesize(latent), again.generator.synthesize(latent))
    assert again.sha256 == model.sha256


def test_the_hash_is_known_before_saving(folder: Path, tmp_path: Path) -> None:
    generator = open_model(str(folder)).generator
    save_model(tmp_path / "half", generator, name="half", half=True)
    assert open_model(str(tmp_path / "half")).sha256 == generator_sha256(generator, half=True)


def test_directions_name_the_generator_they_fit(folder: Path) -> None:
    model = open_model(str(folder))
    assert {d.generator for d in model.directions.values()} == {model.sha256}


def test_a_generator_is_found_by_folder_and_by_file(folder: Path) -> None:
    for path in (folder, folder / "generator.safetensors"):
        assert load_generator(path).resolution == 16


def test_describe_is_json(folder: Path) -> None:
    facts = json.loads(json.dumps(describe(open_model(str(folder)))))
    assert facts["layers"] == 6 and set(facts["directions"]) == {"age", "smile"}


@pytest.mark.parametrize(
    "damage", ["cut", "swap", "gone", "text", "format", "numbers", "alignment"]
)
def test_a_damaged_model_is_told_in_a_line(folder: Path, damage: str) -> None:
    weights, card = folder / "generator.safetensors", folder / "model.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "swap":
        shutil.copy(folder / "encoder.safetensors", weights)
    elif damage == "gone":
        weights.unlink()
    elif damage == "text":
        card.write_text("hello")
    elif damage == "format":
        card.write_text('{"format": "other", "name": "x"}')
    elif damage == "alignment":
        card.write_text(json.dumps({**json.loads(card.read_text()), "alignment": "celeba"}))
    else:
        card.write_text(card.read_text().replace('"resolution": 16', '"resolution": 17'))
    with pytest.raises(MissingError) as error:
        open_model(str(folder))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known models"):
        open_model("nobody")
    with pytest.raises(UsageError, match=r"no model\.json"):
        open_model(str(tmp_path))


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x"])
def test_a_name_that_is_no_name_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        save_model(tmp_path / "m", open_model(str(folder)).generator, name=name)


def test_devices_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError):
        pick_device("gpu")
    with pytest.raises(DeviceError):
        pick_device("cuda:99")
