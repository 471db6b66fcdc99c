"""Samples as NVlabs' scripts draw them: their seeds, noise, rotation and translation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.generators.drawn_otherwise import inverse, with_noise, with_transform
from dseinvert.generators.stylegan3 import StyleGAN3, StyleGAN3Config
from dseinvert.latent import Latent, load_latent
from dseinvert.media.images import read_image
from dseinvert.models import open_model, save_model


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a small StyleGAN3."""
    torch.manual_seed(0)
    config = StyleGAN3Config(16, 256, 8, 8, 8, num_layers=4, num_critical=1)
    generator = StyleGAN3(config).eval().requires_grad_(False)
    folder = tmp_path_factory.mktemp("turning") / "model"
    save_model(folder, generator, None, name="turning")
    return folder


def sampled(model: Path, out: Path, *options: str) -> Path:
    assert run(["sample", "--out", str(out), "--gan", str(model), *options]) == 0
    return out


def test_seeds_of_nvlabs_are_the_numbers_that_numpy_draws(tiny_model: Path, tmp_path: Path) -> None:
    generator = open_model(str(tiny_model)).generator
    out = sampled(tiny_model, tmp_path, "--seeds", "nv:85,3-4", "--psi", "0.5")
    z = torch.from_numpy(np.random.RandomState(85).randn(1, generator.z_dim)).float()
    w = generator.rows(Latent(z[:, None], "z"))
    found = load_latent(out / "nv-seed0085.safetensors")
    mean = generator.mean_latent().code
    torch.testing.assert_close(found.code, mean + 0.5 * (w - mean))
    assert found.origin["seed"] == "nv:85" and (out / "nv-seed0004.png").is_file()


def test_seeds_without_a_word_are_ours(tiny_model: Path, tmp_path: Path) -> None:
    generator = open_model(str(tiny_model)).generator
    out = sampled(tiny_model, tmp_path, "--seeds", "5", "--psi", "1")
    found = load_latent(out / "seed00005.safetensors")
    assert torch.equal(found.code, generator.sample([5]).code)


def test_noise_is_none_the_stored_one_or_new(tiny_model: Path) -> None:
    generator = open_model(str(tiny_model)).generator
    for module in generator.plain.modules():
        if hasattr(module, "noise_strength"):
            module.noise_strength.data.fill_(0.5)
    latent = generator.sample([1])
    maps = [conv.noise.clone() for conv in generator.plain.synthesis.convs]  # type: ignore[union-attr]
    stored = generator.synthesize(latent)
    silent = with_noise(generator, "none").synthesize(latent)
    first, again, other = (with_noise(generator, "random", k).synthesize(latent) for k in (1, 1, 2))
    wanted = generator.plain.synthesis(  # type: ignore[operator]
        latent.code, noise=[torch.zeros_like(one) for one in maps]
    )
    assert torch.equal(silent, wanted) and torch.equal(first, again)
    different = [stored, silent, first, other]
    assert not any(torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])
    assert torch.equal(generator.synthesize(latent), stored)


def test_random_noise_does_not_depend_on_the_other_samples(
    tiny_model: Path, tmp_path: Path
) -> None:
    both = sampled(tiny_model, tmp_path / "both", "--seeds", "1-2", "--noise", "random")
    alone = sampled(tiny_model, tmp_path / "alone", "--seeds", "2", "--noise", "random")
    assert np.array_equal(read_image(both / "seed00002.png"), read_image(alone / "seed00002.png"))


def test_a_transform_is_that_of_gen_images() -> None:
    """Its matrix, written out: the inverse of a turn and a move."""
    angle = np.deg2rad(30)
    done = np.array(
        [[np.cos(angle), np.sin(angle), 0.25], [-np.sin(angle), np.cos(angle), -0.5], [0, 0, 1]]
    )
    assert np.allclose(inverse(30, (0.25, -0.5)).numpy() @ done, np.eye(3))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_turns_the_waves_counter_clockwise(turning: Path, quarters: int) -> None:
    generator = open_model(str(turning)).generator
    row = generator.sample([1]).code[:, 0]
    turned = with_transform(generator, 90 * quarters, (0, 0))
    waves = generator.plain.synthesis.input(row)  # type: ignore[operator, union-attr]
    found = turned.plain.synthesis.input(row)  # type: ignore[operator, union-attr]
    wanted = torch.rot90(waves, quarters, (2, 3))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_a_move_goes_to_the_right_and_down(turning: Path) -> None:
    generator = open_model(str(turning)).generator
    row, signal = generator.sample([1]).code[:, 0], generator.plain.synthesis.input.signal  # type: ignore[union-attr]
    moved = with_transform(generator, 0, (2 / signal.rate, 1 / signal.rate))
    waves = generator.plain.synthesis.input(row)  # type: ignore[operator, union-attr]
    found = moved.plain.synthesis.input(row)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(found[:, :, 1:, 2:], waves[:, :, :-1, :-2], rtol=0, atol=1e-4)


def test_a_sample_is_turned_and_its_latent_is_not(
    turning: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = sampled(turning, tmp_path / "plain", "--seeds", "1")
    assert "do not keep" not in capfd.readouterr().err
    words = ("--seeds", "1", "--rotate", "90", "--translate", "0.1,0")
    turned = sampled(turning, tmp_path / "turned", *words)
    assert "the latents do not keep --rotate and --translate" in capfd.readouterr().err
    pictures = [read_image(folder / "seed00001.png") for folder in (plain, turned)]
    assert not np.array_equal(*pictures)
    codes = [load_latent(folder / "seed00001.safetensors").code for folder in (plain, turned)]
    assert torch.equal(*codes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rotate", "10"], "cannot turn or move"),
        (["--translate", "0.1,0"], "cannot turn or move"),
        (["--translate", "0.1"], "two numbers"),
        (["--rotate", "inf"], "a number of degrees"),
        (["--seeds", "nv:"], "'nv:': not seeds"),
        (["--seeds", "tf:1"], "not seeds"),
    ],
)
def test_what_a_generator_cannot_do_is_refused_in_a_line(
    words: list[str], said: str, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["sample", "--out", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert run([*line, *words]) == 2
    assert said in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_a_generator_without_noise_says_so(
    turning: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["sample", "--out", str(tmp_path / "out"), "--model", str(turning)]
    assert run([*line, "--noise", "none"]) == 2
    assert "has no noise" in capfd.readouterr().err
