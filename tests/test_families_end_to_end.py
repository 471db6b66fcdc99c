"""Every family goes from a file as its authors save it to pictures, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dseinvert.latent import load_latent
from dseinvert.models import list_models, open_model
from tests.references import contents, files
from tests.references.progressive import reference

Run = Callable[..., int]


@dataclass(frozen=True)
class Case:
    """One kind of file, and what comes of it."""

    write: Callable[[Path], Path]
    """Makes it in a folder."""
    family: str
    space: str
    widths: str
    label: str = ""
    """A class of its images; "" = it has none."""


CASES = {
    "stylegan1.pkl": Case(
        lambda at: files.write_nvlabs(at / "stylegan1.pkl", contents.tensorflow("stylegan1")),
        *("stylegan1", "w+", "4,6,8,8", "3"),
    ),
    "stylegan2.pt": Case(
        lambda at: files.write_torch(at / "stylegan2.pt", contents.rosinality()),
        *("stylegan2", "w+", "4,6,8,8"),
    ),
    "stylegan2-ada.pkl": Case(
        lambda at: files.write_nvlabs(
            at / "stylegan2-ada.pkl", contents.stylegan2_ada("stylegan2-ada-skip")
        ),
        *("stylegan2", "w+", "4,6,8,8"),
    ),
    "conditional.pkl": Case(
        lambda at: files.write_nvlabs(
            at / "conditional.pkl", contents.stylegan2_ada("stylegan2-ada-resnet")
        ),
        *("stylegan2", "w+", "4,6,8,8", "1"),
    ),
    "stylegan3-t.pkl": Case(
        lambda at: files.write_nvlabs(at / "stylegan3-t.pkl", contents.stylegan3("stylegan3-t")),
        *("stylegan3", "w+", "4,6,8,8"),
    ),
    "stylegan3-r.pkl": Case(
        lambda at: files.write_nvlabs(at / "stylegan3-r.pkl", contents.stylegan3("stylegan3-r")),
        *("stylegan3", "w+", "4,6,8,8", "2"),
    ),
    "pggan.pth": Case(
        lambda at: files.write_torch(
            at / "pggan.pth", {"generator_smooth": contents.genforce("pggan-genforce")}
        ),
        *("pggan", "z", "4,6,8,8"),
    ),
    "pggan.pkl": Case(
        lambda at: files.write_nvlabs(at / "pggan.pkl", contents.tensorflow("pggan")),
        *("pggan", "z", "4,6,8,8", "4"),
    ),
    "biggan": Case(
        lambda at: files.write_biggan(at / "biggan"),
        *("biggan", "z", "4,4,4,6,8,8", "7"),
    ),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def one(pictures: Path) -> Path:
    """A folder of two pictures."""
    for extra in sorted(pictures.iterdir())[2:]:
        extra.unlink()
    return pictures


def short(case: Case, iterations: int = 3) -> tuple[str, ...]:
    options = f"--iterations {iterations} --batch 2 --eval-samples 2 --grid-every 0 --device cpu -q"
    return (*options.split(), "--perceptual", "none", "--widths", case.widths)


def test_add_train_invert_and_edit(case: Case, dse: Run, one: Path, tmp_path: Path):
    run, out, more = tmp_path / "run", tmp_path / "out", tmp_path / "more"
    file = case.write(tmp_path)
    assert dse("models", "add", file, "--name", "fam") == 0
    assert dse("train", "--gan", "fam", "--out", run, *short(case)) == 0
    common = ("--model", run, "--device", "cpu", "-q")
    label = ("--label", case.label) if case.label else ()
    assert dse("images", one, "--out", out, "--no-align", *label, *common) == 0
    generator = open_model("fam").generator
    assert generator.family == case.family
    for picture in one.iterdir():
        latent = load_latent(out / f"{picture.stem}.safetensors")
        assert latent.space == case.space
        assert list(latent.code.shape) == [1, generator.spec.layers, generator.spec.dim]
        assert latent.label is None or latent.label.argmax() == int(case.label)
        assert (out / f"{picture.stem}.recon.png").stat().st_size > 0
    assert dse("edit", *sorted(out.glob("*.safetensors")), "--out", more, *common) == 0
    for picture in one.iterdir():
        again = (more / f"{picture.stem}.recon.png").read_bytes()
        assert again == (out / f"{picture.stem}.recon.png").read_bytes()


def test_a_file_is_added_by_training_for_it(case: Case, dse: Run, tmp_path: Path):
    file = case.write(tmp_path)
    assert dse("train", "--gan", file, "--out", tmp_path / "run", *short(case, 1)) == 0
    assert file.stem in [row.name for row in list_models()]
    trained = open_model(str(tmp_path / "run"))
    assert trained.generator.family == case.family
    assert trained.encoder is not None
    source = trained.card["source"]
    assert source["file"] == file.name
    assert trained.card["notes"] == open_model(file.stem).card["notes"]


@pytest.mark.parametrize("name", ["biggan", "pggan.pkl", "conditional.pkl"])
def test_a_class_is_found_where_the_generator_needs_one_and_none_is_given(
    name: str, dse: Run, one: Path, tmp_path: Path
):
    case = CASES[name]
    run, out = tmp_path / "run", tmp_path / "out"
    file = case.write(tmp_path)
    assert dse("train", "--gan", file, "--out", run, *short(case, 1)) == 0
    assert dse("images", one, "--out", out, "--no-align", "--model", run, "--device", "cpu") == 0
    labels = [load_latent(path).label for path in sorted(out.glob("*.safetensors"))]
    assert len(labels) == 2
    for label in labels:
        assert (label is not None) == (case.space == "z")
        assert label is None or sorted(label.flatten().tolist())[-2:] == [0, 1]


def test_an_encoder_that_comes_alone_inverts_for_its_generator(dse: Run, one: Path, tmp_path: Path):
    gan = files.write_torch(tmp_path / "gan.pt", contents.rosinality())
    weights = contents.deep_gan_encoder(reference("deep-gan-e"), dim=24)
    encoder = files.write_torch(tmp_path / "E.pth", weights)
    assert dse("models", "add", encoder) != 0
    assert dse("models", "add", encoder, "--name", "both", "--gan", gan) == 0
    out = tmp_path / "out"
    assert dse("images", one, "--out", out, "--no-align", "--model", "both", "-q") == 0
    assert load_latent(out / "p0.safetensors").code.shape == (1, 8, 24)
    assert open_model("both").sha256 == open_model(str(gan)).sha256


@pytest.mark.parametrize("name", ["psp", "e4e", "restyle-psp"])
def test_a_checkpoint_that_brings_its_generator_inverts_at_once(
    name: str, dse: Run, one: Path, tmp_path: Path
):
    file = files.write_torch(tmp_path / "whole.pt", contents.psp(name))
    out, more = tmp_path / "out", tmp_path / "more"
    common = ("--model", "whole", "--device", "cpu", "-q")
    assert dse("models", "add", file) == 0
    assert dse("images", one, "--out", out, "--no-align", *common) == 0
    assert dse("edit", *sorted(out.glob("*.safetensors")), "--out", more, *common) == 0
    assert (more / "p0.recon.png").read_bytes() == (out / "p0.recon.png").read_bytes()


def test_a_foreign_direction_edits_what_was_trained(dse: Run, one: Path, tmp_path: Path):
    case = CASES["stylegan2.pt"]
    run, out, file = tmp_path / "run", tmp_path / "out", case.write(tmp_path)
    np.save(tmp_path / "smile.npy", np.eye(1, 24))
    assert dse("models", "add", file, "--name", "fam") == 0
    assert dse("models", "add", tmp_path / "smile.npy", "--gan", "fam") == 0
    assert dse("train", "--gan", "fam", "--out", run, *short(case, 1)) == 0
    arguments = ("--out", out, "--no-align", "--model", run, "--edit", "smile=+3", "-q")
    assert dse("images", one, *arguments) == 0
    edited, plain = (out / f"p0.{what}.png" for what in ("smile+3", "recon"))
    assert edited.read_bytes() != plain.read_bytes()
