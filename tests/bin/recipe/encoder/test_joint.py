"""The joint recipe: growing loses nothing, stopping costs nothing, training learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dseinvert.training.pictures import Variations
from recipe.encoder import joint

OPTIONS = joint.JointOptions(
    resolution=16,
    channels=(12, 12, 8),
    encoder_channels=(8, 12, 12),
    w_dim=16,
    mapping_layers=2,
    images_half=64,
    images_full=32,
    batch=4,
)


def pictures(batch: int, seed: int) -> Variations:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 3, 3, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return Variations(images, np.full((6, 24, 24), 255, np.uint8), 16, batch, seed)


class Distance(nn.Module):
    def forward(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return (F.avg_pool2d(real, 4) - F.avg_pool2d(fake, 4)).square().mean((1, 2, 3))


def train(folder: Path, options: joint.JointOptions = OPTIONS, every: int = 2) -> joint.Pair:
    return joint.train_pair(
        options, pictures, folder, Distance(), lambda pair, step: {"a": 0.0}, every
    )


def test_growing_keeps_the_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small, large = joint.build(OPTIONS, 8), joint.build(OPTIONS, 16)
    joint.grow(small, large)
    image = torch.rand(4, 3, 8, 8) * 2 - 1
    big = F.interpolate(image, scale_factor=2)
    nobody = torch.zeros(4, dtype=torch.bool)
    with torch.no_grad():
        drawn = small.generator.synthesis(joint.encode(small, image, nobody, 0)[0])
        redrawn = large.generator.synthesis(joint.encode(large, big, nobody, 0)[0])
    error = (F.avg_pool2d(redrawn, 2) - drawn).std() / drawn.std()
    assert error < 0.35  # an untrained large pair differs by more than 1


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop_at_four(pair: joint.Pair, step: int) -> dict[str, float]:
        if pair.generator.resolution == 16 and step == 4:
            raise Stopped
        return {"a": 0.0}

    with pytest.raises(Stopped):
        joint.train_pair(OPTIONS, pictures, tmp_path / "cut", Distance(), stop_at_four, 2)
    again = train(tmp_path / "cut")
    pairs = zip(
        whole.modules().state_dict().items(), again.modules().state_dict().values(), strict=True
    )
    for (name, one), other in pairs:
        assert torch.equal(one, other), name


def test_training_lowers_the_error(tmp_path: Path) -> None:
    images = pictures(16, 99).at(0)

    def error(pair: joint.Pair) -> float:
        with torch.no_grad():
            rows, _ = joint.encode(pair, images, torch.zeros(16, dtype=torch.bool), 0)
            return float(F.mse_loss(pair.generator.synthesis(rows), images))

    torch.manual_seed(0)
    before = error(joint.build(OPTIONS, 16))
    after = error(train(tmp_path, replace(OPTIONS, images_half=800, images_full=400), every=1000))
    assert after < before / 3


def test_the_schedule_warms_up_and_ends_low() -> None:
    rates = [joint.schedule(step, 1000) for step in range(1000)]
    assert rates[0] < 0.01 and max(rates) == pytest.approx(1) and rates[-1] < 0.03
