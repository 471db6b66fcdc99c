"""What `bin/bench entanglement` makes of scores, with pictures that are numbers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from measure import entanglement


def faces(scores: dict[str, Tensor], answer: Callable[[Tensor], Tensor] = lambda s: s) -> Any:
    """Pictures [B, K] of strengths along K scores; `answer` is how the scores follow."""
    names = list(scores)
    before = torch.stack([scores[name] for name in names], 1)

    def panel(pictures: Tensor) -> SimpleNamespace:
        now = before + answer(pictures)
        return SimpleNamespace(scores=dict(zip(names, now.unbind(1), strict=True)))

    return SimpleNamespace(
        latent=before,
        panel=panel,
        before=SimpleNamespace(scores=scores),
        drawn=lambda vector, strengths: strengths[:, None] * vector,
        even=lambda strength: torch.full((len(before),), float(strength)),
    )


def test_effects_are_counted_in_deviations_of_their_own() -> None:
    few = faces({"age": torch.tensor([0.0, 20.0]), "smile": torch.tensor([0.0, 2.0])})
    vectors = {"age": torch.tensor([10.0, 1.0]), "smile": torch.tensor([0.0, 0.5])}
    moved = {name: entanglement.changes(few, vector) for name, vector in vectors.items()}
    found = entanglement.normalised(few, moved)
    assert found["age"] == pytest.approx({"age": 1, "smile": 1})
    assert found["smile"] == pytest.approx({"age": 0, "smile": 1})
    table = entanglement.worst(few, moved, moved)
    assert [row["worst, ours"] for row in table] == pytest.approx([1, 0, 1])
    assert table[-1]["which, ours"] == "of age"


def test_the_strength_of_an_equal_change_is_found_where_scores_bend() -> None:
    bent = faces({"age": torch.tensor([0.0, 20.0])}, lambda s: 10 * torch.tanh(s / 10))
    strength = entanglement.sought(bent, torch.tensor([1.0]), "age", 8.0, 3.0)
    assert float(10 * torch.tanh(torch.tensor(strength / 10))) == pytest.approx(8, rel=0.1)


def test_a_change_that_cannot_be_made_is_none() -> None:
    flat = faces({"age": torch.tensor([0.0, 20.0])}, lambda s: s.clamp(-1, 1))
    assert entanglement.sought(flat, torch.tensor([1.0]), "age", 8.0, 3.0) is None
    assert entanglement.sought(flat, torch.tensor([1.0]), "age", -8.0, -3.0) is None
