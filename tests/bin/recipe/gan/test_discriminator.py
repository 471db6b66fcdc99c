from __future__ import annotations

import pytest
import torch

from dseinvert.generators.ops import Blur
from recipe.gan.adversarial import gradient_penalty
from recipe.gan.discriminator import Discriminator, low_pass, minibatch_deviation
from recipe.gan.gan_state import BoxBlur


def critic() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(16, {4: 12, 8: 10, 16: 8})


def test_box_averages_are_the_filter_of_the_generator():
    x = torch.randn(2, 3, 9, 9)
    assert torch.allclose(BoxBlur()(x), Blur((1, 1), gain=4)(x), atol=1e-6)
    assert torch.allclose(low_pass(x, 2), Blur((2, 2))(x), atol=1e-6)


def test_minibatch_deviation_is_the_published_formula():
    x = torch.randn(8, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    given = minibatch_deviation(x, group=4)
    for i in range(8):
        members = x[[j for j in range(8) if j % 2 == i % 2]]
        spread = (members - members.mean(0)).square().mean(0).add(1e-8).sqrt().mean()
        assert torch.allclose(given[i], spread.expand(1, 4, 4))


def test_equal_images_have_no_deviation():
    same = torch.randn(1, 5, 4, 4).expand(4, -1, -1, -1)
    assert minibatch_deviation(same).max() < 1e-3


def test_a_batch_that_no_group_divides_still_works():
    assert minibatch_deviation(torch.randn(6, 2, 4, 4)).shape == (6, 1, 4, 4)


def test_scores_start_small_and_one_an_image():
    scores = critic()(torch.rand(4, 3, 16, 16) * 2 - 1)
    assert scores.shape == (4,)
    assert scores.abs().max() < 5


def test_r1_of_a_linear_critic_is_the_square_of_its_weights():
    weights = torch.randn(3, 8, 8)
    penalty = gradient_penalty(
        lambda images: (images * weights).sum((1, 2, 3)), torch.rand(4, 3, 8, 8)
    )
    assert penalty.item() == pytest.approx(weights.square().sum().item(), rel=1e-5)


def test_r1_of_a_square_critic_is_four_times_its_input():
    images = torch.rand(4, 3, 8, 8)
    penalty = gradient_penalty(lambda x: x.square().sum((1, 2, 3)), images)
    assert penalty.item() == pytest.approx(
        4 * images.square().sum((1, 2, 3)).mean().item(), rel=1e-5
    )


def test_r1_reaches_every_weight_of_the_critic():
    net = critic()
    gradient_penalty(net, torch.rand(4, 3, 16, 16)).backward()
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad.abs().sum() > 0, name
