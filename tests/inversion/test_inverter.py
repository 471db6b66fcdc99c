"""An inversion is deterministic, free of its batch, and drawn by the generator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dseinvert.inversion.inverter import Inverter
from dseinvert.models import open_model


@pytest.fixture
def inverter(tiny_model: Path) -> Inverter:
    model = open_model(str(tiny_model))
    assert model.encoder is not None
    return Inverter(model.generator, model.encoder)


def test_batch_size_does_not_change_the_result(inverter: Inverter) -> None:
    images = torch.rand(5, 3, 16, 16) * 2 - 1
    whole = inverter.invert(images)
    for index in range(5):
        alone = inverter.invert(images[index : index + 1])
        torch.testing.assert_close(
            alone.latent.code[0], whole.latent.code[index], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(alone.images[0], whole.images[index], atol=1e-5, rtol=0)


def test_the_pictures_are_those_of_the_latent(inverter: Inverter) -> None:
    inversion = inverter.invert(torch.rand(2, 3, 16, 16) * 2 - 1)
    assert torch.equal(inverter.render(inversion.latent), inversion.images)
    assert inversion.images.abs().max() <= 1


def test_inverting_twice_gives_the_same(inverter: Inverter) -> None:
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(inverter.invert(images).latent.code, inverter.invert(images).latent.code)
