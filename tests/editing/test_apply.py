"""Edits say what they do, fit or are refused, and add up."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch

from dseinvert.editing.apply import Edit, apply_edits, check_edits, label, parse_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import ClassEdit
from dseinvert.editing.render import render_edits
from dseinvert.errors import InputError, UsageError
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.styles import styles
from dseinvert.generators.tuned import features
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


# --- Every space ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, 16, 16, 2)).eval()


def direction(space: str, rows: int = 1, **more: object) -> Direction:
    vector = torch.randn(rows, 16, generator=torch.Generator().manual_seed(3))
    return Direction("step", vector, space, "sd", "", **more)  # type: ignore[arg-type]


def z_latent(rows: int = 1) -> Latent:
    code = torch.randn(2, rows, 16, generator=torch.Generator().manual_seed(4))
    return Latent(code, "z" if rows == 1 else "z+")


def test_only_the_rows_that_are_meant_move() -> None:
    edits = parse_edits("age=2@1-3,smile=1@5", KNOWN)
    assert apply_edits(latent(), edits).code[0, :, 0].tolist() == [0, 2, 2, 2, 0, 2]


def test_a_direction_of_some_layers_leaves_the_others() -> None:
    low = {"age": replace(AGE, layers=(0, 3))}
    assert apply_edits(latent(), parse_edits("age=1", low)).code[0, :, 0].sum() == 4
    assert apply_edits(latent(), parse_edits("age=1@2-5", low)).code[0, :, 0].sum() == 2


def test_rows_that_a_latent_lacks_are_refused() -> None:
    alike = {"age": Direction("age", torch.ones(1, 16), "w", "sd", "abc")}
    with pytest.raises(InputError, match="no row 7: the latent has 6"):
        apply_edits(latent(), parse_edits("age=1@0-7", alike))


@pytest.mark.parametrize("rows", [(-1, 3), (3, 2), (-2, -1)])
def test_rows_do_not_count_from_the_end(rows: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="no rows"):
        apply_edits(latent(), [Edit(AGE, 1.0, rows)])
    with pytest.raises(InputError, match="no rows"):
        apply_edits(latent(), [Edit(replace(AGE, layers=rows), 1.0)])


@pytest.mark.parametrize("number", [-1, 5])
def test_a_class_that_does_not_exist_is_no_other(number: int) -> None:
    generator, plain = big()
    with pytest.raises(InputError, match="there are 5 classes"):
        apply_edits(plain, [ClassEdit(number, 1.0)], generator)


def test_a_strength_may_differ_from_sample_to_sample() -> None:
    moved = apply_edits(latent(), [Edit(AGE, torch.tensor([0.0, 1.0, -2.0]))])
    assert moved.code[:, 0, 0].tolist() == [0, 1, -2]


@pytest.mark.parametrize("rows", [1, 6])
def test_an_edit_in_z_stays_on_its_sphere(generator: StyleGAN2, rows: int) -> None:
    moved = apply_edits(z_latent(rows), [Edit(direction("z"), 2.0)], generator)
    assert moved.space == z_latent(rows).space and moved.code.shape == (2, rows, 16)
    torch.testing.assert_close(moved.code.norm(dim=-1), torch.full((2, rows), 4.0))
    assert not torch.equal(generator.synthesize(moved), generator.synthesize(z_latent(rows)))


@pytest.mark.parametrize("rows", [1, 6])
def test_a_direction_in_w_moves_a_latent_in_z_after_it_is_mapped(
    generator: StyleGAN2, rows: int
) -> None:
    there = apply_edits(z_latent(rows), [Edit(direction("w+", 6), 2.0)], generator)
    assert there.space == "w+" and there.code.shape == (2, 6, 16)
    expected = generator.rows(z_latent(rows)) + 2 * direction("w+", 6).vector
    torch.testing.assert_close(there.code, expected)


def test_a_feature_moves_with_z_and_through_the_mapping(generator: StyleGAN2) -> None:
    plain = z_latent(6)
    start = generator.features(plain, 3)
    extra = torch.randn_like(start)
    for space in ("z", "w"):
        edits = [Edit(direction(space), 1.0)]
        moved = apply_edits(plain, edits, generator)
        edited = apply_edits(replace(plain, feature=start + extra, layer=3), edits, generator)
        torch.testing.assert_close(edited.feature, generator.features(moved, 3) + extra)


def test_the_feature_of_a_tuned_generator_moves_by_its_own_weights(generator: StyleGAN2) -> None:
    name = "synthesis.convs.1.conv.weight"
    weight = generator.state_dict()[name]
    up, down = torch.randn(1, len(weight), 2), torch.randn(1, 2, weight[0].numel())
    tuning = {f"{name}.up": up, f"{name}.down": down}
    plain = generator.sample([1])
    tuned = replace(plain, tuning=tuning)
    start = features(generator, tuned, 3)
    edits = [Edit(direction("w+", 6), 1.0)]
    moved = apply_edits(tuned, edits, generator)
    edited = apply_edits(replace(tuned, feature=start, layer=3), edits, generator)
    torch.testing.assert_close(edited.feature, features(generator, moved, 3))
    assert not torch.allclose(edited.feature, generator.features(replace(moved, tuning={}), 3))


def test_the_unedited_feature_is_drawn_once_for_all_edits_of_a_batch(
    generator: StyleGAN2, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = generator.sample([1, 2])
    held = replace(plain, feature=generator.features(plain, 3) + 1, layer=3)
    edits = {name: parse_edits(f"age={name}", KNOWN) for name in ("1", "2", "3")}
    alone = {
        name: to_pixels(generator.synthesize(apply_edits(held, steps, generator)))
        for name, steps in edits.items()
    }
    drawn = mock.Mock(side_effect=features)
    monkeypatch.setattr("dseinvert.editing.apply.features", drawn)
    together = render_edits(generator, held, edits)
    assert drawn.call_count == 1 + len(edits)
    assert all(np.array_equal(together[name], alone[name]) for name in edits)
    render_edits(generator, held, {"as it is": ()})
    render_edits(generator, plain, edits)
    assert drawn.call_count == 1 + len(edits), "where none moves, none is drawn"


def test_styles_add_up_and_their_feature_follows(generator: StyleGAN2) -> None:
    plain = generator.sample([1, 2])
    wide = styles(generator, plain).shape[1]
    vector = torch.randn(1, wide)
    step = Direction("fringe", vector, "s", "sd", "")
    once = apply_edits(plain, [Edit(step, 1.0)], generator)
    twice = apply_edits(once, [Edit(step, torch.tensor([1.0, 0.0]))], generator)
    assert torch.equal(once.code, plain.code)
    torch.testing.assert_close(twice.style, torch.cat([2 * vector, vector]))
    torch.testing.assert_close(styles(generator, once), styles(generator, plain) + vector)
    held = replace(plain, feature=generator.features(plain, 3), layer=3)
    moved = apply_edits(held, [Edit(step, 1.0)], generator)
    torch.testing.assert_close(generator.synthesize(moved), generator.synthesize(once))
    with pytest.raises(InputError, match="of 7 styles"):
        apply_edits(plain, [Edit(replace(step, vector=torch.ones(1, 7)), 1.0)], generator)


def test_a_z_that_is_not_on_a_sphere_moves_straight() -> None:
    generator, plain = big()
    moved = apply_edits(plain, [Edit(direction("z"), 0.5)], generator)
    torch.testing.assert_close(moved.code, plain.code + 0.5 * direction("z").vector)


def test_a_class_edit_goes_a_share_of_the_way_and_the_feature_with_it() -> None:
    generator, plain = big()
    moved = apply_edits(plain, parse_edits("class=1:0.25", {}, 5), generator)
    assert moved.label is not None and plain.label is not None
    torch.testing.assert_close(moved.label, 0.75 * plain.label + 0.25 * torch.eye(5)[[1, 1]])
    whole = apply_edits(plain, parse_edits("class=1", {}, 5), generator)
    assert torch.equal(whole.label, torch.eye(5)[[1, 1]])
    held = replace(plain, feature=generator.features(plain, 1), layer=1)
    follows = apply_edits(held, parse_edits("class=1", {}, 5), generator)
    torch.testing.assert_close(follows.feature, generator.features(whole, 1))


def test_what_does_not_fit_is_refused_with_its_reason(generator: StyleGAN2) -> None:
    big_generator, big_latent = big()
    coded = replace(AGE, encoder="e1")
    cases = [
        (latent(), [Edit(direction("z"), 1.0)], generator, r"in z, the latent \[6, 16\] in w"),
        (big_latent, [Edit(direction("w"), 1.0)], big_generator, r"in w, the latent .* in z"),
        (latent(encoder_sha256="e2"), [Edit(coded, 1.0)], generator, "another encoder"),
        (latent(), parse_edits("class=1", {}, 5), generator, "no class"),
        (big_latent, parse_edits("class=7", {}, 9), big_generator, "5 classes"),
    ]
    for given, edits, drawn_by, said in cases:
        with pytest.raises(InputError, match=said):
            check_edits(given, edits, drawn_by)
    check_edits(latent(encoder_sha256="e1"), [Edit(coded, 1.0)], generator)


def big() -> tuple[BigGAN, Latent]:
    torch.manual_seed(0)
    config = BigGANConfig((16, 16, 8), 1, z_dim=16, class_dim=8, classes=5, statistics=3)
    generator = BigGAN(config).eval()
    return generator, generator.sample([1, 2], labels=[0, 3])
