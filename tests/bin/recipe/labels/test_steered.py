"""Directions after descent: they do what they are asked, and leave more alone than before."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.faces.paste import head_mask
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.latent import Latent
from recipe.labels.steered import Faces, Steering, drawn_strengths, edited, steer


class Unlike(nn.Module):
    """A stand-in for a distance of features."""

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - fake).square().mean((1, 2, 3))


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(3)
    config = StyleGAN2Config(16, {4: 16, 8: 16, 16: 12}, w_dim=16, z_dim=16, mapping_layers=2)
    return StyleGAN2(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def latents(generator: StyleGAN2) -> Latent:
    rows = generator.rows(generator.sample(range(24), 1.0))
    plain = Latent(rows, "w+")
    torch.manual_seed(4)
    feature = generator.features(plain, 3)
    return replace(plain, feature=feature + 0.3 * torch.randn_like(feature), layer=3)


def scoring(images: Tensor) -> Tensor:
    """Three scores: how bright the middle is, how bright the whole, how red."""
    middle = images[:, :, 6:10, 6:10].mean((1, 2, 3))
    return 10 * torch.stack([middle, images.mean((1, 2, 3)), images[:, 0].mean((1, 2))], dim=1)


def beside(generator: StyleGAN2, latents: Latent, vector: Tensor) -> float:
    """How far a step along a vector that moves its score by one changes what is not the head."""
    before = generator.synthesize(latents)
    after = edited(generator, latents, vector)
    moved = (scoring(after) - scoring(before))[:, 0].mean()
    outside = 1 - torch.from_numpy(head_mask(16))
    return float(((after - before).abs() * outside).mean() / moved.abs())


@pytest.mark.parametrize("with_feature", [True, False])
def test_pictures_are_those_of_an_edit(
    generator: StyleGAN2, latents: Latent, with_feature: bool
) -> None:
    used = latents if with_feature else Latent(latents.code, "w+")
    vector = torch.randn(latents.code.shape[1:], generator=torch.Generator().manual_seed(1))
    moved = apply_edits(used, [Edit(Direction("x", vector, "w+", "", ""), 0.7)], generator)
    drawn = edited(generator, used, 0.7 * vector)
    assert torch.allclose(drawn, generator.synthesize(moved), atol=1e-5)


def test_strengths_are_of_both_signs_and_never_small() -> None:
    strengths = drawn_strengths(500, 2.5, torch.Generator().manual_seed(0))
    assert strengths.abs().min() >= 0.5 and strengths.abs().max() <= 2.5
    assert 0.4 < (strengths > 0).float().mean() < 0.6


@pytest.mark.parametrize("shaken", [False, True])
def test_descent_moves_the_score_as_asked_and_leaves_more_alone(
    generator: StyleGAN2, latents: Latent, shaken: bool
) -> None:
    images = generator.synthesize(latents)
    faces, scores = Faces(latents, images), scoring(images)
    torch.manual_seed(5)
    vectors = 0.1 * torch.randn(2, *latents.code.shape[1:])
    spared = torch.tensor([[0.0, 1, 1], [1, 0, 1]])
    options = Steering(steps=150, rate=0.05, shaken=shaken)
    found = steer(generator, faces, vectors, scoring, spared, torch.ones(2), Unlike(), options)
    moved = scoring(edited(generator, latents, found[0])) - scores
    before = scoring(edited(generator, latents, vectors[0])) - scores
    assert abs(float(moved[:, 0].mean()) - 1) < 0.3 < abs(float(before[:, 0].mean()) - 1)
    assert beside(generator, latents, found[0]) < 0.7 * beside(generator, latents, vectors[0])
    again = steer(generator, faces, vectors, scoring, spared, torch.ones(2), Unlike(), options)
    assert torch.equal(found, again)
