from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.inversion.inverter import Inverter
from recipe.encoder.branch import BranchOptions, begun, train_branch, untrained

OPTIONS = BranchOptions(layer=3, steps=40, batch=6, lr=5e-3)


class Plain(nn.Module):
    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - fake).square().mean((1, 2, 3))


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(16, {4: 12, 8: 12, 16: 12}, 16, 16, 2))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trunk() -> DSEEncoder:
    torch.manual_seed(1)
    return DSEEncoder(DSEConfig(16, 6, 16, (8, 12, 16))).eval().requires_grad_(False)


def batches(step: int, count: int = 6) -> Iterator[Tensor]:
    """Smooth random pictures; a step's depend on the step alone."""
    while True:
        source = torch.Generator().manual_seed(step)
        coarse = torch.rand(count, 3, 4, 4, generator=source) * 2 - 1
        yield nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
        step += 1


def run(
    generator: StyleGAN2, trunk: DSEEncoder, folder: Path, options: BranchOptions
) -> DSEFeatureEncoder:
    pictures = batches(begun(folder))
    return train_branch(
        generator, trunk, options, pictures, Plain(), folder, lambda *_: None, every=10
    )


def error(generator: StyleGAN2, encoder: DSEFeatureEncoder) -> float:
    images = next(batches(10**6, 32))
    return float((Inverter(generator, encoder).invert(images).images - images).square().mean())


def test_a_trained_branch_draws_unseen_pictures_better_than_its_trunk(
    generator: StyleGAN2, trunk: DSEEncoder, tmp_path: Path
) -> None:
    before = error(generator, untrained(generator, trunk, 3))
    trained = run(generator, trunk, tmp_path, OPTIONS)
    assert error(generator, trained) < 0.7 * before
    for old, new in zip(trunk.parameters(), trained.trunk.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_run_that_was_stopped_ends_with_the_same_branch(
    generator: StyleGAN2, trunk: DSEEncoder, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(encoder: DSEFeatureEncoder, step: int, losses: dict[str, float]) -> None:
        if step == 30:
            raise Stopped

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    options = replace(OPTIONS, steps=35)
    expected = run(generator, trunk, whole, options)
    with pytest.raises(Stopped):
        train_branch(generator, trunk, options, batches(0), Plain(), parts, stop, every=10)
    assert begun(parts) == 20
    again = run(generator, trunk, parts, options)
    for name, value in expected.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
