"""Latents of other programs: what is read of them, and what is written for them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.latents import dumps_foreign, not_carried, read_foreign
from dseinvert.latent import Latent, load_latent
from dseinvert.media.images import read_image
from dseinvert.models import open_model

ROWS, WIDE = 6, 16


@pytest.fixture(scope="module")
def generator(tiny_model: Path) -> Generator:
    return open_model(str(tiny_model)).generator


def codes(count: int = 2, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(count, rows, WIDE, generator=torch.Generator().manual_seed(count))


def written(path: Path, content: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        torch.save(content, path)
    return path


LAYOUTS: dict[str, tuple[str, Callable[[torch.Tensor], Any]]] = {
    "latents.pt of e4e": ("latents.pt", lambda w: w),
    "a list of tensors": ("latents.pt", lambda w: [*w]),
    "a table of tensors": ("latents.pt", lambda w: {f"{n}.jpg": one for n, one in enumerate(w)}),
    "a table of latents and names": ("l.pt", lambda w: {"latents": w, "paths": ["a", "b"]}),
    "half precision": ("h.pt", lambda w: w.half().float()),
    "a file of rosinality's projector": (
        "project.pt",
        lambda w: {
            f"/p/{n}.png": {"img": torch.ones(3, 4, 4), "latent": one, "noise": [torch.ones(1, 1)]}
            for n, one in enumerate(w)
        },
    ),
    "an array": ("w.npy", lambda w: w.numpy()),
    "an array in double precision": ("w.npy", lambda w: w.double().numpy()),
    "dlatents of StyleGAN2-ADA in TensorFlow": ("d.npz", lambda w: {"dlatents": w.numpy()}),
    "latents.npy of HyperStyle": (
        "latents.npy",
        lambda w: {f"{n}.jpg": one.numpy() for n, one in enumerate(w)},
    ),
    "latents.npy of ReStyle, with five steps": (
        "latents.npy",
        lambda w: {
            f"{n}.jpg": [*(torch.zeros(4, *one.shape).numpy()), one.numpy()]
            for n, one in enumerate(w)
        },
    ),
    "w of NVlabs": ("projected_w.npz", lambda w: {"w": w.numpy()}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_holds_the_latents_in_their_order(
    name: str, tmp_path: Path, generator: Generator
) -> None:
    file, layout = LAYOUTS[name]
    w = codes().half().float()
    found = read_foreign(written(tmp_path / file, layout(w)), generator)
    assert found.space == "w+" and torch.equal(found.code, w)


@pytest.mark.parametrize(
    ("shape", "count"), [((WIDE,), 1), ((1, WIDE), 1), ((3, WIDE), 3), ((2, 1, WIDE), 2)]
)
def test_a_w_of_one_row_is_spread_over_all(
    shape: tuple[int, ...], count: int, tmp_path: Path, generator: Generator
) -> None:
    w = torch.randn(shape)
    found = read_foreign(written(tmp_path / "w.pt", w), generator)
    assert found.code.shape == (count, ROWS, WIDE)
    assert torch.equal(found.code, w.reshape(count, 1, WIDE).expand(-1, ROWS, -1))


@pytest.mark.parametrize("shape", [(ROWS, WIDE), (1, ROWS, WIDE), (1, 1, ROWS, WIDE)])
def test_as_many_rows_as_the_generator_takes_are_one_latent(
    shape: tuple[int, ...], tmp_path: Path, generator: Generator
) -> None:
    w = codes(1)
    found = read_foreign(written(tmp_path / "0.pt", w.reshape(shape)), generator)
    assert torch.equal(found.code, w)


def test_what_is_called_z_is_in_z(tmp_path: Path, generator: Generator) -> None:
    z = torch.randn(3, generator.z_dim)
    found = read_foreign(written(tmp_path / "z.npz", {"z": z.numpy()}), generator)
    assert found.space == "z" and torch.equal(found.code[:, 0], z)
    assert generator.synthesize(found).shape == (3, 3, 16, 16)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            torch.zeros(2, 18, 512),
            r"latents \[2, 18, 512\].* needs \[N, 6, 16\] in w\+ or \[N, 16\]",
        ),
        (torch.zeros(4, 17), r"\[4, 17\].* needs"),
        (torch.full((1, ROWS, WIDE), torch.nan), "NaN"),
        (torch.zeros(ROWS, WIDE, dtype=torch.int64), "no latents"),
        ({"state_dict": "a text"}, "no latents"),
        ({}, "no latents"),
        ([[[[[torch.zeros(WIDE)]]]]], "lists in lists"),
        ({"a": {"z": torch.zeros(1, 16)}, "b": {"w": torch.zeros(1, 16)}}, "no latents"),
    ],
)
def test_what_is_no_latent_of_the_generator_is_refused_in_one_line(
    content: Any, said: str, tmp_path: Path, generator: Generator
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_foreign(written(tmp_path / "x.pt", content), generator)
    assert "\n" not in str(caught.value) and "x.pt" in str(caught.value)


def test_a_small_file_does_not_come_to_many_latents(tmp_path: Path, generator: Generator) -> None:
    row = torch.zeros(WIDE)
    for content in ([[row] * 4000] * 4000, [torch.zeros(1).expand(2**20, WIDE)] * 100):
        with pytest.raises(InputError):
            read_foreign(written(tmp_path / "x.pt", content), generator)


def test_nothing_in_a_file_is_run(tmp_path: Path, generator: Generator) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "run").touch, ())

    with pytest.raises(InputError):
        read_foreign(written(tmp_path / "x.pt", {"latent": Hostile()}), generator)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("layout", ["npz", "pt"])
def test_what_is_written_is_read_back_bit_by_bit(
    layout: Any, tmp_path: Path, generator: Generator
) -> None:
    latent = Latent(codes(), "w+")
    path = tmp_path / f"w.{layout}"
    path.write_bytes(dumps_foreign(latent, generator, layout))
    assert torch.equal(read_foreign(path, generator).code, latent.code)
    assert dumps_foreign(latent, generator, layout) == path.read_bytes()


def test_other_programs_find_what_they_look_for(generator: Generator) -> None:
    latent = Latent(codes(1), "w+")
    with np.load(io.BytesIO(dumps_foreign(latent, generator, "npz"))) as arrays:
        assert [*arrays] == ["w"] and arrays["w"].shape == (1, ROWS, WIDE)
        assert arrays["w"].dtype == np.float32
    tensor = torch.load(io.BytesIO(dumps_foreign(latent, generator, "pt")), weights_only=True)
    assert torch.equal(tensor, latent.code)


def test_a_latent_in_z_is_given_as_rows_of_w(generator: Generator) -> None:
    latent = generator.sample([3]).to("cpu")
    z = Latent(torch.randn(1, 1, generator.z_dim), "z")
    with np.load(io.BytesIO(dumps_foreign(z, generator, "npz"))) as arrays:
        assert np.array_equal(arrays["w"], generator.rows(z).detach().numpy())
    assert not_carried(latent) == ()


# ---- the verbs


@pytest.fixture
def pivot(tmp_path: Path) -> Path:
    (tmp_path / "pivots").mkdir()
    return written(tmp_path / "pivots" / "0.pt", codes(1))


def test_edit_mix_and_morph_take_them(pivot: Path, tiny_model: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "projected_w.npz", {"w": codes(2)[:1].numpy()})
    for option in ("--gan", "--model"):
        out = tmp_path / f"out{option}"
        gan = [option, str(tiny_model)]
        edit = ["edit", str(pivot), str(other), "--edit", "age=+1", "--out", str(out)]
        assert run([*edit, *gan]) == 0
        assert {path.name for path in out.iterdir()} == {"0.age+1.png", "projected_w.age+1.png"}
        mix = ["mix", str(pivot), str(other), "--layers", "3-5", "--out", str(out / "mix")]
        assert run([*mix, *gan]) == 0
        mixed = load_latent(out / "mix" / "0.mix-projected_w.safetensors").code
        assert torch.equal(mixed[:, 3:], codes(2)[:1, 3:])
        way = ["morph", str(pivot), str(other), "--frames", "2", "--out", str(out / "way.gif")]
        assert run([*way, *gan]) == 0


def test_a_folder_with_none_of_ours_is_one_of_theirs(
    pivot: Path, tiny_model: Path, tmp_path: Path
) -> None:
    line = ["edit", str(pivot.parent), "--out", str(tmp_path / "out"), "--gan", str(tiny_model)]
    assert run(line) == 0 and (tmp_path / "out" / "0.recon.png").is_file()


def test_in_a_folder_with_ours_theirs_are_passed_over(
    pivot: Path, tiny_model: Path, tmp_path: Path
) -> None:
    sample = ["sample", "--seeds", "1", "--out", str(pivot.parent), "--model", str(tiny_model)]
    assert run(sample) == 0
    line = ["edit", str(pivot.parent), "--out", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert run(line) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seed00001.recon.png"]


def test_a_wrong_size_says_what_the_generator_needs(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "0.pt", torch.zeros(1, 18, 512))
    line = ["edit", str(path), "--out", str(tmp_path / "out"), "--gan", str(tiny_model)]
    assert run(line) == 3
    assert "needs [N, 6, 16] in w+ or [N, 16] in w" in capfd.readouterr().err


def test_noise_maps_that_are_left_out_are_told(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = {"a.png": {"latent": codes(1)[0], "noise": [torch.zeros(1, 1, 4, 4)]}}
    path = written(tmp_path / "project.pt", content)
    line = ["edit", str(path), "--out", str(tmp_path / "out"), "--gan", str(tiny_model)]
    assert run(line) == 0
    assert "project.pt: noise maps left out" in capfd.readouterr().err


@pytest.mark.parametrize("layout", ["npz", "pt"])
def test_latents_go_out_and_in_again_and_draw_the_same(
    layout: str, tiny_model: Path, tmp_path: Path
) -> None:
    model = ["--model", str(tiny_model)]
    assert run(["sample", "--seeds", "3", "--out", str(tmp_path / "s"), *model]) == 0
    ours = tmp_path / "s" / "seed00003.safetensors"
    first = ["edit", str(ours), "--out", str(tmp_path / "a"), "--latents", layout, *model]
    assert run(first) == 0
    theirs = tmp_path / "a" / f"seed00003.recon.{layout}"
    generator = open_model(str(tiny_model)).generator
    assert torch.equal(read_foreign(theirs, generator).code, load_latent(ours).code)
    assert run(["edit", str(theirs), "--out", str(tmp_path / "b"), *model]) == 0
    again = read_image(tmp_path / "b" / "seed00003.recon.recon.png")
    assert np.array_equal(again, read_image(tmp_path / "s" / "seed00003.png"))


def test_an_edited_latent_is_given_edited(
    pivot: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = open_model(str(tiny_model))
    line = ["edit", str(pivot), "--edit", "age=+2", "--out", str(tmp_path / "out"), "--json"]
    assert run([*line, "--latents", "npz", "--model", str(tiny_model)]) == 0
    (item,) = json.loads(capfd.readouterr().out)["items"]
    assert item["files"] == ["0.age+2.png", "0.age+2.npz"]
    with np.load(tmp_path / "out" / "0.age+2.npz") as arrays:
        wanted = codes(1) + 2 * model.directions["age"].vector
        assert np.allclose(arrays["w"], wanted.numpy(), atol=1e-6)


def test_latents_are_of_pictures_alone(
    pivot: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["edit", str(pivot), "--sliders", "--latents", "pt", "--out", str(tmp_path / "out")]
    assert run([*line, "--model", str(tiny_model)]) == 2
    assert "--latents is of pictures" in capfd.readouterr().err
