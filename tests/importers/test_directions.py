"""Published direction files come out as rows of latents, named after their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.errors import InputError
from dseinvert.importers import directions
from dseinvert.importers.directions import check_space, direction_name, fitted, unit
from dseinvert.importers.read import read
from dseinvert.latent import LatentSpec

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "models" / "directions"
SPEC = LatentSpec("w+", 18, 512)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("stylegan_ffhq_age_w_boundary", "age"),
        ("stylegan_ffhq_eyeglasses_w_boundary", "eyeglasses"),
        ("pggan_celebahq_smile_boundary", "smile"),
        ("stylegan_ffhq_age_c_gender_boundary", "age_c_gender"),
        ("pose", "pose"),
        ("my smile=2", "my-smile-2"),
        ("...", "direction"),
    ],
)
def test_a_direction_is_called_after_its_file(stem: str, name: str) -> None:
    assert direction_name(stem) == name


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((1, 512), 1), ((512,), 1), ((18, 512), 18), ((1, 18, 512), 18), ((1, 18 * 512), 1)],
)
def test_every_published_shape_fits_an_ffhq_generator(
    tmp_path: Path, shape: tuple[int, ...], rows: int
) -> None:
    vector = np.random.default_rng(0).normal(size=shape)
    np.save(tmp_path / "age.npy", vector)
    torch.save(torch.from_numpy(vector), tmp_path / "age.pt")
    for file in ("age.npy", "age.pt"):
        found = read(tmp_path / file).directions["age"]
        assert len(found) == rows and found.dtype == torch.float32
        whole = fitted(found, SPEC)
        assert whole.shape == (18, 512)
        expected = np.broadcast_to(vector.reshape(-1, 512), (18, 512))
        assert np.allclose(whole.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (65, 512), (1, 1), (2, 18, 512), (1, 10**6), ()])
def test_other_shapes_are_no_directions(shape: tuple[int, ...]) -> None:
    assert not directions.recognise(np.zeros(shape))


def test_several_named_directions_are_one_file(tmp_path: Path) -> None:
    torch.save({"age": torch.ones(1, 512), "pose": torch.ones(18, 512)}, tmp_path / "x.pt")
    assert {*read(tmp_path / "x.pt").directions} == {"age", "pose"}


@pytest.mark.parametrize("keys", [("comp", "std"), ("lat_comp", "lat_stdev")])
def test_components_are_scaled_to_a_deviation(tmp_path: Path, keys: tuple[str, str]) -> None:
    comp, std = torch.eye(6)[:4, None], torch.tensor([4.0, 3.0, 2.0, 1.0])
    torch.save({keys[0]: comp, keys[1]: std, "mean": torch.zeros(1, 6)}, tmp_path / "pca.pt")
    found = read(tmp_path / "pca.pt")
    assert [*found.directions] == ["pca-0", "pca-1", "pca-2", "pca-3"]
    assert found.directions["pca-1"].tolist() == [[0, 3, 0, 0, 0, 0]]
    assert "deviation" in unit(found)


@pytest.mark.parametrize("damage", ["std", "nan", "short"])
def test_damaged_components_are_refused(tmp_path: Path, damage: str) -> None:
    content = {"comp": torch.randn(4, 1, 6), "std": torch.ones(4)}
    if damage == "std":
        del content["std"]
    elif damage == "nan":
        content["comp"][2, 0, 1] = torch.nan
    else:
        content["std"] = torch.ones(3)
    torch.save(content, tmp_path / "pca.pt")
    with pytest.raises(InputError):
        read(tmp_path / "pca.pt")


@pytest.mark.parametrize("kind", [np.complex64, np.bool_, "U3"])
def test_what_is_no_number_is_no_direction(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "age.npy", np.zeros((1, 512), kind))
    with pytest.raises(InputError):
        read(tmp_path / "age.npy")


def test_a_boundary_in_z_is_not_taken_for_one_in_w() -> None:
    check_space("stylegan_ffhq_age_w_boundary", SPEC)
    check_space("pggan_celebahq_age_boundary", LatentSpec("z", 1, 512))
    check_space("age", SPEC)
    with pytest.raises(InputError, match="in z by its name"):
        check_space("stylegan_ffhq_age_boundary", SPEC)
    with pytest.raises(InputError, match="in w by its name"):
        check_space("stylegan_ffhq_age_w_boundary", LatentSpec("z", 1, 512))


def test_another_size_is_refused() -> None:
    for rows in (torch.ones(1, 511), torch.ones(14, 512), torch.ones(1, 14 * 512)):
        with pytest.raises(InputError, match="directions fit the GAN"):
            fitted(rows, SPEC)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not here")
def test_the_published_files_are_read() -> None:
    files = [file for file in PUBLISHED.rglob("*") if file.suffix in (".npy", ".pt")]
    for file in files:
        found = read(file)
        spec = LatentSpec("z", 1, 512) if file.name.startswith("pggan") else SPEC
        check_space(file.stem, spec)
        rows = [fitted(vector, spec) for vector in found.directions.values()]
        assert all(vector.shape == (spec.layers, 512) for vector in rows)
        if "pca" not in file.name:
            assert torch.allclose(rows[0].norm(dim=1), torch.ones(1), atol=1e-4)
    assert len(files) > 5


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf"), -float("inf")])
def test_a_direction_that_leads_nowhere_is_refused_in_one_line(tmp_path: Path, bad: float) -> None:
    np.save(tmp_path / "age.npy", np.full((1, 512), bad, np.float32))
    np.savez(tmp_path / "both.npz", age=np.full((1, 512), bad), smile=np.ones((1, 512)))
    for file, name in (("age.npy", "direction: "), ("both.npz", "direction age: ")):
        with pytest.raises(InputError, match=name + "(holds NaN or inf|is all zeros)") as error:
            read(tmp_path / file)
        assert "\n" not in str(error.value)
