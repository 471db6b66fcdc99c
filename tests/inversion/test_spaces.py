"""A start enters every space that its generator has, nearby, and stays inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.takes import drawable
from dseinvert.inversion.spaces import (
    SPACES,
    SpaceOptions,
    check_space,
    coarse_layer,
    density,
    enter,
    inside,
)
from dseinvert.latent import Latent
from dseinvert.models import open_model


@pytest.fixture
def generator(tiny_model: Path) -> StyleGAN2:
    return open_model(str(tiny_model)).generator


@pytest.fixture
def start(generator: StyleGAN2) -> Latent:
    return generator.sample([1, 2, 3])


def biggan() -> BigGAN:
    torch.manual_seed(0)
    config = BigGANConfig((32, 32, 16), attention=1, z_dim=16, class_dim=8, classes=4, statistics=6)
    return BigGAN(config).eval().requires_grad_(False)


def pggan() -> PGGAN:
    torch.manual_seed(0)
    return PGGAN(PGGANConfig(16, {4: 16, 8: 16, 16: 8}, z_dim=16)).eval().requires_grad_(False)


def entered(generator: StyleGAN2, space: str, start: Latent, **options: object) -> Latent:
    chart = enter(generator, space, start, SpaceOptions(**options))
    return chart.result(chart.zeros())


def apart(generator: StyleGAN2, a: Latent, b: Latent) -> Tensor:
    return (generator.rows(a) - generator.rows(b)).square().mean((1, 2))


@pytest.mark.parametrize("space", SPACES)
def test_the_start_is_drawn_from_every_space(
    generator: StyleGAN2, start: Latent, space: str
) -> None:
    latent = entered(generator, space, start)
    assert latent.space == ("z+" if "z" in space else "w+")
    assert latent.code.shape[1] == generator.spec.layers
    assert (latent.feature is not None) == space.startswith("f/")
    assert latent.origin["refined_in"] == space
    assert drawable(generator, latent)
    assert generator.synthesize(latent).isfinite().all()
    if not space.endswith("+"):
        assert torch.equal(latent.code, latent.code[:, :1].expand_as(latent.code))


def test_w_plus_and_a_feature_draw_just_what_the_encoder_found(
    generator: StyleGAN2, start: Latent
) -> None:
    feature = torch.randn_like(generator.features(start, 3))
    start = replace(start, feature=feature, layer=3)
    latent = entered(generator, "f/w+", start)
    assert (latent.layer, latent.skip) == (3, "keep")
    assert torch.equal(generator.synthesize(latent), generator.synthesize(start))
    plain = entered(generator, "w+", start)
    assert plain.feature is None and torch.equal(plain.code, start.code)


def test_without_a_feature_f_begins_as_the_generators_own(
    generator: StyleGAN2, start: Latent
) -> None:
    latent = entered(generator, "f/w+", start)
    assert latent.layer == coarse_layer(generator) == 3  # 8 px, half of the image
    torch.testing.assert_close(generator.synthesize(latent), generator.synthesize(start))


def test_f_may_be_had_at_another_layer_and_without_the_images_below(
    generator: StyleGAN2, start: Latent
) -> None:
    latent = entered(generator, "f/w", start, layer=2, skip="drop")
    assert (latent.layer, latent.skip) == (2, "drop")
    with pytest.raises(UsageError, match="layer 99"):
        entered(generator, "f/w", start, layer=99)


def test_fitting_finds_a_nearer_z_than_samples_and_samples_than_chance(
    generator: StyleGAN2, start: Latent
) -> None:
    found = [
        apart(generator, entered(generator, "z+", start, z_start=way), start).mean()
        for way in ("fit", "nearest", "random")
    ]
    assert found[0] < 0.5 * found[1] < 0.5 * found[2]


def test_a_z_of_the_generator_itself_is_found_again(generator: StyleGAN2, start: Latent) -> None:
    spread = (start.code - start.code.mean(0)).square().mean()
    assert (apart(generator, entered(generator, "z", start), start) < 0.05 * spread).all()


def test_a_start_in_z_stays_where_it_is(generator: StyleGAN2) -> None:
    code = inside(torch.randn(2, 1, generator.config.z_dim))
    latent = entered(generator, "z", Latent(code, "z"))
    torch.testing.assert_close(latent.code[:, :1], code)


def test_steps_leave_no_sphere(generator: StyleGAN2, start: Latent) -> None:
    chart = enter(generator, "z+", start)
    moved = {"code": torch.randn_like(chart.origin.code)}
    chart.retract(moved)
    lengths = chart.point(moved, torch.arange(3)).code.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, generator.config.z_dim**0.5))


def test_truncated_z_is_written_as_the_w_that_it_draws(generator: StyleGAN2, start: Latent) -> None:
    latent = entered(generator, "z+", start, z_start="random", psi=0.5, cutoff=2)
    plain = entered(generator, "z+", start, z_start="random")
    assert latent.space == "w+"
    rows, mean = generator.rows(plain), generator.mean_latent().code
    torch.testing.assert_close(latent.code[:, 2:], rows[:, 2:])
    torch.testing.assert_close(latent.code[:, :2], (rows + mean)[:, :2] / 2)


def test_p_n_is_normal_over_samples(generator: StyleGAN2) -> None:
    prior = density(generator, 512)
    inside_prior = prior(generator.sample(range(512)).code)
    assert inside_prior.mean() == pytest.approx(1, abs=0.1)
    assert prior(3 * generator.sample([5]).code) > 3 * inside_prior.mean()


def test_rows_that_the_mapping_makes_apart_have_a_density_each() -> None:
    torch.manual_seed(0)
    config = StyleGAN1Config(8, {4: 8, 8: 8}, w_dim=8, z_dim=8, mapping_layers=2, own_rows=True)
    generator = StyleGAN1(config).eval().requires_grad_(False)
    assert density(generator, 256).mean.shape == (generator.spec.layers, 8)
    latent = entered(generator, "z+", generator.sample([1, 2]))
    assert drawable(generator, latent)


def test_each_class_has_its_own_w() -> None:
    torch.manual_seed(0)
    gan = StyleGAN2(StyleGAN2Config(16, {4: 16, 8: 16, 16: 8}, 16, 16, 2, classes=3))
    gan.eval().requires_grad_(False)
    start = gan.sample([1, 2, 3], labels=[0, 1, 2])
    latent = entered(gan, "z", start)
    assert torch.equal(latent.label, start.label)
    assert (apart(gan, latent, start) < 0.2 * apart(gan, gan.sample([4, 5, 6]), start)).all()
    alone = entered(gan, "z", start[1:2])
    torch.testing.assert_close(alone.code[0], latent.code[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("build", [biggan, pggan])
@pytest.mark.parametrize("space", [space for space in SPACES if space != "z"])
def test_what_draws_from_one_z_has_no_other_space(build: object, space: str) -> None:
    with pytest.raises(UsageError, match="no w and draws from one z"):
        check_space(build(), space)


def test_an_unknown_space_is_refused(generator: StyleGAN2) -> None:
    with pytest.raises(UsageError, match="one of z, z"):
        check_space(generator, "q")


def test_a_z_that_is_truncated_stays_within_two_deviations() -> None:
    gan = biggan()
    start = gan.sample([1, 2], psi=0.5)
    chart = enter(gan, "z", start)
    moved = {"code": torch.full_like(start.code, 9)}
    chart.retract(moved)
    code = chart.point(moved, torch.arange(2)).code
    torch.testing.assert_close(code, torch.ones_like(code))


def test_a_generator_draws_its_own_shapes_alone(generator: StyleGAN2) -> None:
    z, w, rows = generator.config.z_dim, generator.spec.dim, generator.spec.layers
    assert drawable(generator, Latent(torch.zeros(1, 1, z), "z"))
    assert drawable(generator, Latent(torch.zeros(1, rows, z), "z+"))
    assert drawable(generator, Latent(torch.zeros(1, 1, w), "w"))
    assert not drawable(generator, Latent(torch.zeros(1, rows + 1, z), "z+"))
    assert not drawable(generator, Latent(torch.zeros(1, 1, w), "w+"))
    assert not drawable(pggan(), Latent(torch.zeros(1, 1, 16), "w"))
