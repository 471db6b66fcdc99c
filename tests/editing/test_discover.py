"""Regression finds the step behind a score, and calibration gives it its unit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.editing.discover import calibrate, regress
from dseinvert.latent import Latent
from dseinvert.models import open_model


def test_regression_separates_attributes_that_come_together() -> None:
    torch.manual_seed(0)
    age = torch.randn(4000)
    glasses = 0.8 * age + 0.6 * torch.randn(4000)  # the old wear them more often
    truth = torch.randn(2, 6, 16)
    codes = age[:, None, None] * truth[0] + glasses[:, None, None] * truth[1]
    codes = codes + 0.1 * torch.randn_like(codes)
    scores = torch.stack([40 + 15 * age, glasses], dim=1)  # the scale of a score says nothing
    found = regress(codes, scores)
    assert torch.allclose(found, truth, atol=0.1)


def test_one_unit_is_one_deviation_of_the_samples(tiny_model: Path) -> None:
    generator = open_model(str(tiny_model)).generator
    torch.manual_seed(0)
    vector = 0.05 * torch.randn(6, 16)
    seeds = range(64)

    def brightness(images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))

    code = generator.sample(seeds).code
    plain = brightness(generator.synthesize(Latent(code, "w+")).clamp(-1, 1))
    vector = vector if _slope(generator, code, vector, brightness) > 0 else -vector
    factor = calibrate(generator, vector, brightness, seeds, step=0.5, batch=10)
    assert factor > 0
    assert float(plain.std()) == pytest.approx(
        factor * _slope(generator, code, 0.5 * vector, brightness) / 0.5, rel=1e-3
    )


def test_a_vector_that_does_not_raise_its_score_gets_no_unit(tiny_model: Path) -> None:
    generator = open_model(str(tiny_model)).generator
    still = torch.zeros(6, 16)
    assert calibrate(generator, still, lambda x: x.mean((1, 2, 3)), range(8)) == 0.0


def _slope(generator, code: Tensor, vector: Tensor, score) -> float:  # type: ignore[no-untyped-def]
    up, down = (
        score(generator.synthesize(Latent(code + sign * vector, "w+")).clamp(-1, 1))
        for sign in (1, -1)
    )
    return float((up - down).mean() / 2)
