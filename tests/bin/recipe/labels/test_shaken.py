"""Shakes: small, each picture its own, and the same for what is compared."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipe.labels.shaken import shake


def pictures() -> Tensor:
    chance = torch.Generator().manual_seed(2)
    small = 2 * torch.rand(6, 3, 4, 4, generator=chance) - 1
    return F.interpolate(small, (64, 64), mode="bicubic").clamp(-1, 1)


def test_what_is_compared_is_shaken_alike() -> None:
    shaken, images = shake(6, torch.Generator().manual_seed(0)), pictures()
    assert torch.equal(shaken(images), shaken(images))
    change = torch.zeros_like(images)
    change[:, :, 24:40, 24:40] = 0.1
    seen = shaken(images + change) - shaken(images)
    assert torch.allclose(seen.mean(), change.mean(), rtol=0.15)
    assert seen[:, :, :12].abs().max() < 1e-6


def test_each_picture_has_a_small_shake_of_its_own() -> None:
    same = pictures()[:1].expand(6, -1, -1, -1)
    seen = shake(6, torch.Generator().manual_seed(0))(same)
    apart = torch.cdist(seen.flatten(1), seen.flatten(1))
    assert (apart[~torch.eye(6, dtype=torch.bool)] > 1).all()
    assert ((seen - same).abs().mean((1, 2, 3)) < 0.2).all()
