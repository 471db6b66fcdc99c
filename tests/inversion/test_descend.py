"""The descent that all refinements of images share, on a loss that anyone can follow."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dseinvert.inversion.descend import Best, Look, Moved, Rules, Step, descend, scheduled
from dseinvert.inversion.refinement import Budget, Watch

IMAGES = torch.linspace(0.2, 0.8, 3).view(3, 1, 1, 1).expand(3, 3, 2, 2).clone()
"""Three of one tone each; what is moved is that tone, from 0."""


def painted(
    budget: Budget,
    rules: Rules | None = None,
    watch: Watch | None = None,
    rate: float = 0.05,
    steps: list[Step] | None = None,
    images: Tensor = IMAGES,
) -> Best:
    moved = Moved({"tone": torch.zeros(len(images))})

    def look(at: Tensor, number: int) -> Look:
        part = moved.part(at)
        drawn = part["tone"].view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
        losses = (drawn - images[at]).square().mean((1, 2, 3))
        return Look(part, drawn, losses, lambda: losses)

    def move(step: Step) -> None:
        if steps is not None:
            steps.append(step)
        moved.move(step, rate)

    return descend(images, look, move, Best.unknown(moved.tensors), budget, watch, rules)


def brightness(images: Tensor, drawn: Tensor) -> Tensor:
    return 1 - drawn.mean((1, 2, 3))


def test_every_image_ends_at_its_own() -> None:
    found = painted(Budget(200))
    torch.testing.assert_close(found.found["tone"], IMAGES[:, 0, 0, 0], atol=1e-2, rtol=0)
    assert found.steps.tolist() == [200] * 3
    torch.testing.assert_close(found.began, IMAGES[:, 0, 0, 0].square())


def test_an_image_that_has_reached_its_goal_stays_as_it_is() -> None:
    taken: list[Step] = []
    found = painted(Budget(100, until=0.05), steps=taken)
    assert found.steps.tolist() == sorted(found.steps.tolist())
    assert found.steps[0] == 0 and 0 < found.steps[1] < found.steps[2] < 100
    assert (found.losses <= 0.05).all()
    assert found.found["tone"][0] == 0
    assert taken[0].at.tolist() == [0, 1, 2] and taken[0].left.tolist() == [False, True, True]
    assert taken[-1].at.tolist() == [2]


def test_the_best_is_kept_where_steps_go_too_far() -> None:
    found = painted(Budget(30), rate=1e3)
    assert found.found["tone"].tolist() == [0.0] * 3
    assert torch.equal(found.losses, found.began)


def test_without_steps_nothing_moves_and_the_start_is_judged() -> None:
    taken: list[Step] = []
    found = painted(Budget(0), steps=taken)
    assert taken == []
    assert found.steps.tolist() == [0, 0, 0]
    assert torch.equal(found.losses, found.began)


def test_a_goal_is_that_of_the_best_or_of_what_was_drawn_last() -> None:
    """Steps of 1 overshoot at once: brighter than asked for, and further away than the start."""
    budget = Budget(5, until=0.1, goal=brightness)
    assert painted(budget, Rules(goal="latest"), rate=1.0, images=IMAGES[:1]).steps.tolist() == [1]
    assert painted(budget, Rules(goal="best"), rate=1.0, images=IMAGES[:1]).steps.tolist() == [5]


def test_whoever_watches_hears_of_the_latest_or_of_the_best() -> None:
    def heard(rules: Rules) -> list[float]:
        told: list[float] = []
        painted(Budget(3), rules, lambda step, losses: told.append(float(losses[0])), rate=1.0)
        return told

    latest, best = heard(Rules(told="latest")), heard(Rules(told="best"))
    assert len(latest) == len(best) == 3
    assert latest[0] > best[0] == pytest.approx(0.04)


def test_patience_ends_what_makes_no_progress_or_is_no_number() -> None:
    images = IMAGES.clone()
    images[1] = math.nan
    found = painted(Budget(20), Rules(patience=4), rate=0.0, images=images)
    assert found.steps.tolist() == [4, 0, 4]
    assert painted(Budget(20), rate=0.0, images=images).steps.tolist() == [20, 20, 20]


@pytest.mark.parametrize("within", [0.0, 0.5])
def test_a_rate_is_for_the_beginning_of_a_step_or_its_middle(within: float) -> None:
    taken: list[Step] = []
    painted(Budget(4), Rules(within=within), steps=taken)
    assert [step.done for step in taken] == [(k + within) / 4 for k in range(4)]


@pytest.mark.parametrize("seconds", [0.0, 1e-12])
def test_where_no_seconds_are_left_no_step_is_taken(seconds: float) -> None:
    assert painted(Budget(10, seconds=seconds)).steps.tolist() == [0, 0, 0]


def test_a_part_moves_nobody_else() -> None:
    moved = Moved({"tone": torch.zeros(3)}, {"tone": 2.0})
    at = torch.tensor([2])
    total = moved.part(at)["tone"].sum()
    moved.move(Step(total, at, torch.ones(1, dtype=torch.bool), 0, 0.0), rate=0.25)
    torch.testing.assert_close(moved.tensors["tone"].detach(), torch.tensor([0.0, 0.0, -0.5]))


FALLS: list[Callable[[float], float]] = [
    lambda done: scheduled(0.2, done, 0.05, 0.25),
    lambda done: scheduled(0.2, done, 0.05, 0.25, cosine=True),
]


@pytest.mark.parametrize("rate", FALLS)
def test_the_rate_rises_stays_and_falls_to_nothing(rate: Callable[[float], float]) -> None:
    assert rate(0.0) == rate(1.0) == rate(2.0) == 0
    assert 0 < rate(0.01) < rate(0.04) < 0.2
    assert rate(0.05) == rate(0.5) == rate(0.75) == pytest.approx(0.2)
    falling = [rate(0.75 + k / 100) for k in range(26)]
    assert falling == sorted(falling, reverse=True)
    assert scheduled(0.2, 0.0) == scheduled(0.2, 1.0) == 0.2
