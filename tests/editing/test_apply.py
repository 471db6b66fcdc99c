"""Edits say what they do, fit or are refused, and add up."""

from __future__ import annotations

import pytest
import torch

from dseinvert.editing.apply import apply_edits, label, parse_edits
from dseinvert.editing.directions import Direction
from dseinvert.errors import InputError, UsageError
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.latent import Latent

AGE = Direction("age", torch.ones(6, 16), "w+", "sd", "abc")
SMILE = Direction("smile", torch.full((6, 16), 2.0), "w+", "sd", "abc")
KNOWN = {"age": AGE, "smile": SMILE}


def latent(**origin: str) -> Latent:
    return Latent(torch.zeros(3, 6, 16), "w+", origin=origin)


def test_names_and_strengths_are_read() -> None:
    edits = parse_edits(" age=+2 , smile=-1.5", KNOWN)
    assert [(e.direction.name, e.strength) for e in edits] == [("age", 2.0), ("smile", -1.5)]
    assert label(edits) == "age+2,smile-1.5"


def test_edits_add_up_in_any_order() -> None:
    there = apply_edits(latent(), parse_edits("age=2,smile=-1.5", KNOWN))
    back = apply_edits(latent(), parse_edits("smile=-1.5,age=2", KNOWN))
    assert torch.equal(there.code, back.code)
    assert torch.equal(there.code, torch.full((3, 6, 16), -1.0))


def test_strength_zero_changes_nothing() -> None:
    assert torch.equal(apply_edits(latent(), parse_edits("age=0", KNOWN)).code, latent().code)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "NAME=STRENGTH"),
        ("age", "NAME=STRENGTH"),
        ("=2", "NAME=STRENGTH"),
        ("beard=1", "age, smile"),
        ("age=much", "not a strength"),
        ("age=nan", "not a strength"),
        ("age=inf", "not a strength"),
        ("age=1000", "not a strength"),
        ("age=1,age=2", "twice"),
        ("age=1,", "NAME=STRENGTH"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_edits(text, KNOWN)


def test_a_direction_of_another_generator_is_refused() -> None:
    with pytest.raises(InputError, match="another generator"):
        apply_edits(latent(generator_sha256="xyz"), parse_edits("age=1", KNOWN))


def test_a_direction_of_another_shape_or_space_is_refused() -> None:
    edits = parse_edits("age=1", KNOWN)
    with pytest.raises(InputError, match=r"\[6, 16\]"):
        apply_edits(Latent(torch.zeros(1, 8, 16), "w+"), edits)
    with pytest.raises(InputError, match="in z"):
        apply_edits(Latent(torch.zeros(1, 6, 16), "z"), edits)


def test_a_feature_moves_as_the_generators_own_does() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2)).eval()
    plain = generator.sample([1, 2])
    edits = parse_edits("age=2", KNOWN)
    moved = apply_edits(plain, edits)
    start = generator.features(plain, 3)
    extra = torch.randn_like(start)
    edited = apply_edits(Latent(plain.code, "w+", start + extra, 3), edits, generator)
    assert torch.equal(edited.code, moved.code)
    torch.testing.assert_close(edited.feature, generator.features(moved, 3) + extra)
    kept = apply_edits(Latent(plain.code, "w+", start, 3), edits, generator)
    torch.testing.assert_close(generator.synthesize(kept), generator.synthesize(moved))


def test_a_feature_cannot_move_without_its_generator() -> None:
    with pytest.raises(ValueError, match="needs the generator"):
        apply_edits(
            Latent(torch.zeros(1, 6, 16), "w+", torch.zeros(1, 8, 8, 8), 3),
            parse_edits("age=2", KNOWN),
        )
