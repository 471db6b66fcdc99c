"""Auto goes as far as the person stays the same, for each image by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.editing.apply import apply_edits
from dseinvert.editing.auto import HALVINGS, MOST, largest, settle
from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import Edit, Keeper, parse_edits
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config

FINE = 2.0**-HALVINGS


def network(images: Tensor) -> Tensor:
    """Something that changes with the picture."""
    return F.normalize(F.adaptive_avg_pool2d(images, 4).flatten(1), dim=1)


def test_the_largest_strength_is_found_to_a_fraction_of_a_unit() -> None:
    fall = torch.tensor([0.2, 0.3, 0.45, 10.0, 0.05])

    def likeness(strengths: Tensor) -> Tensor:
        return 1 - fall * strengths.abs()

    found = largest(likeness, 5, -1, 0.5)
    wanted = (0.5 / fall).clamp(max=MOST)
    assert (found <= 0).all()
    assert (-found <= wanted + 1e-6).all() and (-found > wanted - FINE - 1e-6).all()


def test_what_rises_again_further_out_does_not_count() -> None:
    found = largest(lambda s: 1 - ((s > 0.7) & (s < 1.4)).float(), 1, 1, 0.5)
    assert 0.6 < float(found) <= 0.7


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2)).eval()


@pytest.mark.parametrize("sign", ["", "+", "-"])
def test_the_person_stays_above_the_floor(generator: StyleGAN2, sign: str) -> None:
    torch.manual_seed(1)
    directions = {"age": Direction("age", 0.3 * torch.randn(6, 16), "w+", "sd", "")}
    keeper = Keeper(network, 0.97)
    latent = generator.sample(range(5))
    asked = parse_edits(f"age=auto{sign}", directions, keeper=keeper)
    (edit,) = settle(latent, asked, generator)
    assert isinstance(edit, Edit) and isinstance(edit.strength, Tensor)
    assert all(s == 0 or (s > 0) == (sign == "+") for s in edit.strength.tolist() if sign)

    def likeness(strength: Tensor) -> Tensor:
        moved = apply_edits(latent, [Edit(edit.direction, strength)], generator)
        pair = (network(generator.synthesize(one).clamp(-1, 1)) for one in (latent, moved))
        return torch.stack([*pair]).prod(0).sum(1)

    assert (likeness(edit.strength) >= keeper.floor - 1e-5).all()
    free = edit.strength.abs() < MOST
    assert free.any()
    beyond = likeness(edit.strength + edit.strength.sign() * FINE)
    assert (beyond[free] < keeper.floor + 1e-5).all()


def test_the_batch_does_not_matter(generator: StyleGAN2) -> None:
    torch.manual_seed(1)
    vectors = 0.3 * torch.randn(2, 6, 16)
    directions = {n: Direction(n, v, "w+", "sd", "") for n, v in zip("ab", vectors, strict=True)}
    asked = parse_edits("a=auto,b=0.2", directions, keeper=Keeper(network, 0.97))
    latent = generator.sample(range(4))
    together = settle(latent, asked, generator)[0]
    alone = [settle(latent[i : i + 1], asked, generator)[0] for i in range(4)]
    assert isinstance(together, Edit)
    assert together.strength.tolist() == [float(one.strength) for one in alone]  # type: ignore


def test_edits_without_auto_are_left_as_they_are(generator: StyleGAN2) -> None:
    directions = {"age": Direction("age", torch.ones(6, 16), "w+", "sd", "")}
    asked = parse_edits("age=1", directions)
    assert settle(generator.sample([1]), asked, generator) == asked


def test_auto_must_be_settled_before_it_is_applied(generator: StyleGAN2) -> None:
    directions = {"age": Direction("age", torch.ones(6, 16), "w+", "sd", "")}
    asked = parse_edits("age=auto", directions, keeper=Keeper(network, 0.5))
    with pytest.raises(ValueError, match="not settled"):
        apply_edits(generator.sample([1]), asked, generator)
