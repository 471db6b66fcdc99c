from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.generators.pixels import to_pixels
from dseinvert.inversion.spaces import enter
from dseinvert.latent import Latent, concat, dumps, load_latent
from dseinvert.media.images import encode_png, read_image
from dseinvert.models import open_model
from dseinvert.run.play import edit
from dseinvert.similarity.identity import MobileFaceNet

Run = Callable[..., int]


@pytest.fixture
def latents(dse: Run, pictures: Path, tmp_path: Path) -> Path:
    """A folder of seven latents p0 ... p6."""
    out = tmp_path / "latents"
    assert dse("images", pictures, "--out", out, "--no-align", "--edit", "smile=1.5", "-q") == 0
    return out


def test_an_edit_of_a_saved_latent_equals_the_edit_made_at_once(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    assert dse("edit", latents / "*.safetensors", "--edit", "smile=+1.5", "--out", tmp_path) == 0
    for number in range(7):
        name = f"p{number}.smile+1.5.png"
        assert np.array_equal(read_image(tmp_path / name), read_image(latents / name))


def test_without_an_edit_the_reconstruction_is_rendered(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    assert dse("edit", latents, "--out", tmp_path) == 0
    assert np.array_equal(
        read_image(tmp_path / "p3.recon.png"), read_image(latents / "p3.recon.png")
    )


def test_a_file_of_several_latents_gives_numbered_pictures(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    both = concat([load_latent(latents / f"p{n}.safetensors") for n in range(3)])
    (tmp_path / "three.safetensors").write_bytes(dumps(both))
    out = tmp_path / "out"
    assert dse("edit", tmp_path / "three.safetensors", "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("three-2.recon.png", "three-3.recon.png", "three.recon.png")
    ]


def test_what_cannot_be_rendered_is_refused_in_one_line_and_the_rest_is_done(
    dse: Run, latents: Path, other_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = load_latent(latents / "p0.safetensors")
    strange = {
        "other": good.with_origin(generator_sha256="00", generator="church"),
        "nameless": replace(good, origin={}),
        "nan": replace(good, code=good.code * torch.nan),
        "narrow": replace(good, code=good.code[..., :7]),
    }
    for name, latent in strange.items():
        (latents / f"{name}.safetensors").write_bytes(dumps(latent))
    (latents / "cut.safetensors").write_bytes(dumps(good)[:-5])
    (latents / "code.pt").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    out = tmp_path / "out"
    files = [*latents.glob("*.safetensors"), latents / "code.pt", latents / "gone.safetensors"]
    assert dse("edit", *files, "--edit", "age=1", "--out", out) == 1
    told = capfd.readouterr().err.splitlines()
    for name, reason in {
        "other": "another generator (church)",
        "nameless": "another generator (unnamed)",
        "nan": "NaN",
        "narrow": "[6, 7] in w+",
        "cut": "not a readable safetensors",
        "code.pt": "no latents; it holds os.system",
        "gone": "no such file",
    }.items():
        lines = [line for line in told if f"/{name}" in line]
        assert len(lines) == 1 and reason in lines[0], name
    assert len(list(out.iterdir())) == 7
    assert not Path("owned").exists()


def test_only_refused_files_end_with_exit_3(dse: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")
    assert dse("edit", tmp_path / "a.pt", "--out", tmp_path / "out") == 3
    assert dse("edit", tmp_path / "nothing.safetensors", "--out", tmp_path / "out") == 3


def test_json_is_all_that_stdout_carries(
    dse: Run, latents: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("edit", latents / "p0.safetensors", "--out", tmp_path / "o", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["items"][0]["files"] == ["p0.recon.png"]


def test_latents_that_were_refined_in_z_are_drawn_with_and_without_edits(
    dse: Run, tiny_model: Path, tmp_path: Path
) -> None:
    model = open_model(str(tiny_model))
    start = model.generator.sample([1, 2])
    found = {}
    for space in ("z", "f/z+", "w"):
        chart = enter(model.generator, space, start)
        found[space] = chart.result(chart.zeros()).with_origin(generator_sha256=model.sha256)
        file = tmp_path / f"{space.replace('/', '')}.safetensors"
        file.write_bytes(dumps(found[space]))
    out = tmp_path / "out"
    files = tmp_path / "*.safetensors"
    assert dse("edit", files, "--out", out) == 0
    for space, latent in found.items():
        (drawn,) = to_pixels(model.generator.synthesize(latent[1:]))
        assert np.array_equal(read_image(out / f"{space.replace('/', '')}-2.recon.png"), drawn)
    assert dse("edit", files, "--edit", "age=2", "--out", out) == 0
    assert len(list(out.glob("*.age+2.png"))) == 6


def test_strengths_make_a_strip_of_each_latent_and_its_pictures(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    files = [latents / "p0.safetensors", latents / "p1.safetensors"]
    given = ("--edit", "age", "--edit", "smile@0-2", "--strengths", "-2:2:3")
    assert dse("edit", *files, *given, "--out", out) == 0
    names = ["age-2", "age+0", "age+2", "age-2to+2"]
    names += ["smile-2@0-2", "smile+0@0-2", "smile+2@0-2", "smile-2to+2@0-2"]
    expected = {f"p{n}.{name}.png" for n in range(2) for name in names}
    assert {path.name for path in out.iterdir()} == expected
    strip, middle = (read_image(out / f"p1.age{name}.png") for name in ("-2to+2", "+0"))
    large = middle.repeat(8, 0).repeat(8, 1)
    assert np.array_equal(strip[-130:-2, 130:258], large)
    assert np.array_equal(middle, read_image(latents / "p1.recon.png"))


def test_rows_that_are_not_meant_stay(dse: Run, latents: Path, tmp_path: Path) -> None:
    parts = ("--edit", "age=2@0-2", "--edit", "age=2@0-2,age=2@3-5", "--edit", "age=2")
    assert dse("edit", latents / "p0.safetensors", *parts, "--out", tmp_path) == 0
    some, both, whole = (
        read_image(tmp_path / f"p0.{name}.png")
        for name in ("age+2@0-2", "age+2@0-2,age+2@3-5", "age+2")
    )
    assert np.array_equal(both, whole) and not np.array_equal(some, whole)


@pytest.mark.parametrize("painted", [False, True])
def test_outside_the_mask_the_input_is_kept(
    dse: Run, latents: Path, tmp_path: Path, painted: bool
) -> None:
    mask = "face"
    if painted:
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[8:24, 8:24] = 255
        (tmp_path / "mask.png").write_bytes(encode_png(picture))
        mask = str(tmp_path / "mask.png")
    out = tmp_path / "out"
    given = ("--edit", "smile=1.5", "--mask", mask, "--out", out)
    assert dse("edit", latents / "p0.safetensors", *given) == 0
    assert [path.name for path in out.iterdir()] == ["p0.smile+1.5.png"]
    shown = read_image(out / "p0.smile+1.5.png").astype(int)
    own, recon, edited = (
        read_image(latents / f"p0.{name}.png").astype(int)
        for name in ("input", "recon", "smile+1.5")
    )
    assert np.array_equal(shown[:2], own[:2]) and np.array_equal(shown[:, :2], own[:, :2])
    middle = (slice(7, 10), slice(7, 10))
    wanted = (own + edited - recon).clip(0, 255)[middle]
    assert np.abs(shown[middle] - wanted).max() <= 1


def test_a_mask_without_the_crop_beside_the_latent_is_refused(
    dse: Run, latents: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (latents / "p0.input.png").unlink()
    given = ("--edit", "smile=1", "--mask", "auto", "--out", tmp_path / "out")
    assert dse("edit", latents / "p0.safetensors", latents / "p1.safetensors", *given) == 1
    assert "p0.input.png: --mask needs the crop" in capfd.readouterr().err
    assert (tmp_path / "out" / "p1.smile+1.png").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--edit", "age=auto"), "--identity FILE"),
        (("--edit", "age=auto", "--identity", "gone.onnx"), "gone.onnx: no such file"),
        (("--edit", "age=1", "--mask", "gone.png"), "gone.png: no such file"),
        (("--mask", "face"), "--mask needs an --edit"),
        (("--strengths", "-3:3:7"), "add --edit NAME"),
        (("--edit", "age=1", "--strengths", "-3:3:7"), "name of one direction"),
        (("--edit", "age=1@9"), "0-5"),
        (("--edit", "class=1"), "no classes"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(
    dse: Run,
    latents: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.delenv("DSEINVERT_IDENTITY", raising=False)
    capfd.readouterr()
    assert dse("edit", latents, *given, "--out", tmp_path / "out") in (2, 4)
    told = capfd.readouterr().err.strip().splitlines()
    assert len(told) == 1 and said in told[0]
    assert not (tmp_path / "out").exists()


def test_auto_tells_how_far_it_went(
    dse: Run, pictures: Path, latents: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    torch.save(MobileFaceNet().state_dict(), tmp_path / "net.ckpt")
    known = ("--identity", tmp_path / "net.ckpt", "--identity-floor", "0.99")
    out, again = tmp_path / "out", tmp_path / "again"
    capfd.readouterr()
    edit = ("--edit", "age=auto+", "--json", "-q")
    assert dse("edit", latents / "p[01].safetensors", *edit, *known, "--out", out) == 0
    told = json.loads(capfd.readouterr().out)["items"]
    found = [item["strengths"][f"p{n}.age=auto+.png"] for n, item in enumerate(told)]
    assert all(0 <= strength <= 3 for strength in found)
    for n, strength in enumerate(found):
        exact = ("--edit", f"age={strength}", "--out", again)
        assert dse("edit", latents / f"p{n}.safetensors", *exact) == 0
        one = read_image(again / f"p{n}.age{strength:+g}.png")
        assert np.array_equal(one, read_image(out / f"p{n}.age=auto+.png"))
    both = ("--no-align", "--edit", "age=auto+", *known, "--out", tmp_path / "both")
    assert dse("images", pictures, *both, "-q") == 0
    rows = (tmp_path / "both" / "metrics.csv").read_text().splitlines()
    table = [*csv.DictReader(line for line in rows if not line.startswith("#"))]
    assert [float(row["age=auto+"]) for row in table[:2]] == pytest.approx(found)


def test_latents_of_one_shape_and_other_spaces_are_drawn_apart(
    dse: Run, latents: Path, tmp_path: Path
) -> None:
    known = load_latent(latents / "p0.safetensors")
    other = replace(known, space="z+", feature=None, layer=None)
    (tmp_path / "z.safetensors").write_bytes(dumps(other))
    files = [latents / "p0.safetensors", tmp_path / "z.safetensors"]
    assert dse("edit", *files, "--edit", "age=1", "--out", tmp_path / "a", "--batch", "2") == 0
    assert dse("edit", *files, "--edit", "age=1", "--out", tmp_path / "b", "--batch", "1") == 0
    for name in ("p0", "z"):
        one, two = (read_image(tmp_path / folder / f"{name}.age+1.png") for folder in "ab")
        assert np.abs(one.astype(int) - two).max() <= 1
    assert not np.array_equal(one, read_image(tmp_path / "a" / "p0.age+1.png"))


def test_latents_of_another_truncation_are_drawn_in_another_batch() -> None:
    one, same, other = (
        Latent(torch.zeros(1, 1, 8), "z", label=torch.zeros(1, dtype=torch.long), origin=origin)
        for origin in ({"truncation": "0.4"}, {"truncation": "0.4"}, {"truncation": "0.8"})
    )
    assert edit._kind(one) == edit._kind(same) != edit._kind(other)
