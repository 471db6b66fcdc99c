from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from dseinvert.cli import main
from dseinvert.cli.train import train
from dseinvert.config import field_docs
from dseinvert.errors import DseInvertError, UsageError
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.models import open_model, save_model
from dseinvert.training.options import TrainOptions

app = typer.Typer()
app.command()(train)

SHORT = ["--iterations", "2", "--batch", "2", "--eval-samples", "2", "--grid-every", "0", "-q"]
SMALL = ["--without-lpips", "--widths", "8,12,16", "--device", "cpu"]


@pytest.fixture(scope="module")
def gan(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=8, z_dim=8, mapping_layers=1)
    save_model(folder, StyleGAN2(config), name="tiny")
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["", "generator.safetensors"])
def test_a_folder_or_the_generator_in_it_can_be_trained_for(gan, tmp_path, name):
    result = run("--gan", gan / name, "--out", tmp_path / "run", *SHORT, *SMALL)
    assert result.exit_code == 0, result.output
    assert open_model(str(tmp_path / "run")).encoder is not None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--strategy", "3"], "--strategy"),
        (["--widths", "8,x"], "--widths"),
        (["--lr", "-1"], "--lr"),
        (["--device", "tpu"], "--device"),
        (["--mixing", "2"], "--mixing"),
        (["--start", "model"], "--start"),
        (["--gradcam-weights", "vgg16.pth"], "--attention gradcam"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_written(gan, tmp_path, arguments, named):
    result = run("--gan", gan, "--out", tmp_path / "run", *SMALL, *arguments)
    assert isinstance(result.exception, UsageError)
    assert named in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["network.pkl", "weights.safetensors", "weights"])
def test_a_file_of_another_kind_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04")
    result = run("--gan", tmp_path / name, "--out", tmp_path / "run", *SMALL)
    assert isinstance(result.exception, DseInvertError)
    assert name in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_grad_cam_without_the_weights_of_its_classifier_is_one_line(
    gan, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    where = ["--gan", str(gan), "--out", str(tmp_path / "run")]
    assert main.run(["train", *where, *SMALL, "--attention", "gradcam"]) == 4
    (line,) = capfd.readouterr().err.splitlines()
    assert "VGG16" in line and "vgg16-397923af.pth" in line and "--gradcam-weights" in line
    assert not (tmp_path / "run").exists()


def test_the_help_of_each_option_is_its_fields_docstring(capsys):
    main.run(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, doc in field_docs(TrainOptions).items():
        said, _, default = " ".join(doc.split()).partition("; None = ")
        if name != "weights":
            assert f"--{name.replace('_', '-')} " in shown
            # The terminal breaks lines where it likes, within words at hyphens too.
            assert said.replace(" ", "") in shown.replace(" ", ""), name
            assert default.rstrip(".").replace(" ", "") in shown.replace(" ", ""), name


def test_options_reach_the_run(gan, tmp_path):
    words = [
        "--mixing",
        "0.5",
        "--attention",
        "none",
        "--head",
        "base",
        "--psi",
        "1",
        "--seed",
        "3",
    ]
    result = run("--gan", gan, "--out", tmp_path / "run", *SHORT, *SMALL, *words)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "run" / "training.json").read_text())
    wanted = {"mixing": 0.5, "attention": "none", "head": "base", "psi": 1, "seed": 3}
    assert {name: told[name] for name in wanted} == wanted
    assert (told["widths"], told["perceptual"]) == ([8, 12, 16], "none")


def test_every_option_of_a_run_is_an_option_of_the_command():
    offered = set(inspect.signature(train).parameters)
    assert set(TrainOptions.__dataclass_fields__) - offered == {"weights"}


def test_defaults_are_those_of_the_options():
    for name, parameter in inspect.signature(train).parameters.items():
        if name in TrainOptions.__dataclass_fields__:
            assert parameter.default == getattr(TrainOptions, name), name


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_checkpoint(gan, tmp_path, number, code):
    script = "import typer; from dseinvert.cli.train import train; typer.run(train)"
    arguments = ["--gan", gan, "--out", tmp_path / "run", *SMALL, "--eval-samples", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments), "--grid-every", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    process.stderr.readline()  # the evaluation of step 0: the loop has begun
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] >= 1
    assert open_model(str(tmp_path / "run")).encoder is not None
