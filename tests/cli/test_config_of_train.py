from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dseinvert.cli import main
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.models import open_model, save_model

TOML = """
iterations = 2
batch = 2
perceptual = "none"
widths = [8, 12, 16]
eval-samples = 2
grid_every = 0
device = "cpu"
[weights]
mse = 4
latent = 0.02
"""


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=8, z_dim=8, mapping_layers=1)
    save_model(folder, StyleGAN2(config), name="tiny")
    return folder


def told(run: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads((run / "training.json").read_text())
    return value


def test_a_file_gives_options_and_what_is_typed_goes_before_it(gan: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f'gan = "{gan.as_posix()}"\n{TOML}')
    where = ["train", "--config", str(tmp_path / "run.toml"), "-q"]
    typed = ["--iterations", "1", "--weight", "mse=3", "--weight", "ssim=0.5"]
    assert main.run([*where, *typed, "--out", str(tmp_path / "run")]) == 0
    settings = told(tmp_path / "run")
    assert (settings["iterations"], settings["batch"], settings["widths"]) == (1, 2, [8, 12, 16])
    weights = settings["weights"]
    assert isinstance(weights, dict)
    assert (weights["mse"], weights["ssim"], weights["epsilon"]) == (3, 0.5, 0.02)


def test_what_a_run_says_of_itself_makes_the_same_run_again(gan: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f'gan = "{gan.as_posix()}"\n{TOML}')
    for out, file in (("one", "run.toml"), ("two", "one/training.json")):
        words = ["--config", str(tmp_path / file), "--out", str(tmp_path / out), "-q"]
        assert main.run(["train", *words, "--device", "cpu"]) == 0
    assert told(tmp_path / "one") == told(tmp_path / "two")
    files = [(tmp_path / out / "encoder.safetensors").read_bytes() for out in ("one", "two")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--weight", "identity=0.5", "--without-lpips"], "--identity"),
        (["--weight", "perceptual=0.8", "--without-lpips"], "--without-lpips"),
        (["--weight", "perceptual=0.8", "--perceptual", "none"], "--perceptual none"),
    ],
)
def test_the_weight_of_a_term_that_is_not_there_is_refused(
    gan: Path,
    tmp_path: Path,
    words: list[str],
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["train", "--gan", str(gan), "--out", str(tmp_path / "run"), *words]
    assert main.run(line) == 2
    said = capsys.readouterr().err
    assert "no such term here" in said and advice in said and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("run.toml", "itterations = 3", "no option itterations (did you mean iterations?"),
        ("run.toml", "batch = ", "run.toml"),
        ("run.toml", "batch = 'x'", "--batch"),
        ("run.toml", "widths = [[1]]", "widths"),
        ("run.toml", "weights = 3", "weights is no table"),
        ("run.toml", "[weights]\nfoo = 1", "'foo=1'"),
        ("run.json", "[1]", "not a table"),
        ("run.json", "[" * 9999, "run.json"),
        ("run.toml", "x" * (1 << 20) + "=1", "1 MiB"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(
    gan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    where = ["--gan", str(gan), "--out", str(tmp_path / "run")]
    assert main.run(["train", *where, "--config", str(tmp_path / name)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--weight", "mse"], 2, "not a number"),
        (["--weight", "mse=-1"], 2, "0 or more"),
        (["--weight", "kll=1"], 2, "no such term"),
        (["--identity", "who.onnx"], 2, "ONNX"),
        (["--identity", "who.pth"], 2, "no such file"),
        (["--lpips-weights", "vgg.pth"], 2, "no such file"),
        (["--lpips-weights", "vgg.pth", "--perceptual", "none"], 2, "--lpips-weights with"),
        (["--real", "none.zip"], 2, "no such file or folder"),
    ],
)
def test_it_is_refused_before_anything_is_loaded(
    gan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int,
    said: str,
) -> None:  # fmt: skip
    where = ["--gan", str(gan), "--out", str(tmp_path / "run")]
    assert main.run(["train", *where, *words]) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
def test_real_images_come_from_any_set(gan: Path, tmp_path: Path, kind: str) -> None:
    from tests.media import test_sets as sets

    make: dict[str, Callable[[Path], Path]] = {
        "folder": sets.folder, "zip": sets.zipped, "parquet": sets.parquet,
    }  # fmt: skip
    (tmp_path / "run.toml").write_text(TOML)
    words = ["--gan", str(gan), "--config", str(tmp_path / "run.toml"), "-q"]
    real = ["--real", str(make[kind](tmp_path)), "--out", str(tmp_path / "run")]
    assert main.run(["train", *words, *real, "--iterations", "1", "--log-every", "1"]) == 0
    assert "real_mse" in (tmp_path / "run" / "training.csv").read_text()


def test_the_encoder_is_no_wider_than_its_generator(gan: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOML.replace("widths = [8, 12, 16]", ""))
    words = ["--gan", str(gan), "--config", str(tmp_path / "run.toml"), "-q"]
    assert main.run(["train", *words, "--iterations", "1", "--out", str(tmp_path / "run")]) == 0
    encoder = open_model(str(tmp_path / "run")).encoder
    assert encoder is not None
    assert encoder.config.asdict()["widths"] == (8, 8, 8)
    assert main.run(["train", *words, "--out", str(tmp_path / "run")]) == 0  # goes on


def test_a_run_from_before_that_goes_on_as_wide_as_it_is(gan: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOML.replace("widths = [8, 12, 16]", ""))
    words = ["--gan", str(gan), "--config", str(tmp_path / "run.toml"), "-q"]
    out = tmp_path / "run"
    published = ["--widths", "512,512,512", "--iterations", "1"]
    assert main.run(["train", *words, *published, "--out", str(out)]) == 0
    settings = told(out)
    del settings["encoder_widths"]
    (out / "training.json").write_text(json.dumps(settings | {"widths": None}))
    content = torch.load(out / "checkpoint.pt", weights_only=True)
    content["run"]["widths"] = None
    torch.save(content, out / "checkpoint.pt")
    for _ in range(2):
        assert main.run(["train", *words, "--out", str(out)]) == 0
        assert "encoder_widths" not in told(out)


@pytest.mark.slow
def test_weights_and_biases_hear_the_figures_offline(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "run.toml").write_text(TOML)
    words = ["--gan", str(gan), "--config", str(tmp_path / "run.toml"), "-q", "--wandb", "faces"]
    assert main.run(["train", *words, "--log-every", "1", "--out", str(tmp_path / "run")]) == 0
    wandb.teardown()  # its own process writes the file, until then; at exit it is called anyway
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert b"training/loss" in kept.read_bytes()


def test_without_the_package_of_weights_and_biases_it_is_one_line(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dseinvert.cli.checks.find_spec", lambda name: None)
    where = ["--gan", str(gan), "--out", str(tmp_path / "run")]
    assert main.run(["train", *where, "--wandb", "faces"]) == 4
    assert "dseinvert[wandb]" in capfd.readouterr().err
