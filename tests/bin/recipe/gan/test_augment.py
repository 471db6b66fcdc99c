from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recipe.gan.augment import augment, colour, cut_out, shift

ALWAYS, NEVER = torch.tensor(1.0), torch.tensor(0.0)


def images(count: int = 16) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def seeded(operation, pictures: Tensor, probability: Tensor = ALWAYS) -> Tensor:
    torch.manual_seed(1)
    return operation(pictures, probability)


def test_never_is_the_identity():
    assert torch.allclose(seeded(augment, images(), NEVER), images(), atol=1e-6)


def test_always_changes_every_image():
    changed = (seeded(augment, images()) != images()).flatten(1).any(1)
    assert changed.all()


@pytest.mark.parametrize("operation", [shift, cut_out])
def test_shifts_and_holes_keep_the_range(operation):
    out = seeded(operation, images())
    assert out.abs().max() <= images().abs().max()


def test_colours_stay_in_their_bounds():
    extreme = images(256).sign()
    assert seeded(colour, extreme).abs().max() <= 4.5


def test_a_shift_moves_whole_pixels():
    ramp = torch.arange(1.0, 257).reshape(1, 1, 16, 16).repeat(8, 3, 1, 1)
    for moved in seeded(shift, ramp):
        kept = moved[0][moved[0] > 0]
        assert torch.equal(kept, kept.round())
        assert len(kept) >= 14 * 14


def test_a_hole_is_at_most_half_the_side_square():
    lost = (seeded(cut_out, torch.ones(64, 3, 16, 16))[:, 0] == 0).sum((1, 2))
    assert lost.max() <= 9 * 9
    assert lost.float().mean() > 20


@pytest.mark.parametrize("operation", [colour, shift, cut_out, augment])
def test_gradients_are_those_of_the_operation(operation):
    """Each is affine in the image, so that a finite difference is exact."""
    step = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(2)) / 10
    weights = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    x = images().requires_grad_()
    (seeded(operation, x) * weights).sum().backward()
    moved = ((seeded(operation, images() + step) - seeded(operation, images())) * weights).sum()
    assert (x.grad * step).sum().item() == pytest.approx(moved.item(), rel=1e-3, abs=1e-2)


def test_the_probability_is_the_share_of_images_changed():
    changed = (seeded(cut_out, images(1000), torch.tensor(0.3)) != images(1000)).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.06)
