"""F follows an edit by a learned editor: without an edit, without an editor, and with both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dseinvert.editing.apply import apply_edits, move, parse_edits
from dseinvert.editing.feature_editor import (
    FeatureEditor,
    FeatureEditorConfig,
    attach,
    attached,
    build,
    by_rule,
)
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.tuned import with_tuning
from dseinvert.latent import Latent

LAYER, CHANNELS = 3, 16


def taught(seed: int = 0) -> FeatureEditor:
    """An editor with weights of its own, as lessons leave one."""
    torch.manual_seed(seed)
    editor = FeatureEditor(FeatureEditorConfig(LAYER, CHANNELS, 8, 3))
    torch.nn.init.normal_(editor.leave.weight, std=0.1)
    editor.scale.copy_(torch.rand(CHANNELS, 1, 1) + 0.5)
    return editor.eval().requires_grad_(False)


@pytest.fixture
def generator() -> StyleGAN2:
    torch.manual_seed(1)
    network = StyleGAN2(StyleGAN2Config(16, {4: 16, 8: 16, 16: 8}, 16, 16, 2))
    return network.eval().requires_grad_(False)


@pytest.fixture
def latent(generator: StyleGAN2) -> Latent:
    """Two of w+ with an F that w does not draw."""
    sample = generator.sample([3, 4])
    feature = generator.features(sample, LAYER) + torch.randn(2, CHANNELS, 8, 8)
    return replace(sample, feature=feature, layer=LAYER)


def feature_of(latent: Latent) -> torch.Tensor:
    assert latent.feature is not None
    return latent.feature


@pytest.mark.parametrize("side", [1, 4, 8, 31])
def test_without_an_edit_the_feature_stays_bit_for_bit(side: int) -> None:
    editor = taught()
    feature, own = torch.randn(2, 3, CHANNELS, side, side)
    assert torch.equal(editor(feature, own, own), feature)


def test_an_untaught_editor_is_the_difference_rule() -> None:
    editor = FeatureEditor(FeatureEditorConfig(LAYER, CHANNELS))
    feature, before, after = torch.randn(3, 2, CHANNELS, 8, 8)
    assert torch.equal(editor(feature, before, after), feature + (after - before))


def test_a_small_edit_moves_the_feature_a_little() -> None:
    editor = taught()
    feature, before, along = torch.randn(3, 2, CHANNELS, 8, 8)
    moved = [
        (editor(feature, before, before + size * along) - feature).abs().max()
        for size in (1e-4, 1e-2, 1)
    ]
    assert moved[0] < 1e-2 and moved[0] < moved[1] / 10 < moved[2] / 10


def test_batch_size_does_not_change_the_result() -> None:
    editor = taught()
    tensors = torch.randn(3, 5, CHANNELS, 8, 8)
    whole = editor(*tensors)
    alone = torch.cat([editor(*tensors[:, k : k + 1]) for k in range(5)])
    assert (whole - alone).abs().max() < 1e-5


def test_edits_go_by_the_editor_of_the_generator_and_by_the_rule_without(
    generator: StyleGAN2, latent: Latent
) -> None:
    moved = latent.code + 0.5
    rule = feature_of(move(latent, moved, generator))
    editor = taught()
    attach(generator, editor)
    assert attached(generator) is editor
    plain = replace(latent, feature=None, layer=None)
    before, after = (generator.features(one, LAYER) for one in (plain, replace(plain, code=moved)))
    learned = feature_of(move(latent, moved, generator))
    assert torch.equal(learned, editor(feature_of(latent), before, after))
    assert (learned - rule).abs().max() > 0.01
    assert torch.equal(feature_of(move(latent, moved, by_rule(generator))), rule)
    assert attached(generator) is editor  # the given one stays as it was


def test_the_weights_of_a_generator_are_its_own(generator: StyleGAN2) -> None:
    names = [*generator.state_dict()], [name for name, _ in generator.named_modules()]
    attach(generator, taught())
    assert ([*generator.state_dict()], [name for name, _ in generator.named_modules()]) == names


def test_a_tuned_generator_keeps_the_editor(generator: StyleGAN2, latent: Latent) -> None:
    attach(generator, taught())
    own = with_tuning(generator, {})
    moved = latent.code + 0.5
    assert torch.equal(
        feature_of(move(latent, moved, own)), feature_of(move(latent, moved, generator))
    )


def test_features_of_another_layer_move_by_the_rule(generator: StyleGAN2) -> None:
    attach(generator, taught())
    sample = generator.sample([3])
    latent = replace(sample, feature=torch.randn(1, 16, 8, 8), layer=2)
    moved = latent.code + 0.5
    found, rule = (move(latent, moved, one) for one in (generator, by_rule(generator)))
    assert torch.equal(feature_of(found), feature_of(rule))


def test_an_edit_of_strength_zero_changes_nothing(generator: StyleGAN2, latent: Latent) -> None:
    from dseinvert.editing.directions import Direction

    attach(generator, taught())
    age = Direction("age", torch.randn(6, 16), "w+", "one", "")
    edited = apply_edits(latent, parse_edits("age=0", {"age": age}), generator)
    assert torch.equal(feature_of(edited), feature_of(latent))


@pytest.mark.parametrize(
    "numbers",
    [
        {"layer": 0, "channels": 16},
        {"layer": 3, "channels": 1 << 20},
        {"layer": 3, "channels": 16.0},
        {"layer": 3, "channels": True},
        {"layer": 3},
        {"layer": 3, "channels": 16, "hidden": 2},
    ],
)
def test_numbers_that_make_no_editor_are_refused(numbers: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        build(numbers)
