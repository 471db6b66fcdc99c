"""Directions survive the disk, and their damage is told in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dseinvert.editing.directions import FORMAT, Direction, dumps, load_directions
from dseinvert.errors import InputError, MissingError


def test_directions_survive_the_disk(tmp_path: Path) -> None:
    pose = Direction("pose", torch.randn(6, 16), "w+", "one deviation", "abc")
    file = tmp_path / "directions.safetensors"
    file.write_bytes(dumps({"pose": pose}))
    again = load_directions(file)["pose"]
    assert torch.equal(again.vector, pose.vector)
    assert (again.space, again.unit, again.generator) == ("w+", "one deviation", "abc")


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "directions.safetensors"
    with pytest.raises(MissingError):
        load_directions(file)
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="not of directions"):
        load_directions(file)
    file.write_bytes(b"junk")
    with pytest.raises(InputError, match="damaged"):
        load_directions(file)


def test_how_and_where_it_was_learned_survives_the_disk(tmp_path: Path) -> None:
    told = Direction("smile", torch.randn(1, 40), "s", "sd", "abc", None, "an SVM", "def")
    low = Direction("pose", torch.randn(6, 16), "w+", "sd", "abc", layers=(0, 3))
    file = tmp_path / "directions.safetensors"
    file.write_bytes(dumps({"smile": told, "pose": low}))
    again = load_directions(file)
    assert torch.equal(again["smile"].vector, told.vector)
    assert (again["smile"].space, again["smile"].learned, again["smile"].encoder) == (
        *("s", "an SVM", "def"),
    )
    assert again["smile"].layers is None and again["pose"].layers == (0, 3)


def test_files_of_earlier_and_later_versions_are_read(tmp_path: Path) -> None:
    earlier = {"space": "w+", "unit": "sd", "generator": "abc"}
    later = {**earlier, "colour": "red"}
    file = tmp_path / "directions.safetensors"
    header = {"format": FORMAT, "a": json.dumps(earlier), "b": json.dumps(later)}
    save_file({"a": torch.ones(6, 16), "b": torch.ones(6, 16)}, file, header)
    read = load_directions(file)
    assert (read["a"].layers, read["a"].learned, read["a"].encoder) == (None, "", "")
    assert read["b"].unit == "sd"


@pytest.mark.parametrize(
    ("facts", "vector"),
    [
        ({"space": "q"}, torch.ones(6, 16)),
        ({"layers": 3}, torch.ones(6, 16)),
        ({"layers": [-2, 3]}, torch.ones(6, 16)),
        ({"layers": [3, 2]}, torch.ones(6, 16)),
        ({}, torch.ones(16)),
        ({}, torch.full((6, 16), torch.nan)),
        ({}, torch.zeros(6, 16)),
    ],
)
def test_directions_that_cannot_be_are_damage(
    tmp_path: Path, facts: dict[str, object], vector: torch.Tensor
) -> None:
    whole = {"space": "w+", "unit": "sd", "generator": "abc", **facts}
    file = tmp_path / "directions.safetensors"
    save_file({"a": vector}, file, {"format": FORMAT, "a": json.dumps(whole)})
    with pytest.raises(InputError, match="damaged"):
        load_directions(file)
