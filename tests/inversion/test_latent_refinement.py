"""Refined latents draw their images better, each by itself, within its budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.inversion.optimise import LatentOptions, latent_refinement
from dseinvert.inversion.refinement import Budget, Refined
from dseinvert.inversion.spaces import SPACES, enter
from dseinvert.latent import Latent
from dseinvert.models import open_model
from tests.inversion.test_spaces import biggan, pggan


@pytest.fixture
def generator(tiny_model: Path) -> StyleGAN2:
    return open_model(str(tiny_model)).generator


@pytest.fixture
def images(generator: StyleGAN2) -> Tensor:
    return generator.synthesize(generator.sample([1, 2, 3, 4])).clamp(-1, 1)


@pytest.fixture
def start(generator: StyleGAN2) -> Latent:
    return generator.sample([11, 12, 13, 14])


def error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(dim=(1, 2, 3))


def first(generator: StyleGAN2, space: str, images: Tensor, start: Latent) -> Tensor:
    chart = enter(generator, space, start)
    return error(generator.synthesize(chart.result(chart.zeros())), images)


@pytest.mark.parametrize("space", SPACES)
def test_every_space_brings_every_image_closer(
    generator: StyleGAN2, images: Tensor, start: Latent, space: str
) -> None:
    found = latent_refinement(generator, space)(images, start, Budget(40))
    assert (error(found.images, images) < first(generator, space, images, start)).all()
    torch.testing.assert_close(found.losses, error(generator.synthesize(found.latent), images))
    assert found.steps.tolist() == [40] * 4


@pytest.mark.parametrize("space", ["w+", "f/z+", "z"])
def test_batch_size_does_not_change_the_result(
    generator: StyleGAN2, images: Tensor, start: Latent, space: str
) -> None:
    refine = latent_refinement(generator, space)
    whole = refine(images, start, Budget(20))
    for k in range(4):
        alone = refine(images[k : k + 1], start[k : k + 1], Budget(20))
        torch.testing.assert_close(alone.images[0], whole.images[k], atol=1e-3, rtol=0)


def test_an_image_that_is_done_does_not_change_the_others(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    refine = latent_refinement(generator, "f/w+", LatentOptions(lr=0.1))
    plain = refine(images, start, Budget(30))
    until = float(plain.losses.median()) * 1.5
    some = refine(images, start, Budget(30, until=until))
    done = some.losses <= until
    assert done.any() and (some.steps[done] < 30).any()
    assert (some.steps[~done] == 30).all()
    for k in range(4):
        alone = refine(images[k : k + 1], start[k : k + 1], Budget(30, until=until))
        assert int(alone.steps) == int(some.steps[k])
        torch.testing.assert_close(alone.images[0], some.images[k], atol=1e-3, rtol=0)


def test_a_goal_of_ones_own_ends_the_work(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    def reached(target: Tensor, drawn: Tensor) -> Tensor:
        return torch.zeros(len(target))

    found = latent_refinement(generator, "w+")(images, start, Budget(30, until=0, goal=reached))
    assert found.steps.tolist() == [0] * 4
    assert torch.equal(found.latent.code, start.code)


@pytest.mark.parametrize("space", ["w+", "f/w+", "z+"])
def test_steps_that_do_harm_leave_the_start(
    generator: StyleGAN2, images: Tensor, start: Latent, space: str
) -> None:
    chart = enter(generator, space, start)
    own = chart.result(chart.zeros())
    drawn = generator.synthesize(own).detach()
    found = latent_refinement(generator, space, LatentOptions(lr=30))(drawn, start, Budget(5))
    torch.testing.assert_close(found.latent.code, own.code)
    assert found.losses.max() < 1e-9


def test_seconds_end_the_work_and_no_step_is_a_start(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    refine = latent_refinement(generator, "w+")
    found = refine(images, start, Budget(10**6, seconds=0.02))
    assert 0 < found.steps.max() < 10**5
    assert torch.equal(refine(images, start, Budget(0)).latent.code, start.code)


def test_the_watch_sees_every_step(generator: StyleGAN2, images: Tensor, start: Latent) -> None:
    seen: list[tuple[int, Tensor]] = []
    refine = latent_refinement(generator, "w+")
    found = refine(images, start, Budget(7), lambda step, losses: seen.append((step, losses)))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6, 7]
    least = torch.stack([losses for _, losses in seen]).min(0).values
    assert (found.losses <= least).all() and all(losses.shape == (4,) for _, losses in seen)


def test_a_perceptual_distance_and_its_weight_count(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    def dark(target: Tensor, drawn: Tensor) -> Tensor:
        return drawn.mean((1, 2, 3))

    def brightness(weight: float) -> float:
        options = LatentOptions(perceptual=weight, mse=0.1)
        refine = latent_refinement(generator, "w+", options, dark)
        return float(refine(images, start, Budget(20)).images.mean())

    assert brightness(1.0) < brightness(0.0) - 0.02


def test_holding_f_keeps_it_near_its_start(
    generator: StyleGAN2, images: Tensor, start: Latent
) -> None:
    def moved(hold: float) -> Tensor:
        refine = latent_refinement(generator, "f/w+", LatentOptions(hold=hold))
        latent = refine(images, start, Budget(20)).latent
        return (latent.feature - generator.features(start, latent.layer)).square().mean()

    assert moved(10.0) < 0.1 * moved(0.0)


def test_p_n_keeps_w_where_samples_are(generator: StyleGAN2, images: Tensor) -> None:
    far = replace(generator.sample([1, 2, 3, 4]), code=3 * generator.sample([1, 2, 3, 4]).code)

    def length(dense: float) -> float:
        refine = latent_refinement(generator, "w+", LatentOptions(dense=dense, mse=0))
        found = refine(images, far, Budget(30, until=-1.0), None)
        return float(found.latent.code.square().mean())

    # The image loss is 0 throughout, so that the first, the start, is the best: nothing moves.
    assert length(1.0) == pytest.approx(length(0.0))
    refine = latent_refinement(generator, "w+", LatentOptions(dense=1.0))
    plain = latent_refinement(generator, "w+")
    near, free = (one(images, far, Budget(30)).latent.code for one in (refine, plain))
    assert near.square().mean() < free.square().mean()
    with pytest.raises(UsageError, match="P_N is about w"):
        latent_refinement(generator, "f/z+", LatentOptions(dense=0.01))


def test_it_works_in_inference_mode_and_leaves_the_generator(
    generator: StyleGAN2, images: Tensor
) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    with torch.inference_mode():
        start = generator.sample([11, 12, 13, 14])
        feature = generator.features(start, 3)
        start = replace(start, feature=feature, layer=3)
        inside = latent_refinement(generator, "f/z+")(images.clone(), start, Budget(5))
    outside = latent_refinement(generator, "f/z+")(images, start, Budget(5))
    torch.testing.assert_close(inside.latent.code, outside.latent.code)
    assert torch.equal(start.feature, feature)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert all(weight.grad is None for weight in generator.parameters())


@pytest.mark.parametrize("build", [biggan, pggan])
def test_generators_of_one_z_are_refined_in_z(build: object) -> None:
    generator = build()
    images = generator.synthesize(generator.sample([1, 2])).clamp(-1, 1)
    start = generator.sample([3, 4])
    if generator.spec.classes:
        start = replace(start, label=generator.sample([1, 2]).label)
    found: Refined = latent_refinement(generator, "z")(images, start, Budget(40))
    assert found.latent.space == "z" and found.latent.code.shape == start.code.shape
    assert (error(found.images, images) < error(generator.synthesize(start), images)).all()
    with pytest.raises(UsageError, match="f/z"):
        latent_refinement(generator, "f/z+")
