"""The currency survives the disk, and a file that is not one is told in a line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dseinvert.errors import InputError, OutputError
from dseinvert.latent import Latent, concat, dumps, load_latent


def written(folder: Path, latent: Latent) -> Path:
    path = folder / "a.safetensors"
    path.write_bytes(dumps(latent))
    return path


def test_a_latent_survives_the_disk(tmp_path: Path) -> None:
    feature = torch.randn(2, 8, 4, 4)
    latent = Latent(
        torch.randn(2, 6, 16), "w+", feature, 5, "drop", torch.eye(2), {"source": "ä.png"}
    )
    again = load_latent(written(tmp_path, latent))
    assert torch.equal(again.code, latent.code)
    assert again.feature is not None and torch.equal(again.feature, feature)
    assert again.label is not None and torch.equal(again.label, torch.eye(2))
    assert (again.space, again.layer, again.skip) == ("w+", 5, "drop")
    assert again.origin == {"source": "ä.png"}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    latent = Latent(torch.randn(2, 6, 16), "w+", origin={"seed": "3"})
    latent.save(path)
    assert path.read_bytes() == dumps(latent)
    again = Latent.load(path)
    assert torch.equal(again.code, latent.code) and again.origin == {"seed": "3"}


def test_a_latent_that_cannot_be_saved_leaves_the_old_one(tmp_path: Path) -> None:
    latent = Latent(torch.zeros(1, 6, 16), "w+")
    with pytest.raises(OutputError):
        latent.save(tmp_path / "none" / "a.safetensors")
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(OutputError):
        latent.save(tmp_path / "b.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["b.safetensors"]


def test_the_bytes_of_a_latent_are_those_of_every_version() -> None:
    def ramp(*shape: int) -> torch.Tensor:
        return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) / 8

    tuning = {"a.up": ramp(2, 3, 1), "a.down": ramp(2, 1, 5)}
    origin = {"source": "ä.png", "version": "1"}
    latent = Latent(
        *(ramp(2, 3, 4), "w+", ramp(2, 2, 2, 2), 2, "drop"), origin=origin, tuning=tuning
    )
    found = hashlib.sha256(dumps(latent)).hexdigest()
    assert found == "faf155ff7c78bab48c5e28cbab4aa4c72680ea80d35b3ef16f6afe91eb70db26"


def test_slices_and_concat_are_inverse() -> None:
    latent = Latent(torch.randn(5, 6, 16), "w+", torch.randn(5, 8, 4, 4), 2)
    joined = concat([latent[:2], latent[2:]])
    assert torch.equal(joined.code, latent.code) and len(joined) == 5
    assert joined.feature is not None and latent.feature is not None
    assert torch.equal(joined.feature, latent.feature)


def test_a_code_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[B, L, D\]"):
        Latent(torch.zeros(2, 16), "w")


def test_a_feature_without_its_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="together"):
        Latent(torch.zeros(1, 6, 16), "w+", torch.zeros(1, 8, 4, 4))


def test_repr_shows_shapes_not_numbers() -> None:
    assert repr(Latent(torch.zeros(1, 6, 16), "w+")) == "Latent(w+, code=[1, 6, 16])"


@pytest.mark.parametrize(
    ("tensors", "header", "said"),
    [
        ({"code": torch.zeros(1, 6, 16)}, None, "does not name its space"),
        ({"code": torch.zeros(1, 6, 16)}, {"format": "dseinvert-latent-1"}, "does not name"),
        ({"other": torch.zeros(1)}, {"format": "dseinvert-latent-1", "space": "w"}, "no code"),
        (
            {"code": torch.full((1, 6, 16), torch.nan)},
            {"format": "dseinvert-latent-1", "space": "w"},
            "NaN",
        ),
        (
            {"code": torch.zeros(1, 6, 16)},
            {"format": "dseinvert-latent-1", "space": "w", "layer": "x"},
            "damaged",
        ),
        (
            {"code": torch.zeros(1, 6, 16)},
            {"format": "dseinvert-latent-1", "space": "w", "skip": "maybe"},
            "unknown skip 'maybe'",
        ),
    ],
)
def test_a_file_that_is_no_latent_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str] | None, said: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata=header)
    with pytest.raises(InputError, match=said) as error:
        load_latent(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_latent_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = dumps(Latent(torch.randn(1, 6, 16), "w+"))
    path = tmp_path / "a.safetensors"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_latent(path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    path = tmp_path / "latent.pt"
    torch.save(Bomb(), path)
    with pytest.raises(InputError, match="safetensors"):
        load_latent(path)
    path.rename(tmp_path / "latent.safetensors")
    with pytest.raises(InputError):
        load_latent(tmp_path / "latent.safetensors")
    assert not (tmp_path / "ran").exists()
