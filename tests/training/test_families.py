"""An encoder of each family learns to invert a small generator of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator, families
from dseinvert.models import Model, open_model, save_model
from dseinvert.similarity.metrics import image_metrics
from dseinvert.training.loop import train
from dseinvert.training.mirror import MIRRORS, comparable, usual_psi
from dseinvert.training.options import TrainOptions
from dseinvert.training.prepare import truncation
from dseinvert.training.samples import Batch, Source, training_seeds

CHANNELS = {4: 16, 8: 16, 16: 8}
TINY = {
    "stylegan1": dict(
        resolution=16,
        channels=CHANNELS,
        w_dim=16,
        z_dim=8,
        mapping_layers=2,
        mapping_width=16,
    ),
    "stylegan2": dict(resolution=16, channels=CHANNELS, w_dim=16, z_dim=8, mapping_layers=2),
    "stylegan3": dict(
        resolution=16,
        channel_base=128,
        channel_max=16,
        w_dim=16,
        z_dim=8,
        num_layers=6,
        margin_size=4,
    ),
    "pggan": dict(resolution=16, channels=CHANNELS, z_dim=8),
    "biggan": dict(
        channels=(32, 32, 16, 16, 8), attention=2, z_dim=8, class_dim=8, classes=4, truncation=1.0
    ),
}
"""The smallest network of each family that has all its parts, 16 px."""


def sensible(family: str) -> Generator:
    """Random weights whose images vary with the latent and fill the range without leaving it."""
    torch.manual_seed(0)
    generator = families.build({"family": family, **TINY[family]}).eval().requires_grad_(False)
    with torch.no_grad():
        if hasattr(generator, "mapping"):
            latent = generator.sample(range(2048))
            generator.mapping.w_avg.copy_(latent.code.mean(0)[0])
        if family == "biggan":
            generator.embedding.weight.mul_(0.5)  # or nearly all would follow from the class
        latent = generator.sample(range(256), usual_psi(generator))
        spread = generator.synthesize(latent).std()
        for name, weights in generator.named_parameters():
            if "rgb" in name and "affine" not in name:
                weights.mul_(0.4 / spread)
    return generator


@pytest.fixture(scope="module", params=sorted(TINY))
def model(request, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp(request.param) / "tiny"
    save_model(folder, sensible(request.param), name="tiny", alignment="none")
    return open_model(str(folder))


@pytest.fixture
def options() -> TrainOptions:
    return TrainOptions(
        iterations=80,
        batch=16,
        lr=0.02,
        ema=0.95,
        perceptual="none",
        widths=(12, 16, 24),
        eval_every=80,
        grid_every=0,
        checkpoint_every=80,
    )


def psnr(images: Tensor, drawn: Tensor) -> float:
    return image_metrics(images.clamp(-1, 1), drawn.clamp(-1, 1))["psnr"].median().item()


@torch.no_grad()
def unlearned(generator: Generator, held: Batch) -> tuple[float, float]:
    """PSNR of the mean latent, which is told the class of each image, and of the mean image."""
    mean = generator.mean_latent()
    code = mean.code.expand(len(held.images), -1, -1)
    drawn = generator.synthesize(replace(mean, code=code, label=held.labels))
    average = held.images.mean(0, keepdim=True).expand_as(held.images)
    return psnr(held.images, drawn), psnr(held.images, average)


def test_every_family_has_an_encoder_and_is_tried_here():
    mirrors = {row.network.mirror for row in families.FAMILIES.values()}
    assert mirrors <= set(MIRRORS)
    assert set(TINY) == set(families.FAMILIES)


def test_images_of_the_small_generators_are_sensible(model):
    source = Source(model.generator, *truncation(model.generator, TrainOptions()))
    (held,) = source.held_out(64, 64)
    assert held.images.std(0).mean() > 0.1  # they vary with the latent
    assert (held.images.abs() > 1).float().mean() < 0.1  # and are not saturated


def test_training_reconstructs_better_than_the_mean_latent(model, options, tmp_path):
    outcome = train(model, options, tmp_path / "run")
    (held,) = Source(model.generator, *truncation(model.generator, options)).held_out(64, 64)
    mean_latent, mean_image = unlearned(model.generator, held)
    print(f"{model.generator.family}: {outcome.figures['psnr']:.1f} dB; mean latent", end=" ")
    print(f"{mean_latent:.1f}, mean image {mean_image:.1f}")
    assert outcome.figures["psnr"] > mean_latent + 2.5
    assert outcome.figures["psnr"] > mean_image + 1
    trained = open_model(str(tmp_path / "run"))
    assert trained.sha256 == model.sha256
    with torch.no_grad():
        latent = trained.encoder.encode(held.images, held.labels)
        again = psnr(held.images, trained.generator.synthesize(latent))
    assert again == pytest.approx(outcome.figures["psnr"], abs=0.01)


def test_a_run_goes_on_bit_for_bit(model, options, tmp_path):
    every = {f"{name}_every": 2 for name in ("log", "eval", "checkpoint")}
    short = replace(options, iterations=4, batch=4, eval_samples=4, **every)
    train(model, short, tmp_path / "whole" / "run")
    train(model, replace(short, iterations=2), tmp_path / "parts" / "run")
    train(model, short, tmp_path / "parts" / "run")
    whole, parts = (tmp_path / name / "run" for name in ("whole", "parts"))
    for name in ("encoder.safetensors", "training.csv", "evaluation.csv", "model.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_strategy_1_lowers_the_latent_loss(model, options, tmp_path):
    options = replace(options, strategy=1, iterations=40, log_every=1, batch=8)
    train(model, options, tmp_path / "run")
    rows = [line.split(",") for line in (tmp_path / "run" / "training.csv").read_text().split()]
    losses = [float(row[rows[0].index("latent")]) for row in rows[1:]]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_bfloat16_trains_too(model, options, tmp_path):
    short = replace(options, iterations=2, batch=4, eval_samples=4, log_every=1)
    for precision in ("float32", "bfloat16"):
        train(model, replace(short, precision=precision), tmp_path / precision)
    tables = ((tmp_path / p / "training.csv").read_text() for p in ("float32", "bfloat16"))
    exact, coarse = (float(table.split()[1].split(",")[1]) for table in tables)
    assert coarse == pytest.approx(exact, rel=0.1)
    assert coarse != exact


def test_what_is_compared_is_what_the_generator_sees(model):
    """Codes that compare as equal draw the same image, and the other way round."""
    generator = model.generator
    latent = generator.sample(training_seeds(0, 0, 2), usual_psi(generator))
    longer = replace(latent, code=2 * latent.code)
    same = torch.allclose(generator.synthesize(latent), generator.synthesize(longer), atol=1e-4)
    codes = comparable(generator, latent.code), comparable(generator, longer.code)
    assert torch.allclose(*codes, atol=1e-4) == same
    torch.testing.assert_close(codes[0], latent.code, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"mixing": 0.5}, "--mixing"), ({"head": "base"}, "--head"), ({"cutoff": 4}, "--cutoff")],
)
def test_options_of_rows_are_refused_where_the_latent_has_none(
    model, options, tmp_path, change, named
):
    rows = model.generator.spec.space == "w+"
    short = replace(options, iterations=1, batch=2, eval_samples=2, **change)
    if rows:
        train(model, short, tmp_path / "run")
    else:
        with pytest.raises(UsageError, match=named):
            train(model, short, tmp_path / "run")
    assert (tmp_path / "run").exists() == rows


def test_truncation_is_the_familys_own(model, options, tmp_path):
    psi, cutoff = truncation(model.generator, options)
    wanted = {"pggan": (1, None), "biggan": (1, None)}
    assert (psi, cutoff) == wanted.get(model.generator.family, (0.7, 8))
    if not model.generator.truncates:
        with pytest.raises(UsageError, match="--psi"):
            train(model, replace(options, psi=0.5), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_real_images_without_a_class_are_refused_where_one_is_needed(
    model, options, real_tar: Path, tmp_path
):
    short = replace(options, iterations=1, batch=4, eval_samples=2, real=real_tar)
    if model.generator.family == "biggan":
        with pytest.raises(UsageError, match="--real"):
            train(model, short, tmp_path / "run")
    else:
        assert train(model, short, tmp_path / "run").step == 1


class Watched:
    """A generator that remembers the labels it was asked for."""

    def __init__(self, generator: Generator) -> None:
        self.generator, self.labels = generator, []

    def __getattr__(self, name: str):
        return getattr(self.generator, name)

    def sample(self, seeds, psi=1.0, cutoff=None, labels=None):
        self.labels.append(labels)
        return self.generator.sample(seeds, psi, cutoff, labels)


def test_rows_are_mixed_within_a_class():
    numbers = {"family": "stylegan2", **TINY["stylegan2"], "classes": 3}
    generator = Watched(families.build(numbers).eval().requires_grad_(False))
    batch = Source(generator, 0.7, 8).draw(training_seeds(0, 0, 6), 0.5)
    assert generator.labels == [None, batch.labels.argmax(1).tolist()]
    assert len({*generator.labels[1]}) > 1


def test_a_generator_of_rows_with_classes_trains_on_real_images_too(
    options, real_tar: Path, tmp_path
):
    torch.manual_seed(0)
    numbers = {"family": "stylegan2", **TINY["stylegan2"], "classes": 3}
    save_model(tmp_path / "tiny", families.build(numbers), name="tiny", alignment="none")
    gan = open_model(str(tmp_path / "tiny"))
    short = replace(options, iterations=2, batch=4, real=real_tar, mixing=0.5, grid_every=2)
    assert train(gan, short, tmp_path / "run").step == 2
    assert (tmp_path / "run" / "grid-0000002.png").stat().st_size > 0


@pytest.mark.slow
def test_a_small_encoder_learns_the_bundled_generator(options, tmp_path):
    gan = open_model()
    options = replace(options, iterations=70, eval_every=70, batch=4, attention="none")
    more = replace(options, widths=(8, 12, 24, 48, 64, 64), ema=0.9, eval_samples=32)
    outcome = train(gan, more, tmp_path / "run")
    (held,) = Source(gan.generator, *truncation(gan.generator, more)).held_out(32, 32)
    mean_latent, mean_image = unlearned(gan.generator, held)
    print(f"{outcome.figures['psnr']:.2f} dB; {mean_latent:.2f} and {mean_image:.2f} unlearned")
    assert outcome.figures["psnr"] > mean_latent + 2
    assert outcome.figures["psnr"] > mean_image + 1
