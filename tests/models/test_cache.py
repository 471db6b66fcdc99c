"""A foreign file is converted once, whole or not at all, and whoever comes second finds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.errors import InputError, MissingError, OutputError, UsageError
from dseinvert.importers import read as reading
from dseinvert.importers.found import Found
from dseinvert.models import (
    add,
    cache,
    describe,
    find_model,
    home,
    list_models,
    open_model,
    remove,
    save_model,
    store,
    verify,
)

ROOT = Path(__file__).parents[2]


def added_folders(home_folder: Path) -> list[str]:
    models = home_folder / "models"
    return sorted(path.name for path in models.iterdir()) if models.is_dir() else []


def direction(folder: Path, name: str, *shape: int) -> Path:
    vector = np.random.default_rng(0).normal(size=shape)
    np.save(folder / name, vector / np.linalg.norm(vector, axis=-1, keepdims=True))
    return folder / name


def test_a_checkpoint_becomes_a_model_that_knows_its_source(foreign_gan: Path) -> None:
    added = add(foreign_gan)
    assert added.new and added.name == "foreign-gan"
    facts = describe(open_model("foreign-gan"))
    assert facts["source"]["file"] == "foreign-gan.pth"
    assert facts["source"]["sha256"].startswith(added.folder.name)
    assert (facts["resolution"], facts["layers"], facts["dim"]) == (32, 8, 20)
    assert json.dumps(facts)


def test_its_pictures_are_those_of_the_file_itself(foreign_gan: Path) -> None:
    generator = reading.read(foreign_gan).generator
    assert generator is not None
    model = open_model(str(add(foreign_gan).folder))
    latent = generator.sample([1, 2])
    assert torch.equal(generator.synthesize(latent), model.generator.synthesize(latent))


def test_it_is_converted_once(foreign_gan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = add(foreign_gan)
    monkeypatch.setattr(cache, "read", None)
    second = add(foreign_gan)
    assert (second.folder, second.name, second.new) == (first.folder, first.name, False)
    assert find_model(str(foreign_gan)) == first.folder


def test_naming_a_file_adds_it(foreign_gan: Path) -> None:
    assert open_model(str(foreign_gan)).name == "foreign-gan"
    assert "foreign-gan" in [row.name for row in list_models()]


def test_a_copy_under_another_name_is_the_same_model(foreign_gan: Path, tmp_path: Path) -> None:
    copy = shutil.copy(foreign_gan, tmp_path / "other.pth")
    assert add(Path(copy)).folder == add(foreign_gan).folder


def test_another_name_renames(foreign_gan: Path) -> None:
    add(foreign_gan)
    assert add(foreign_gan, "mine").name == "mine"
    assert [row.name for row in store.rows()] == ["mine"]
    assert set(verify(find_model("mine")).values()) == {"ok"}


def test_a_file_of_the_same_name_gets_a_name_of_its_own(foreign_gan: Path, tmp_path: Path) -> None:
    content = torch.load(foreign_gan)
    content["generator_smooth"]["mapping.dense0.weight"] *= 2
    torch.save(content, tmp_path / "foreign-gan.pth")
    names = {add(foreign_gan).name, add(tmp_path / "foreign-gan.pth").name}
    assert len(names) == 2 and "foreign-gan" in names


@pytest.mark.parametrize("name", ["default", "faces-128", "taken", "a b", "../x"])
def test_a_name_that_is_taken_or_none_is_refused(
    foreign_gan: Path, tmp_path: Path, name: str, cache: Path
) -> None:
    content = torch.load(foreign_gan)
    content["generator_smooth"]["mapping.dense0.weight"] *= 3
    torch.save(content, tmp_path / "x.pth")
    add(tmp_path / "x.pth", "taken")
    before = added_folders(cache)
    with pytest.raises(UsageError):
        add(foreign_gan, name)
    assert added_folders(cache) == before


def test_a_refused_file_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    torch.save({"weights": torch.ones(3, 3, 3, 3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="no model of a known kind"):
        add(tmp_path / "x.pth")
    assert added_folders(cache) == []


def test_a_failure_while_writing_leaves_nothing(
    foreign_gan: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("disk full")

    monkeypatch.setattr("dseinvert.models.folder.write_bytes", full)
    with pytest.raises(OutputError):
        add(foreign_gan)
    assert added_folders(cache) == []


def test_two_at_once_both_get_the_model(foreign_gan: Path, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: add(foreign_gan), range(4)))
    assert len({one.folder for one in made}) == 1
    assert added_folders(cache) == [made[0].folder.name]
    assert set(verify(made[0].folder).values()) == {"ok"}


def test_two_processes_at_once_both_get_the_model(foreign_gan: Path, cache: Path) -> None:
    code = (
        f"from dseinvert.models import open_model; print(open_model({str(foreign_gan)!r}).folder)"
    )
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0, 0] and len(told) == 1
    assert len(added_folders(cache)) == 1


def test_what_a_killed_process_left_goes_after_a_day(foreign_gan: Path, cache: Path) -> None:
    for name, age in ((".adding-old", 90_000), (".adding-new", 60)):
        left = cache / "models" / name
        left.mkdir(parents=True)
        stamp = left.stat().st_mtime - age
        os.utime(left, (stamp, stamp))
    folder = add(foreign_gan).folder
    assert added_folders(cache) == [".adding-new", folder.name]
    assert [row.name for row in cache_rows()] == ["foreign-gan"]


def cache_rows() -> list[Any]:
    return [row for row in list_models() if row.name != "faces-128"]


def test_remove_deletes_an_added_model_only(foreign_gan: Path, cache: Path) -> None:
    folder = add(foreign_gan).folder
    assert remove("foreign-gan") == folder
    assert added_folders(cache) == []
    for name in ("foreign-gan", "faces-128", "default"):
        with pytest.raises(UsageError, match="no added model"):
            remove(name)


def test_verify_finds_every_damage(foreign_gan: Path) -> None:
    folder = add(foreign_gan).folder
    weights = folder / "generator.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    assert verify(folder) == {"generator.safetensors": "damaged"}
    with pytest.raises(MissingError, match="damaged"):
        open_model("foreign-gan")
    weights.unlink()
    assert verify(folder) == {"generator.safetensors": "missing"}
    (folder / "model.json").write_text("{")
    with pytest.raises(MissingError):
        verify(folder)
    assert [row.name for row in list_models()] == ["faces-128"]


@pytest.mark.parametrize("damage", ["card", "weights", "format"])
def test_adding_again_mends_what_is_not_whole(foreign_gan: Path, damage: str, cache: Path) -> None:
    folder = add(foreign_gan).folder
    card = folder / "model.json"
    if damage == "weights":
        (folder / "generator.safetensors").unlink()
    else:
        card.write_text("" if damage == "card" else card.read_text().replace("model-1", "model-0"))
    assert open_model(str(foreign_gan)).folder == folder
    assert set(verify(folder).values()) == {"ok"} and added_folders(cache) == [folder.name]


def test_a_direction_is_attached_to_its_gan(foreign_gan: Path, tmp_path: Path) -> None:
    gan = open_model(str(foreign_gan))
    added = add(direction(tmp_path, "stylegan_ffhq_age_w_boundary.npy", 1, 20), gan=gan)
    assert added.folder == gan.folder and "published" in added.notes[0]
    age = open_model("foreign-gan").directions["age"]
    assert age.vector.shape == (8, 20) and age.space == "w+" and age.generator == gan.sha256
    add(direction(tmp_path, "smile.npy", 8, 20), gan=open_model("foreign-gan"))
    assert {*open_model("foreign-gan").directions} == {"age", "smile"}
    assert set(verify(gan.folder).values()) == {"ok"}


def test_components_are_attached_with_their_deviation(foreign_gan: Path, tmp_path: Path) -> None:
    comp, std = torch.eye(20)[:3, None], torch.tensor([3.0, 2.0, 1.0])
    torch.save({"comp": comp, "std": std, "mean": torch.zeros(1, 20)}, tmp_path / "pca.pt")
    added = add(tmp_path / "pca.pt", gan=open_model(str(foreign_gan)))
    found = open_model("foreign-gan").directions
    assert found["pca-1"].vector[5].tolist() == [0, 2, *[0] * 18]
    assert "deviation" in found["pca-1"].unit and "deviation" in added.notes[0]


@pytest.mark.parametrize(
    ("name", "shape"), [("a.npy", (1, 21)), ("a.npy", (7, 20)), ("ffhq_age_boundary.npy", (1, 20))]
)
def test_a_direction_of_another_gan_is_refused(
    foreign_gan: Path, tmp_path: Path, name: str, shape: Sequence[int]
) -> None:
    gan = open_model(str(foreign_gan))
    with pytest.raises(InputError, match="a direction"):
        add(direction(tmp_path, name, *shape), gan=gan)
    assert open_model("foreign-gan").directions == {}


def test_a_direction_alone_or_twice_is_refused(foreign_gan: Path, tmp_path: Path) -> None:
    file = direction(tmp_path, "age.npy", 1, 20)
    with pytest.raises(UsageError, match="--gan"):
        add(file)
    add(file, gan=open_model(str(foreign_gan)))
    with pytest.raises(UsageError, match="already"):
        add(file, gan=open_model("foreign-gan"))


def test_a_direction_with_a_name_makes_a_new_model(foreign_gan: Path, tmp_path: Path) -> None:
    gan = open_model(str(foreign_gan))
    add(direction(tmp_path, "age.npy", 1, 20), "older", gan=gan)
    older = open_model("older")
    assert {*older.directions} == {"age"} and older.sha256 == gan.sha256
    assert open_model("foreign-gan").directions == {}
    assert set(verify(older.folder).values()) == {"ok"}


def test_the_bundled_model_is_not_changed(tmp_path: Path) -> None:
    file = direction(tmp_path, "hat.npy", 1, 256)
    with pytest.raises(UsageError, match="--name"):
        add(file, gan=open_model())
    add(file, "hats", gan=open_model())
    hats = open_model("hats")
    assert {*hats.directions} == {*open_model().directions, "hat"}
    assert hats.encoder is not None and hats.sha256 == open_model().sha256


@pytest.fixture
def lone_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a reader takes for an encoder of 32 px, L=8, D=20."""

    class Lone:
        def recognise(self, content: Any) -> bool:
            return content == {"lone": 1}

        def convert(self, content: Any, generator: Any = None) -> Found:
            torch.manual_seed(0)
            encoder = DSEEncoder(DSEConfig(32, 8, 20, (8, 8, 8, 8))).eval()
            return Found("lone encoder", encoder=encoder, notes=("a\x1bnote",))

    known = reading.readers()
    monkeypatch.setattr(reading, "readers", lambda: (Lone(), *known))
    torch.save({"lone": 1}, tmp_path / "lone.pt")
    return tmp_path / "lone.pt"


def test_an_encoder_alone_needs_its_gan(lone_encoder: Path) -> None:
    with pytest.raises(InputError, match="--gan"):
        add(lone_encoder)


def test_an_encoder_and_its_gan_are_a_new_model(foreign_gan: Path, lone_encoder: Path) -> None:
    gan = open_model(str(foreign_gan))
    added = add(lone_encoder, gan=gan)
    model = open_model("lone")
    assert model.encoder is not None and model.sha256 == gan.sha256 and added.new
    assert added.notes == (r"a\x1bnote",)
    assert describe(model)["source"]["format"] == "lone encoder"
    assert open_model("foreign-gan").encoder is None
    assert add(lone_encoder, gan=gan).new is False
    assert set(verify(model.folder).values()) == {"ok"}


def test_a_whole_gan_takes_no_gan(foreign_gan: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="leave --gan out"):
        add(foreign_gan, gan=open_model(str(tiny_model)))


def test_not_what_was_expected_is_not_kept(foreign_gan: Path, cache: Path) -> None:
    def never(found: Found) -> None:
        raise InputError(f"{replace(found, notes=()).format}: not this")

    with pytest.raises(InputError, match="not this"):
        add(foreign_gan, check=never)
    assert added_folders(cache) == []


def test_a_model_folder_is_no_checkpoint(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a model already"):
        add(tiny_model)
    with pytest.raises(UsageError, match="no such file"):
        add(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="a folder"):
        add(tmp_path)


def test_a_cache_that_cannot_be_made_is_an_output_error(
    foreign_gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DSEINVERT_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="DSEINVERT_HOME"):
        add(foreign_gan)


@pytest.mark.parametrize(
    ("system", "variables", "where"),
    [
        ("linux", {"DSEINVERT_HOME": "/a"}, "/a"),
        ("linux", {"XDG_CACHE_HOME": "/b"}, "/b/dseinvert"),
        ("linux", {"HOME": "/c"}, "/c/.cache/dseinvert"),
        ("darwin", {"HOME": "/c"}, "/c/Library/Caches/dseinvert"),
        ("win32", {"LOCALAPPDATA": "/d"}, "/d/dseinvert"),
    ],
)
def test_home_is_where_the_system_keeps_caches(
    system: str, variables: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DSEINVERT_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", system)
    assert home() == Path(where)


def test_a_trained_model_is_verified_as_well(tiny_model: Path, tmp_path: Path) -> None:
    model = open_model(str(tiny_model))
    kept = tiny_model / "generator.safetensors"
    save_model(
        tmp_path / "m", model.generator, model.encoder, name="m", keep_generator=kept, half=True
    )
    assert set(verify(tmp_path / "m").values()) == {"ok"}
    assert open_model(str(tmp_path / "m")).sha256 == model.sha256
