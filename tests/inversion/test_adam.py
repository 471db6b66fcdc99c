"""The Adam of refinements is PyTorch's, without what that imports."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dseinvert.inversion
from dseinvert.inversion.adam import Adam

SHAPES = ((3, 5), (2, 4, 3, 3), (1,))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.99)])
def test_it_moves_tensors_to_the_bit_as_pytorchs_does(betas: tuple[float, float]) -> None:
    chance = torch.Generator().manual_seed(0)
    ours = [torch.randn(shape, generator=chance).requires_grad_() for shape in SHAPES]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    adam = Adam(ours, betas)
    groups = [{"params": [tensor]} for tensor in theirs]
    reference = torch.optim.Adam(groups, betas=betas)
    for step in range(6):
        slopes: list[torch.Tensor | None] = [torch.randn(s, generator=chance) for s in SHAPES]
        slopes[1] = None if step % 3 == 1 else slopes[1]
        rates = [0.1 / (step + 1), 0.02, 1.0]
        adam.step(slopes, rates)
        for tensor, slope, group, rate in zip(
            theirs, slopes, reference.param_groups, rates, strict=True
        ):
            tensor.grad, group["lr"] = slope, rate
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_tensors_without_a_slope_stay() -> None:
    tensor = torch.ones(3)
    Adam([tensor]).step([None], [1.0])
    assert torch.equal(tensor, torch.ones(3))


def test_no_refinement_waits_for_pytorchs_compiler() -> None:
    """Which comes with the first step of `torch.optim`."""
    room = Path(str(dseinvert.inversion.__file__)).parent
    uses = [path.name for path in room.glob("*.py") if "torch.optim." in path.read_text("utf-8")]
    assert uses == ["adam.py"], "it says whose it is like"
