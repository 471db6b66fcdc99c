"""PGAN checkpoints of Facebook's zoo, against its network written down once more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators.pggan import PGGAN
from dseinvert.importers import gan_zoo
from dseinvert.importers.read import read
from dseinvert.latent import Latent
from dseinvert.models import open_model
from dseinvert.models.cache import add
from tests.references import contents


def published(z: Tensor, state: dict[str, Tensor]) -> Tensor:
    """What its network draws of z and label [B, D] side by side."""

    def normed(x: Tensor) -> Tensor:
        return x / torch.sqrt(x.square().mean(1, keepdim=True) + 1e-8)

    def layer(x: Tensor, name: str) -> Tensor:
        weight, bias = (state[f"{name}.module.{part}"] for part in ("weight", "bias"))
        scale = math.sqrt(2 / weight[0].numel())
        if weight.ndim == 2:
            return F.linear(x, weight, bias) * scale
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2) * scale

    x = F.leaky_relu(layer(normed(z), "formatLayer"), 0.2)
    x = normed(x.reshape(len(z), -1, 4, 4))
    x = normed(F.leaky_relu(layer(x, "groupScale0.0"), 0.2))
    for k in range(2):
        x = F.interpolate(x, scale_factor=2)
        for i in (0, 1):
            x = normed(F.leaky_relu(layer(x, f"scaleLayers.{k}.{i}"), 0.2))
    return layer(x, "toRGBLayers.2")


def latent() -> Latent:
    z = torch.randn(3, 1, 12, generator=torch.Generator().manual_seed(1))
    return Latent(z, "z", label=torch.eye(3))


@pytest.mark.parametrize("wrapped", [False, True])
def test_images_are_those_of_the_published_network(wrapped: bool) -> None:
    found = gan_zoo.convert(contents.gan_zoo(wrapped))
    network = found.generator
    assert isinstance(network, PGGAN) and network.config.pixel_bias
    given = latent()
    assert given.label is not None
    wanted = published(torch.cat([given.code[:, 0], given.label], 1), contents.gan_zoo()["avgG"])
    assert wanted.std() > 0.3
    assert (network.synthesize(given) - wanted).abs().max() < 1e-4 * max(1, wanted.std().item())
    assert found.notes == ("took avgG; left out netG, netD",) and "BSD" in found.licence


def test_it_is_sampled_and_keeps_what_it_is_in_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSEINVERT_HOME", str(tmp_path / "home"))
    content = contents.gan_zoo() | {"config": {"categoryVectorDim": 3}}
    torch.save(content, tmp_path / "celeba.pth")
    fresh = read(tmp_path / "celeba.pth").generator
    model = open_model(str(add(tmp_path / "celeba.pth", "zoo").folder))
    assert "BSD" in model.card["licence"] and fresh is not None
    one, other = (gan.synthesize(gan.sample([1, 2])) for gan in (fresh, model.generator))
    assert torch.equal(one, other) and one.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"alpha": 0.3}, "still growing: its last size is blended in by alpha=0.3"),
        ({"lossCriterion": "DCGAN"}, "trained with DCGAN"),
        ({"leakyReluLeak": 0.1}, "leakyReluLeak=0.1"),
        ({"attribKeysOrder": {"Type": {}, "Colour": {}}}, "whose label says 2 things"),
        ({"categoryVectorDim": -1}, "categoryVectorDim=-1"),
        ({"categoryVectorDim": 15}, "15 inputs for 15 classes"),
    ],
)
def test_what_is_not_known_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        gan_zoo.convert(contents.gan_zoo(**config))


def test_a_tensor_that_is_missing_or_misshapen_is_named() -> None:
    for name in ("formatLayer.bias", "scaleLayers.1.0.weight", "toRGBLayers.2.weight"):
        content = contents.gan_zoo(wrapped=False)
        for damaged in (None, torch.zeros(3)):
            content["avgG"][name] = damaged
            with pytest.raises(InputError, match=name):
                gan_zoo.convert(content)
