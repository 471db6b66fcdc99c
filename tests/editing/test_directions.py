"""Directions survive the disk, and their damage is told in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dseinvert.editing.directions import Direction, dumps, load_directions
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
