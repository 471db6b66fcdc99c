"""A file is taken by the first reader that knows its content, or told apart in one line."""

from __future__ import annotations

import json
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import deep_gan_generators
from dseinvert.importers import read as reading
from dseinvert.importers.found import Found
from dseinvert.importers.read import inventory, read, readers
from dseinvert.pickled.machine import Foreign
from tests.references import contents
from tests.references.progressive import reference


def test_no_reader_takes_what_is_nothing_or_raises() -> None:
    inert = Foreign("a", "b", args=(1,), called=True)
    for content in (None, 3, "x", [], (), {}, {1: 2}, {"g_ema": 3}, {"state_dict": {}}, inert):
        assert [reader for reader in readers() if reader.recognise(content)] == []


CONTENTS: dict[str, Callable[[], Any]] = {
    "stylegan2_ada": lambda: contents.stylegan2_ada("stylegan2-ada-skip"),
    "stylegan3": lambda: contents.stylegan3("stylegan3-t"),
    "tensorflow": lambda: contents.tensorflow("stylegan1"),
    "genforce": lambda: {"generator_smooth": contents.genforce("pggan-genforce")},
    "gan_zoo": contents.gan_zoo,
    "biggan": lambda: contents.biggan(reference("biggan-128")),
    "rosinality": contents.rosinality,
    "psp": lambda: contents.psp("psp"),
    "deep_gan_encoders": lambda: contents.deep_gan_encoder(reference("deep-gan-e")),
    "deep_gan_generators": lambda: dict.fromkeys(deep_gan_generators.MARKS),
    "directions": lambda: {"smile": np.ones((1, 24), np.float32)},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_order_of_readers_does_not_matter(name: str) -> None:
    content = CONTENTS[name]()
    took = [reader.__name__ for reader in readers() if reader.recognise(content)]
    assert took == [f"dseinvert.importers.{name}"]


def test_every_reader_is_tried_here() -> None:
    elsewhere = {
        "e2style",
        "hfgi",
        "hyperstyle",
        "idinvert",
        "style_feature",
        "styleres",
    }  # test_inverters.py
    names = {reader.__name__.rpartition(".")[2] for reader in readers()}
    assert names - elsewhere == {*CONTENTS} and names >= elsewhere


def test_a_known_format_is_named(foreign_gan: Path) -> None:
    found = read(foreign_gan)
    assert found.generator is not None and "genforce" in found.format


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    foreign_gan: Path, tmp_path: Path, bad: float
) -> None:
    content = torch.load(foreign_gan)
    for name, tensor in content["generator_smooth"].items():
        broken = {**content["generator_smooth"], name: torch.full_like(tensor, bad)}
        if name.endswith(("lod", "filter")):  # says how, is no weight
            continue
        torch.save({"generator_smooth": broken}, tmp_path / "x.pth")
        with pytest.raises(InputError) as error:
            read(tmp_path / "x.pth")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["gone", "shape", "kind", "type"])
def test_every_tensor_must_be_there_and_fit(foreign_gan: Path, tmp_path: Path, damage: str) -> None:
    state = torch.load(foreign_gan)["generator_smooth"]
    for name, tensor in list(state.items())[::5]:
        broken: dict[str, Any] = dict(state)
        if damage == "gone":
            del broken[name]
        elif damage == "shape":
            broken[name] = torch.zeros(*tensor.shape, 3)
        elif damage == "kind":
            broken[name] = "words"
        else:
            broken[name] = tensor.to(torch.complex64)
        torch.save({"generator_smooth": broken}, tmp_path / "x.pth")
        try:
            found = read(tmp_path / "x.pth")
        except InputError as error:
            assert "\n" not in str(error) and "x.pth" in str(error)
        else:
            assert found.generator is not None  # a tensor that says nothing about the weights


def test_an_unknown_file_is_described(tmp_path: Path) -> None:
    content = {
        "net": torch.ones(3, 4),
        "more": [np.zeros(5)],
        "who": types.SimpleNamespace(a=torch.ones(2)),
        "\x1b[31mred": 1,
    }
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(InputError) as error:
        read(tmp_path / "x.pt")
    told = str(error.value)
    assert "net, more, who" in told and "3 tensors of 19 numbers" in told
    assert "types.SimpleNamespace" in told and "\x1b" not in told


def test_a_persistent_class_is_described_by_its_own_name() -> None:
    meta = {"class_name": "Discriminator", "state": {"w": np.ones(3)}}
    call = Foreign("torch_utils.persistence", "_reconstruct_persistent_obj", (meta,), called=True)
    assert "Discriminator" in inventory({"D": call})


def test_describing_what_contains_itself_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert inventory(endless) == "a list of 1"
    assert inventory(deep) == "a list of 1"


def test_a_reader_that_stumbles_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stumbles:
        def recognise(self, content: Any) -> bool:
            return True

        def convert(self, content: Any, generator: Any = None) -> Found:
            raise KeyError("two\nlines \x1b[0m")

    monkeypatch.setattr(reading, "readers", lambda: (Stumbles(),))
    (tmp_path / "x").write_bytes(pickle.dumps({}))
    with pytest.raises(InputError, match="damaged: KeyError") as error:
        read(tmp_path / "x")
    assert "\x1b" not in str(error.value)


def test_the_numbers_beside_a_hub_model_are_read_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Hub:
        def recognise(self, content: Any) -> bool:
            seen.append(content)
            return False

        convert = None

    monkeypatch.setattr(reading, "readers", lambda: (Hub(),))
    torch.save({"w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"z_dim": 4}))
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(InputError):
            read(path)
    assert all(content["config.json"] == {"z_dim": 4} for content in seen) and len(seen) == 2
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        read(tmp_path)
