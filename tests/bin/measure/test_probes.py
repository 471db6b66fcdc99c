"""Probes find what features hold, and the panel of judges sees pictures one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dseinvert.similarity.identity import Identity, MobileFaceNet
from measure.probes import Panel, fitted, probe
from measure.sets import Judges

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def judges() -> Judges:
    """Of random weights, or of a rule: age is brightness, and all have the same points."""
    torch.manual_seed(0)
    net = MobileFaceNet().eval().requires_grad_(False)
    points = torch.rand(68, 2)

    def age(images: Tensor) -> tuple[Tensor, Tensor]:
        return images.mean((1, 2, 3)), torch.zeros(len(images))

    seen: Any = lambda images: points.expand(len(images), 68, 2)  # noqa: E731
    return Judges(Identity(net, "mobilefacenet", "", 112, 96), age, seen)


def test_a_probe_finds_the_feature_that_tells_and_says_how_well() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([-1.0, 1.0], 200)
    features = torch.from_numpy(rng.normal(0, 1, (200, 6))).float()
    features[:, 2] += 3 * torch.from_numpy(labels).float()
    found = probe(features, labels, np.ones(200))
    assert int(found.weight.abs().argmax()) == 2
    assert found.held == 40
    assert found.quality > 0.95
    right = (found(features) > 0).numpy() == (labels > 0)
    assert right.mean() > 0.95


def test_photos_that_do_not_count_teach_nothing() -> None:
    rng = np.random.default_rng(1)
    labels, counted = rng.choice([-1.0, 1.0], 200), np.ones(200)
    features = torch.from_numpy(rng.normal(0, 1, (200, 4))).float()
    counted[100:] = 0
    changed = labels.copy()
    changed[100:] *= -1
    same, other = (probe(features, one, counted) for one in (labels, changed))
    assert torch.equal(same.weight, other.weight)
    assert (same.quality, same.held) == (other.quality, other.held)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_labelled_attribute_has_a_probe_and_a_score(data: Path, judges: Judges) -> None:
    found = fitted(data, judges, side=32)
    attributes = {"smile", "gender", "eyeglasses", "hair", "beard", "mouth-open", "bangs"}
    assert set(found) == attributes
    seen = Panel(judges, found)(torch.rand(2, 3, 32, 32) * 2 - 1)
    assert set(seen.scores) == attributes | {"age", "pose", "light"}
    assert all(score.shape == (2,) and score.isfinite().all() for score in seen.scores.values())


def test_the_panel_knows_a_person_whoever_else_is_in_the_batch(judges: Judges) -> None:
    torch.manual_seed(2)
    images = torch.rand(18, 3, 32, 32) * 2 - 1
    panel = Panel(judges, {})
    people = panel.who(images)
    torch.testing.assert_close(people.norm(dim=1), torch.ones(18))
    torch.testing.assert_close(panel.who(images[17:]), people[17:], atol=1e-5, rtol=0)
    torch.testing.assert_close(panel(images).people, people, atol=1e-5, rtol=0)
