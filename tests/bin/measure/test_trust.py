"""What is said of scorers whose mistakes are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from measure import trust
from measure.scorers import HEAD, HEAD_POINTS
from recipe.labels.labelled import read_labelled


def test_an_age_that_is_always_five_years_too_high_is_biased_by_five(data: Path) -> None:
    file = data / trust.AGED
    _, labels = read_labelled(file, "ages.csv", side=8)
    years, male = (torch.from_numpy(labels[name]).float() for name in ("age_years", "male"))
    panel: Any = SimpleNamespace(age=lambda images, box: (years + 5, (male > 0).float()))
    found = trust.aged(panel, file, None)
    assert found["age: mean absolute error, years"] == pytest.approx(5)
    assert found["age: bias, years"] == pytest.approx(5)
    assert found["age: correlation"] == pytest.approx(1)
    assert found["gender of the same, % right"] == 100


def test_scorers_that_know_the_labels_are_wholly_right(data: Path) -> None:
    file = data / trust.LABELLED
    _, labels = read_labelled(file, "attributes.csv", side=8)
    answers = {
        "years": -torch.from_numpy(labels["Young"]),
        "man, %": 50 + 10 * torch.from_numpy(labels["Male"]),
        "mouth, % of eyes": torch.from_numpy(labels["Smiling"]),
    }
    panel: Any = SimpleNamespace(scores=lambda images: answers)
    assert list(trust.labelled(panel, file, None).values()) == pytest.approx([1, 100, 1])


def test_heads_that_turn_with_the_light_are_mirrored_and_people_like_themselves(
    data: Path,
) -> None:
    def who(images: Tensor) -> Tensor:
        small = F.interpolate(images, (8, 8), mode="area").flatten(1)
        return F.normalize(small - small.mean(1, keepdim=True), dim=1)

    def landmarks(images: Tensor) -> Tensor:
        middle = images.shape[-1] // 2
        lit = images[..., middle:].mean((1, 2, 3)) - images[..., :middle].mean((1, 2, 3))
        return torch.stack([turned_head(float(one)) for one in lit])

    panel: Any = SimpleNamespace(who=who, landmarks=landmarks)
    found = trust.real(panel, data / trust.REAL, None)
    assert found["yaw: mean disagreement with the mirror image, °"] == pytest.approx(0, abs=0.01)
    assert found["yaw: standard deviation, °"] > 0
    assert found["identity: cosine to oneself at 64 px"] > 0.99
    assert found["identity: cosine to others"] < 0.9


def turned_head(turn: float) -> Tensor:
    """The points [68, 2] of the mean head, turned by so many radians."""
    head = torch.tensor(HEAD, dtype=torch.float32)
    points = torch.zeros(68, 2)
    across = head[:, 0] * math.cos(turn) + head[:, 2] * math.sin(turn)
    points[list(HEAD_POINTS)] = 0.001 * torch.stack([across, head[:, 1]], dim=1)
    return points


def test_the_area_under_the_curve_is_how_often_a_positive_scores_above_a_negative() -> None:
    positive = np.array([True, True, False, False])
    for scores, wanted in (((3, 4, 1, 2), 1), ((1, 2, 3, 4), 0), ((1, 1, 1, 1), 0.5)):
        assert trust.area(np.array(scores, np.float32), positive) == wanted
