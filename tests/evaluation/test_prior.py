from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dseinvert.evaluation.prior import prior
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=16, z_dim=16, mapping_layers=2)
    made = StyleGAN2(config).eval().requires_grad_(False)
    made.measure_mean()
    return made


def test_samples_are_one_away_on_the_average(generator: StyleGAN2) -> None:
    distance = prior(generator).distance(generator.sample(range(400)))
    assert distance.square().mean() == pytest.approx(1, abs=0.1)


def test_the_mean_is_nearest_and_a_stretched_code_is_far(generator: StyleGAN2) -> None:
    judge = prior(generator)
    sample, mean = generator.sample([3]), generator.mean_latent()
    far = replace(sample, code=mean.code + 5 * (sample.code - mean.code))
    near, own, away = (float(judge.distance(one)) for one in (mean, sample, far))
    assert near < 0.2 < own < away
    assert away == pytest.approx(5 * own, rel=0.1)


def test_a_generator_without_w_is_judged_in_z() -> None:
    torch.manual_seed(0)
    made = PGGAN(PGGANConfig(16, {4: 8, 8: 8, 16: 8}, z_dim=16)).eval().requires_grad_(False)
    distance = prior(made, 1024).distance(made.sample(range(200)))
    assert distance.square().mean() == pytest.approx(1, abs=0.15)
