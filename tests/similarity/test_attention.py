from __future__ import annotations

import pytest
import torch

from dseinvert.similarity.attention import at1, at2, centre_crops, whole
from dseinvert.similarity.weights import STRATEGIES, Attention


def positions(height: int, width: int) -> torch.Tensor:
    """An image whose every pixel names its place."""
    return torch.arange(float(height * width)).view(1, 1, height, width)


@pytest.mark.parametrize(("side", "first", "stop"), [(1024, 128, 896), (64, 8, 56), (16, 2, 14)])
def test_the_first_crop_leaves_out_an_eighth_of_the_columns_and_no_row(side, first, stop):
    image = positions(side, side)
    assert torch.equal(at1(image), image[:, :, :, first:stop])


@pytest.mark.parametrize(("side", "first", "stop"), [(1024, 160, 864), (64, 10, 54), (16, 2, 14)])
def test_the_second_crop_is_the_published_square(side, first, stop):
    image = positions(side, side)
    assert torch.equal(at2(image), image[:, :, first:stop, first:stop])


def test_images_need_not_be_square():
    assert at1(positions(32, 64)).shape[2:] == (32, 48)
    assert at2(positions(32, 64)).shape[2:] == (22, 44)


def test_whole_images_weigh_one_and_crops_mu():
    image = positions(32, 32)
    weights = [weight for weight, _, _ in centre_crops(Attention(5, 9))(image, image)]
    assert weights == [1, 5, 9]
    assert whole(image, image) == [(1, image, image)]


def test_the_strategies_weigh_crops_as_published():
    assert {1: Attention(1, 1), 2: Attention(5, 9)} == STRATEGIES
