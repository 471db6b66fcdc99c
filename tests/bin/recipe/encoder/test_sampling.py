"""Samples of the pair follow the codes that its encoder gives."""

from __future__ import annotations

import torch

from dseinvert.generators.stylegan2 import Mapping
from recipe.encoder import sampling


def test_the_mapping_network_learns_the_codes() -> None:
    torch.manual_seed(0)
    codes = torch.randn(2000, 8) @ torch.diag(torch.linspace(0.5, 2, 8)) + 1
    mapping = Mapping(8, 8, 2)
    sampling.fit_mapping(mapping, codes, steps=1000, batch=256, slices=8)
    with torch.no_grad():
        drawn = mapping(torch.randn(4000, 8))
    assert torch.allclose(drawn.mean(0), codes.mean(0), atol=0.25)
    assert torch.allclose(drawn.std(0), codes.std(0), atol=0.45)
    assert torch.allclose(mapping.w_avg, codes.mean(0), atol=0.25)


def test_samples_have_the_spread_of_pictures_about_the_mean_of_sharp_samples() -> None:
    torch.manual_seed(0)
    rows, mapping = torch.randn(500, 3, 8) + 5, Mapping(8, 8, 2)
    with torch.no_grad():
        sharp = mapping(torch.randn(20_000, 8)).mean(0)
    there, half = (sampling.drawn_sharp(mapping, rows, share, 2) for share in (1.0, 0.5))
    assert torch.allclose(there.T.cov(), 4 * rows.mean(1).T.cov(), atol=1e-4)
    assert torch.allclose(there.mean(0), sharp, atol=0.05)
    assert torch.allclose(half.mean(0), (sharp + rows.mean((0, 1))) / 2, atol=0.05)
