from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dseinvert.generators import Generator
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.tuned import draw_tuned, features, private, synthesize, with_tuning
from dseinvert.latent import Latent, concat, dumps, load_latent

NAME = "synthesis.convs.1.conv.weight"


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=16, z_dim=16, mapping_layers=2)
    return StyleGAN2(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def latent(generator: StyleGAN2) -> Latent:
    rows, rest = 8, generator.get_parameter(NAME).numel() // 8
    draw = torch.Generator().manual_seed(1)
    tuning = {
        f"{NAME}.up": torch.randn(3, rows, 2, generator=draw).half().float(),
        f"{NAME}.down": torch.randn(3, 2, rest, generator=draw).half().float(),
    }
    return replace(generator.sample([1, 2, 3]), tuning=tuning)


def test_a_tuned_sample_is_drawn_with_its_own_weights(generator: StyleGAN2, latent: Latent) -> None:
    plain = generator.synthesize(replace(latent, tuning={}))
    images = synthesize(generator, latent)
    assert (images - plain).abs().amax((1, 2, 3)).min() > 0.01
    own = {name: tensor[1] for name, tensor in latent.tuning.items()}
    alone = with_tuning(generator, own).synthesize(replace(latent[1:2], tuning={}))
    torch.testing.assert_close(images[1:2], alone, atol=1e-5, rtol=0)


def test_the_given_generator_stays_as_it_was(generator: StyleGAN2, latent: Latent) -> None:
    before = generator.synthesize(replace(latent, tuning={}))
    synthesize(generator, latent)
    assert torch.equal(before, generator.synthesize(replace(latent, tuning={})))


def test_without_tuning_it_is_the_generator_itself(generator: StyleGAN2) -> None:
    plain = generator.sample([4, 5])
    assert torch.equal(synthesize(generator, plain), generator.synthesize(plain))
    assert torch.equal(features(generator, plain, 3), generator.features(plain, 3))


def test_features_come_from_the_tuned_weights(generator: StyleGAN2, latent: Latent) -> None:
    plain = features(generator, replace(latent, tuning={}), 3)
    assert (features(generator, latent, 3) - plain).abs().max() > 0.01


def test_samples_drawn_together_are_those_drawn_one_by_one(
    generator: StyleGAN2, latent: Latent
) -> None:
    own, slopes = private(generator), []
    tuning = {name: factor.clone().requires_grad_() for name, factor in latent.tuning.items()}
    for together in (True, False):
        images = draw_tuned(own, replace(latent, tuning=tuning), together=together)
        slopes.append(torch.autograd.grad(images.square().sum(), list(tuning.values())))
    for pair in zip(*slopes, strict=True):
        torch.testing.assert_close(*pair, atol=1e-3, rtol=1e-4)


def test_others_draw_while_weights_are_replaced(generator: StyleGAN2, latent: Latent) -> None:
    plain = generator.synthesize(replace(latent, tuning={}))
    heard = []

    def draw(own: Generator, one: Latent) -> torch.Tensor:
        heard.append(torch.equal(generator.synthesize(replace(latent, tuning={})), plain))
        return own.synthesize(one)

    draw_tuned(private(generator), latent, draw)
    assert heard == [True] * 3


def test_tuning_and_style_are_cut_joined_and_saved(latent: Latent, tmp_path) -> None:  # type: ignore[no-untyped-def]
    styled = replace(latent, style=torch.ones(3, 5))
    joined = concat([styled[0:1], styled[1:3]])
    file = tmp_path / "x.safetensors"
    file.write_bytes(dumps(joined))
    again = load_latent(file)
    assert again.style is not None and torch.equal(again.style, torch.ones(3, 5))
    assert again.tuning.keys() == latent.tuning.keys()
    assert all(torch.equal(again.tuning[key], latent.tuning[key]) for key in latent.tuning)
