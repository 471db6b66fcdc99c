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
