from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dseinvert.editing.blend import between, mixed, parse_rows
from dseinvert.errors import InputError, UsageError
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=16, z_dim=16, mapping_layers=2)
    return StyleGAN2(config).eval().requires_grad_(False)


@pytest.fixture
def pair(generator: StyleGAN2) -> tuple[Latent, Latent]:
    return generator.sample([1]), generator.sample([2])


def test_rows_are_numbers_and_ranges() -> None:
    assert parse_rows("0-2,5", 6) == [0, 1, 2, 5]
    for text in ("", "a", "3-", "2-1", "0-6"):
        with pytest.raises(UsageError, match="--layers"):
            parse_rows(text, 6)


def test_a_mix_has_the_chosen_rows_of_the_other(generator, pair) -> None:
    found = mixed(*pair, [4, 5], generator)
    assert torch.equal(found.code[:, :4], pair[0].code[:, :4])
    assert torch.equal(found.code[:, 4:], pair[1].code[:, 4:])


def test_mixing_all_rows_moves_a_feature_as_the_generator_does(generator, pair) -> None:
    a, b = pair
    own = replace(a, feature=generator.features(a, 3), layer=3)
    found = mixed(own, b, list(range(6)), generator)
    assert torch.allclose(found.feature, generator.features(b, 3), atol=1e-5)


def test_the_ends_of_a_way_are_the_latents(generator, pair) -> None:
    a, b = pair
    assert torch.equal(between(a, b, 0.0, generator).code, a.code)
    assert torch.allclose(between(a, b, 1.0, generator).code, b.code, atol=1e-6)
    assert torch.allclose(between(a, b, 0.5, generator).code, (a.code + b.code) / 2)


def test_a_way_in_z_stays_on_its_sphere(generator) -> None:
    a, b = (
        Latent(torch.nn.functional.normalize(torch.randn(1, 4, 16), dim=-1), "z+") for _ in "ab"
    )
    for share in (0.1, 0.5, 0.9):
        lengths = between(a, b, share, generator).code.norm(dim=-1)
        assert torch.allclose(lengths, torch.ones(1, 4), atol=1e-5)
    same = between(a, a, 0.3, generator).code
    assert torch.allclose(same, a.code, atol=1e-5)


def test_beside_a_feature_the_other_end_gets_the_generators_own(generator, pair) -> None:
    a, b = pair
    own = replace(a, feature=generator.features(a, 3) + 1, layer=3)
    end = between(own, b, 1.0, generator)
    assert torch.allclose(generator.synthesize(end), generator.synthesize(b), atol=1e-5)


def test_a_tuned_end_fades_into_an_untuned_one(generator, pair) -> None:
    a, b = pair
    name = "synthesis.convs.1.conv.weight"
    tuning = {f"{name}.up": torch.randn(1, 8, 2), f"{name}.down": torch.randn(1, 2, 72)}
    tuned = replace(a, tuning=tuning)
    for share, end in ((0.0, tuned), (1.0, b)):
        drawn = synthesize(generator, between(tuned, b, share, generator))
        assert torch.allclose(drawn, synthesize(generator, end), atol=1e-5)


def test_latents_that_do_not_belong_together_are_refused(generator, pair) -> None:
    a, b = pair
    with pytest.raises(InputError, match="different spaces"):
        between(a, replace(b, space="z+"), 0.5, generator)
    near, far = (
        replace(one, feature=generator.features(one, k), layer=k) for one, k in ((a, 2), (b, 3))
    )
    with pytest.raises(InputError, match="different layers"):
        between(near, far, 0.5, generator)
    with pytest.raises(InputError, match="nothing to mix"):
        mixed(
            Latent(torch.zeros(1, 1, 16), "z"), Latent(torch.zeros(1, 1, 16), "z"), [0], generator
        )


@pytest.mark.parametrize("rows", [[-1], [0, 6]])
def test_a_row_that_does_not_exist_is_no_other(generator, pair, rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"rows must be 0\.\.5"):
        mixed(*pair, rows, generator)
