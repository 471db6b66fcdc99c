"""Directions of the bundled models: told apart by what they are measured to move."""

from __future__ import annotations

import numpy as np
import torch

from recipe.labels.attributes import STEP, decoupled, effects, halved, side_light
from recipe.labels.labelled import evened, kept_back, taught


def test_effects_are_those_of_one_unit() -> None:
    vectors = torch.eye(3).view(3, 1, 3)

    def edited(vector: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
        return strengths.expand(8)[:, None] * vector[0] + 5

    moved = effects(vectors, edited, lambda pictures: pictures * torch.tensor([2.0, 3.0, 4.0]))
    assert torch.allclose(moved, torch.diag(torch.tensor([2.0, 3.0, 4.0])), atol=1e-5)
    assert STEP > 0


def test_what_directions_share_is_taken_out() -> None:
    vectors = torch.eye(3).view(3, 1, 3)
    moved = torch.tensor([[0.5, 0.2, 0.0], [0.1, 0.4, 0.1], [0.0, 0.2, 0.5]])
    plain = moved / moved.diag()[:, None] - torch.eye(3)
    after = decoupled(vectors, moved)[:, 0] @ moved
    rest = after / after.diag()[:, None] - torch.eye(3)
    assert rest.abs().max() < 0.7 * plain.abs().max()


def test_a_weak_direction_stays_as_it_is_and_out_of_the_others() -> None:
    vectors = torch.eye(3).view(3, 1, 3)
    moved = torch.tensor([[0.5, 0.2, 0.1], [0.1, 0.4, 0.1], [0.1, 0.2, 0.01]])
    mixed = decoupled(vectors, moved)[:, 0]
    assert torch.allclose(mixed[2], torch.tensor([0.0, 0.0, 100.0]))
    assert (mixed[:2, 2] == 0).all()


def test_half_of_each_of_two_moves_the_score_by_one() -> None:
    pair = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])
    assert halved(pair, torch.tensor([2.0, 0.5])).tolist() == [[1.0, 2.0]]
    assert torch.equal(halved(pair, torch.tensor([2.0, -0.5])), pair[0])


def test_no_photo_teaches_scorers_and_judges() -> None:
    assert {*taught(9)} | {*kept_back(9)} == {*range(9)} and not {*taught(9)} & {*kept_back(9)}


def test_weights_make_an_attribute_independent_of_what_goes_along_with_it() -> None:
    rng = np.random.default_rng(0)
    names = ("gender", "eyeglasses", "hair", "bangs", "beard")
    columns = {name: rng.choice([-1.0, 1.0], 200, p=(0.7, 0.3)) for name in names}
    columns["smile"] = rng.choice([-1.0, 1.0], 200)
    columns["mouth-open"] = np.where(rng.random(200) < 0.8, columns["smile"], -columns["smile"])
    weights = evened(columns)
    smile, mouth = columns["smile"], columns["mouth-open"]
    assert abs((smile * mouth).mean()) > 0.4
    assert abs((weights["smile"] * smile * mouth).sum()) < 1e-9
    assert (weights["beard"][columns["gender"] < 0] == 0).all()
    assert (weights["gender"][columns["beard"] > 0] == 0).all()


def test_light_from_the_right_is_positive() -> None:
    images = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32).clone()
    images[1] = images[1].flip(2)
    right, left = side_light(images)
    assert right > 0.3 and torch.allclose(left, -right)
