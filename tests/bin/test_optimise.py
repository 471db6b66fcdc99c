"""Optimisation brings latents closer to images, each on its own, and leaves the generator alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.latent import Latent
from dseinvert.models import open_model
from measure.optimise import OptimiseOptions, optimise


@pytest.fixture
def generator(tiny_model: Path) -> StyleGAN2:
    return open_model(str(tiny_model)).generator


@pytest.fixture
def images(generator: StyleGAN2) -> Tensor:
    return generator.synthesize(generator.sample([1, 2, 3])).clamp(-1, 1)


def error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(dim=(1, 2, 3))


def test_the_loss_falls_for_every_image(generator: StyleGAN2, images: Tensor) -> None:
    before = error(generator.synthesize(generator.mean_latent()).clamp(-1, 1), images)
    found = optimise(generator, images, options=OptimiseOptions(steps=60))
    assert (error(found.images, images) < 0.5 * before).all()


def test_it_starts_from_the_mean_latent(generator: StyleGAN2, images: Tensor) -> None:
    found = optimise(generator, images, options=OptimiseOptions(steps=0))
    assert found.latent.space == "w+"
    assert torch.equal(found.latent.code, generator.mean_latent().code.expand(3, -1, -1))


def test_it_starts_from_given_latents_and_keeps_their_space(
    generator: StyleGAN2, images: Tensor
) -> None:
    w = generator.sample([1, 2, 3]).code[:, :1]
    found = optimise(generator, images, Latent(w, "w"), OptimiseOptions(steps=3, lr=1e-6))
    assert found.latent.space == "w"
    torch.testing.assert_close(found.latent.code, w, atol=1e-5, rtol=0)


def test_batch_size_does_not_change_the_result(generator: StyleGAN2, images: Tensor) -> None:
    options = OptimiseOptions(steps=20)
    whole = optimise(generator, images, options=options)
    for index in range(3):
        alone = optimise(generator, images[index : index + 1], options=options)
        torch.testing.assert_close(alone.images[0], whole.images[index], atol=1e-3, rtol=0)


def test_the_generator_is_left_as_it_was(generator: StyleGAN2, images: Tensor) -> None:
    generator.requires_grad_(True)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    optimise(generator, images, options=OptimiseOptions(steps=3))
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert all(weight.grad is None for weight in generator.parameters())


def test_a_feature_is_kept_and_only_the_code_moves(generator: StyleGAN2, images: Tensor) -> None:
    with torch.inference_mode():  # as an encoder would hand it over
        start = generator.sample([4, 5, 6])
        feature = generator.features(start, 3)
        start = Latent(start.code, "w+", feature=feature, layer=3)
    found = optimise(generator, images, start, OptimiseOptions(steps=3))
    assert torch.equal(found.latent.feature, feature)
    assert not torch.equal(found.latent.code, start.code)


def test_it_works_inside_inference_mode(generator: StyleGAN2) -> None:
    with torch.inference_mode():
        images = generator.synthesize(generator.sample([1]))
        start = generator.sample([2])
        found = optimise(generator, images, start, OptimiseOptions(steps=2))
    assert not found.latent.code.requires_grad


def test_an_extra_term_takes_part(generator: StyleGAN2, images: Tensor) -> None:
    def darkness(target: Tensor, drawn: Tensor) -> Tensor:
        return drawn.mean(dim=(1, 2, 3))

    options = OptimiseOptions(steps=30, extra_weight=5)
    plain = optimise(generator, images, options=options)
    darker = optimise(generator, images, options=options, extra=darkness)
    assert darker.images.mean() < plain.images.mean()


def test_every_step_is_watched(generator: StyleGAN2, images: Tensor) -> None:
    seen: list[int] = []
    losses: list[Tensor] = []

    def watch(step: int, loss: Tensor) -> None:
        seen.append(step)
        losses.append(loss)

    optimise(generator, images, options=OptimiseOptions(steps=4), watch=watch)
    assert seen == [1, 2, 3, 4]
    assert all(loss.shape == (3,) for loss in losses)


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    options = OptimiseOptions(steps=100, lr=0.2)
    rates = [options.rate(step) for step in range(100)]
    assert 0 < rates[0] < rates[3] < 0.2
    assert rates[40] == pytest.approx(0.2)
    assert 0 < rates[99] < 0.001
    assert rates[75:] == sorted(rates[75:], reverse=True)
