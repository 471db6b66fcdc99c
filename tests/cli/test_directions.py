from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction, dumps
from dseinvert.editing.discover import spread
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.styles import styles
from dseinvert.models import open_model, save_model, verify
from tests.conftest import build_tiny_model

Call = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny model of this test's own."""
    return build_tiny_model(tmp_path / "tiny")


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `dseinvert directions ... --json` -> what it prints, after it has ended well."""

    def call(*words: object) -> Any:
        capsys.readouterr()
        code = run(["directions", *map(str, words), "--json"])
        out = capsys.readouterr()
        assert code == 0, out.err
        return json.loads(out.out)

    return call


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run what must fail -> its one line, and the exit code."""

    def call(*words: object) -> tuple[str, int]:
        capsys.readouterr()
        code = run(["directions", *map(str, words)])
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line, code

    return call


def test_list_and_show_tell_what_is_known(
    model: Path, told: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = told("list", "--model", model)
    assert [one["name"] for one in listed] == ["age", "smile"]
    age = told("show", "age", "--model", model)
    assert age == listed[0]
    wanted = {"unit": "one deviation", "space": "w+", "layers": None, "shape": [6, 16]}
    assert {key: age[key] for key in wanted} == wanted
    assert age["generator"] == open_model(str(model)).sha256
    assert run(["directions", "list", "--model", str(model)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "age    w+; one is one deviation"
    assert run(["directions", "show", "age", "--model", str(model)]) == 0
    assert "layers     all" in capsys.readouterr().out


def test_rename_and_remove_change_the_model(model: Path, told: Call) -> None:
    vector = open_model(str(model)).directions["age"].vector
    told("rename", "age", "years", "--model", model)
    known = open_model(str(model)).directions
    assert {*known} == {"years", "smile"} and torch.equal(known["years"].vector, vector)
    assert known["years"].name == "years"
    told("remove", "years", "smile", "--model", model)
    assert open_model(str(model)).directions == {}
    assert {*verify(model).values()} == {"ok"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "hat"], "it has: age, smile"),
        (["remove", "hat"], "it has: age, smile"),
        (["rename", "age", "smile"], "already"),
        (["rename", "age", "class"], "cannot be named"),
        (["rename", "age", "a=b"], "cannot be named"),
        (["preview", "hat"], "it has: age, smile"),
        (["preview", "age", "--strengths", "3"], "FROM:TO:COUNT"),
        (["preview", "age", "--seeds", "x"], "--seeds"),
        (["learn", "--method", "magic"], "--method"),
        (["learn", "--method", "sefa", "--layers", "4-9"], "rows 0-5"),
        (["learn", "--method", "sefa", "--count", "17"], "16 dimensions"),
        (["learn", "--method", "sefa", "--labels", "a.csv"], "no labels"),
        (["learn", "--method", "sefa", "--name", "a b"], "cannot be named"),
        (["learn", "--method", "sefa", "--copy", "a/b"], "cannot be named"),
        (["learn", "--method", "ganspace", "--samples", "5"], "--samples"),
        (["learn", "--method", "ganspace", "--seed", "-1"], "--seed -1"),
        (["learn", "--method", "ganspace", "--seed", "4294967290"], "--seed 4294967290"),
        (["learn", "--method", "interfacegan", "--labels", "a.csv"], "--name"),
        (["learn", "--method", "interfacegan", "--name", "hat"], "--scorer"),
        (["learn", "--method", "interfacegan", "--name", "age"], "already"),
        (["learn", "--method", "stylespace", "--name", "hat", "--layers", "1"], "--layers"),
        (["learn", "--method", "stylespace", "--name", "hat", "--area", "2"], "--area"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    model: Path, refused: Call, words: list[str], said: str
) -> None:
    labels = model.parent / "a.csv"
    labels.write_text("file,hat\n")
    words = [str(labels) if word == labels.name else word for word in words]
    line, code = refused(*words, "--model", model)
    assert said in line and code == 2
    assert {*open_model(str(model)).directions} == {"age", "smile"}


def test_the_bundled_model_is_copied_and_never_changed(told: Call, refused: Call) -> None:
    line, code = refused("remove", "age")
    assert "part of the program" in line and "--copy" in line and code == 2
    line, _ = refused("learn", "--method", "sefa")
    assert "--copy" in line
    given = told("remove", "age", "--copy", "younger")
    assert given["model"] == "younger"
    assert "age" not in open_model("younger").directions and "age" in open_model().directions
    line, _ = refused("learn", "--method", "sefa", "--copy", "younger")
    assert "already" in line


# --- Importing -----------------------------------------------------------------------------------


def test_foreign_files_are_imported_under_a_name(model: Path, tmp_path: Path, told: Call) -> None:
    np.save(tmp_path / "stylegan_ffhq_hat_w_boundary.npy", np.ones((1, 16), np.float32))
    given = told("import", tmp_path / "stylegan_ffhq_hat_w_boundary.npy", "--model", model)
    assert [one["name"] for one in given["directions"]] == ["hat"]
    file = tmp_path / "stylegan_ffhq_hat_w_boundary.npy"
    told("import", file, "--name", "cap", "--model", model)
    components = {"comp": torch.eye(16)[:3, None], "std": torch.ones(3), "mean": torch.zeros(1, 16)}
    torch.save(components, tmp_path / "pca.pt")
    told("import", tmp_path / "pca.pt", "--model", model)
    told("import", tmp_path / "pca.pt", "--name", "main", "--model", model)
    known = open_model(str(model)).directions
    assert {*known} >= {"hat", "cap", "pca-0", "pca-2", "main0", "main2"} and known[
        "cap"
    ].name == "cap"
    assert torch.equal(known["hat"].vector, known["cap"].vector)


def test_names_of_several_stay_behind_the_one_that_is_given(
    model: Path, tmp_path: Path, told: Call
) -> None:
    rows = np.ones((1, 16), np.float32)
    np.savez(tmp_path / "both.npz", hat=rows, beard=2 * rows)
    told("import", tmp_path / "both.npz", "--name", "my", "--model", model)
    known = open_model(str(model)).directions
    assert torch.equal(2 * known["my-hat"].vector, known["my-beard"].vector)


def test_a_directions_file_of_this_program_is_imported(
    model: Path, tmp_path: Path, told: Call
) -> None:
    sha256 = open_model(str(model)).sha256
    width = open_model(str(model)).generator.style_layers[-1].columns.stop
    own = {
        "hat": Direction("hat", torch.ones(6, 16), "w+", "a hat", sha256, (1, 2), "by hand"),
        "local": Direction("local", torch.ones(1, width), "s", "a channel", sha256),
    }
    (tmp_path / "more.safetensors").write_bytes(dumps(own))
    told("import", tmp_path / "more.safetensors", "--model", model)
    known = open_model(str(model)).directions
    assert known["hat"].layers == (1, 2) and known["hat"].learned == "by hand"
    assert known["local"].space == "s" and known["local"].learned


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("generator", "found for generator"),
        ("shape", "[5, 16] in w+, and tiny has [6, 16]"),
        ("space", "in z, and tiny takes w+"),
        ("styles", "[1, 3] in s"),
        ("npy", "a direction of [1, 9], and the generator takes latents of [6, 16]"),
        ("boundary", "a direction in z by its name"),
        ("words", "words.pt"),
        ("absent", "no such file"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    model: Path, tmp_path: Path, refused: Call, kind: str, said: str
) -> None:
    sha256 = open_model(str(model)).sha256
    made = {
        "generator": Direction("hat", torch.ones(6, 16), "w+", "", "0" * 64),
        "shape": Direction("hat", torch.ones(5, 16), "w+", "", sha256),
        "space": Direction("hat", torch.ones(6, 16), "z", "", sha256),
        "styles": Direction("hat", torch.ones(1, 3), "s", "", sha256),
    }
    file = tmp_path / f"{kind}.safetensors"
    if kind in made:
        file.write_bytes(dumps({"hat": made[kind]}))
    elif kind == "words":
        file = tmp_path / "words.pt"
        torch.save({"words": "no direction"}, file)
    elif kind == "npy":
        file = tmp_path / "hat.npy"
        np.save(file, np.ones((1, 9), np.float32))
    elif kind == "boundary":
        file = tmp_path / "stylegan_ffhq_hat_boundary.npy"
        np.save(file, np.ones((1, 16), np.float32))
    line, _ = refused("import", file, "--model", model)
    assert said in line
    assert {*open_model(str(model)).directions} == {"age", "smile"}


# --- Learning ------------------------------------------------------------------------------------


def test_sefa_and_ganspace_give_numbered_directions(model: Path, told: Call) -> None:
    words = ("--model", model, "--samples", 200, "--count", 2, "-q")
    told("learn", "--method", "sefa", "--layers", "2-3", *words)
    told("learn", "--method", "ganspace", "--name", "main", *words)
    opened = open_model(str(model))
    sefa0, main0 = opened.directions["sefa0"], opened.directions["main0"]
    assert {*opened.directions} == {"age", "smile", "sefa0", "sefa1", "main0", "main1"}
    assert sefa0.layers == (2, 3) and not sefa0.vector[[0, 1, 4, 5]].any()
    assert "SeFa" in sefa0.learned and "standard deviation" in sefa0.unit
    codes = opened.generator.sample(range(200)).code
    for one in (sefa0, main0):
        torch.testing.assert_close(spread(codes, one.vector), one.vector, rtol=0.01, atol=1e-4)
    assert main0.generator == opened.sha256


def labelled(model: Path, folder: Path, count: int = 60) -> tuple[Path, torch.Tensor]:
    """A table of seeds with the samples' place along a step, and that step."""
    generator = open_model(str(model)).generator
    step = torch.randn(16, generator=torch.Generator().manual_seed(9))
    codes = generator.sample(range(count)).code[:, 0]
    values = (codes - codes.mean(0)) @ step
    other = (codes - codes.mean(0)) @ torch.eye(16)[0]
    lines = [f"{k},{a},{b}" for k, (a, b) in enumerate(zip(values, other, strict=True))]
    file = folder / "scores.csv"
    file.write_text("\n".join(["seed,hat,other", *lines]))
    return file, step


def test_a_plane_between_scored_samples_points_to_the_higher(
    model: Path, tmp_path: Path, told: Call
) -> None:
    file, step = labelled(model, tmp_path, 200)
    words = ("learn", "--method", "interfacegan", "--labels", file, "--model", model, "-q")
    (made,) = told(*words, "--name", "hat", "--quantile", 0.5)["directions"]
    assert "balanced accuracy" in made["learned"] and made["layers"] is None
    vector = open_model(str(model)).directions["hat"].vector
    codes = open_model(str(model)).generator.sample(range(200, 300)).code[:, 0]
    moved = codes @ vector[0]
    assert np.corrcoef(moved, codes @ step)[0, 1] > 0.9
    torch.testing.assert_close(vector[0], vector[5])
    told(*words, "--name", "bare", "--attribute", "hat", "--without", "other,age")
    bare = open_model(str(model)).directions["bare"]
    age = open_model(str(model)).directions["age"].vector.mean(0)
    assert abs(float(torch.cosine_similarity(bare.vector[0], age, dim=0))) < 1e-4
    assert "without other, age" in bare.learned
    told(*words, "--name", "hat", "--overwrite", "--layers", "1")
    assert open_model(str(model)).directions["hat"].layers == (1, 1)


def test_a_plane_between_inverted_pictures_has_rows_of_its_own(
    model: Path, tmp_path: Path, told: Call, blobs: Call
) -> None:
    from dseinvert.media.images import encode_png

    folder, lines = tmp_path / "pictures", []
    folder.mkdir()
    for seed in range(48):
        bright = seed % 2
        pixels = (blobs(seed) // 3 + 150 * bright).astype(np.uint8)
        (folder / f"p{seed}.png").write_bytes(encode_png(pixels))
        lines.append(f"p{seed}.png,{2 * bright - 1}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,bright", *lines, "gone.png,1"]))
    words = ("learn", "--method", "interfacegan", "--labels", table, "--model", model, "-q")
    given = told(
        *words, "--name", "bright", "--images", folder, "--no-align", "--preview", tmp_path / "s"
    )
    bright = open_model(str(model)).directions["bright"]
    assert "40 inverted pictures" in bright.learned
    assert bright.encoder == open_model(str(model)).encoder_sha256
    assert not torch.allclose(bright.vector[0], bright.vector[1])
    assert cv2.imread(given["previews"][0]) is not None
    # The same from the latents that were written.
    inverted = tmp_path / "inverted"
    assert (
        run(
            [
                "images",
                str(folder),
                "--out",
                str(inverted),
                "--model",
                str(model),
                "--no-align",
                "-q",
            ]
        )
        == 0
    )
    told(*words, "--name", "again", "--attribute", "bright", "--images", inverted)
    again = open_model(str(model)).directions["again"]
    assert torch.cosine_similarity(again.vector.flatten(), bright.vector.flatten(), dim=0) > 0.99


def test_a_channel_is_learned_from_scores_of_samples(
    model: Path, tmp_path: Path, told: Call
) -> None:
    generator = open_model(str(model)).generator
    seen = styles(generator, generator.sample(range(120)))
    column = generator.style_layers[2].columns.start + 5
    rows = [f"{k},{float(value)}" for k, value in enumerate(seen[:, column])]
    (tmp_path / "scores.csv").write_text("\n".join(["seed,hat", *rows]))
    words = ("--labels", tmp_path / "scores.csv", "--model", model, "--samples", 300, "-q")
    (made,) = told("learn", "--method", "stylespace", "--name", "hat", *words)["directions"]
    assert made["space"] == "s" and "channel conv2-5" in made["learned"]
    direction = open_model(str(model)).directions["hat"]
    assert direction.vector.nonzero().tolist() == [[0, column]]
    latent = generator.sample([1])
    moved = apply_edits(latent, [Edit(direction, 2.0)], generator)
    assert not torch.equal(generator.synthesize(moved), generator.synthesize(latent))


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    """A classifier whose score is how red a picture is."""
    pytest.importorskip("onnxruntime")

    class Red(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :1].mean((2, 3))

    file = tmp_path / "red.onnx"
    axes = {"images": {0: "batch"}, "score": {0: "batch"}}
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["score"]}
    example = (torch.zeros(1, 3, 16, 16),)
    torch.onnx.export(Red(), example, str(file), dynamic_axes=axes, dynamo=False, **names)
    return file


# What a single channel can do saturates long before one deviation of all samples.
@pytest.mark.parametrize(("method", "least"), [("interfacegan", 0.5), ("stylespace", 0.05)])
def test_a_scorer_labels_samples_and_sets_the_unit(
    model: Path, told: Call, scorer: Path, method: str, least: float
) -> None:
    words = ("--scorer", scorer, "--samples", 200, "--model", model, "-q")
    (made,) = told("learn", "--method", method, "--name", "red", *words)["directions"]
    assert made["unit"] == "one standard deviation of red over the generator's samples"
    opened = open_model(str(model))
    direction = opened.directions["red"]
    samples = opened.generator.sample(range(500, 600))

    def redness(strength: float) -> torch.Tensor:
        moved = apply_edits(samples, [Edit(direction, strength)], opened.generator)
        return opened.generator.synthesize(moved).clamp(-1, 1)[:, 0].mean((1, 2))

    slope = (redness(0.5) - redness(-0.5)).mean()
    assert least < slope / redness(0).std() < 1.5


def test_a_gan_that_draws_from_z_has_components_and_eigenvectors(
    tmp_path: Path, told: Call, refused: Call
) -> None:
    torch.manual_seed(0)
    save_model(tmp_path / "pg", PGGAN(PGGANConfig(8, {4: 16, 8: 8}, z_dim=12)), name="pg")
    words = ("--model", tmp_path / "pg", "--samples", 100, "--count", 2, "-q")
    for method in ("ganspace", "sefa"):
        made = told("learn", "--method", method, *words, "--preview", tmp_path / "s")
        assert made["directions"][0]["space"] == "z"
        assert len(made["previews"]) == 2
    line, _ = refused(
        "learn", "--method", "stylespace", "--name", "hat", "--model", tmp_path / "pg"
    )
    assert "no styles" in line


# --- Previews ------------------------------------------------------------------------------------


def test_a_strip_has_a_row_a_sample_and_a_column_a_strength(
    model: Path, tmp_path: Path, told: Call
) -> None:
    out = tmp_path / "strips"
    words = ("--model", model, "--seeds", "3,5", "--strengths", "-2:2:5", "--out", out)
    files = told("preview", *words)
    assert [Path(file).name for file in files] == ["age.png", "smile.png"]
    strip = cv2.imread(str(out / "age.png"))
    assert strip.shape == (24 + 2 * 98, 5 * 98, 3)
    opened = open_model(str(model))
    latent = opened.generator.sample([5], 0.7)
    moved = apply_edits(latent, [Edit(opened.directions["age"], 1.0)], opened.generator)
    wanted = ((opened.generator.synthesize(moved).clamp(-1, 1)[0, :, 8, 8] + 1) * 127.5).round()
    shown = strip[24 + 98 + 8 * 6 + 3, 3 * 98 + 8 * 6 + 3, ::-1]
    assert np.abs(shown.astype(float) - wanted.numpy()).max() <= 1


def test_a_strip_of_saved_latents_begins_with_them(
    model: Path, tmp_path: Path, told: Call, pictures: Path
) -> None:
    out = tmp_path / "latents"
    words = ["--model", str(model), "--no-align", "-q"]
    assert run(["images", str(pictures / "p0.png"), "--out", str(out), *words]) == 0
    latent = next(out.glob("*.safetensors"))
    told(
        "preview",
        "age",
        "--latents",
        latent,
        "--model",
        model,
        "--strengths",
        "-1:1:3",
        "--out",
        out,
    )
    strip = cv2.imread(str(out / "age.png"))
    assert strip.shape == (24 + 98, 3 * 98, 3)
    recon = cv2.imread(str(next(out.glob("*.recon.png"))))
    middle = strip[24 : 24 + 96 : 6, 98 : 98 + 96 : 6]
    assert np.abs(middle.astype(int) - recon).max() <= 1
