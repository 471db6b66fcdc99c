from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dseinvert.editing.discover import calibrate, spread
from dseinvert.editing.ganspace import components_of_w, components_of_z, principal
from dseinvert.editing.interfacegan import boundary, conditioned, split
from dseinvert.editing.sefa import sefa
from dseinvert.editing.stylespace import channels_of, gradient_map, moved_area
from dseinvert.errors import UsageError
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.styles import styles

CONFIG = StyleGAN2Config(16, {4: 16, 8: 16, 16: 8}, 16, 16, 2)


@pytest.fixture
def gan() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(CONFIG).eval().requires_grad_(False)


@pytest.fixture
def pggan() -> PGGAN:
    torch.manual_seed(0)
    return PGGAN(PGGANConfig(8, {4: 16, 8: 8}, z_dim=12)).eval().requires_grad_(False)


@pytest.fixture
def biggan() -> BigGAN:
    torch.manual_seed(0)
    config = BigGANConfig((32, 32, 32, 16, 16), attention=2, z_dim=12, class_dim=8, classes=3)
    return BigGAN(config).eval().requires_grad_(False)


def alike(found: Tensor, wanted: Tensor) -> float:
    """The cosine of two vectors, whatever their signs."""
    return abs(float(torch.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)))


def known_step(width: int = 16) -> Tensor:
    torch.manual_seed(5)
    step = torch.randn(width)
    return step / step.norm()


# --- SeFa ----------------------------------------------------------------------------------------


def test_sefa_finds_the_step_that_the_styles_follow_most(gan: StyleGAN2) -> None:
    step = known_step()
    for layer in gan.style_layers:
        layer.affine.weight += 3 * torch.randn(len(layer.affine.weight), 1) * step
    vectors, values = sefa(gan, 4)
    assert alike(vectors[0], step) > 0.99
    assert (values.diff() <= 0).all() and values[0] > 3 * values[1]
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4), rtol=0, atol=1e-5)


def test_sefa_of_some_rows_looks_at_their_styles_alone(gan: StyleGAN2) -> None:
    step = known_step()
    (layer,) = [layer for layer in gan.style_layers if layer.name == "conv2"]
    layer.affine.weight += 9 * torch.randn(16, 1) * step
    only = sefa(gan, 1, (1, 1))[0][0]
    others = sefa(gan, 1, (3, 5))[0][0]
    assert alike(only, step) > 0.95 > 0.6 > alike(others, step)


@pytest.mark.parametrize("family", ["pggan", "biggan"])
def test_sefa_of_z_reads_the_first_layer(family: str, request: pytest.FixtureRequest) -> None:
    gan, step = request.getfixturevalue(family), known_step(12)
    if family == "pggan":
        weight = gan.convs[0].weight  # [D, C, 4, 4]
        weight += 3 * step[:, None, None, None] * torch.randn(1, *weight.shape[1:])
    else:
        weight = gan.project.weight
        weight[:, :12] += 3 * torch.randn(len(weight), 1) * step
        weight[:, 12:] += 9 * torch.randn(len(weight), 1)  # the class, which is no part of z
    vectors, _ = sefa(gan, 2)
    assert vectors.shape == (2, 12) and alike(vectors[0], step) > 0.99


def test_more_directions_than_there_are_dimensions_are_refused(gan: StyleGAN2) -> None:
    with pytest.raises(UsageError, match="16 dimensions"):
        sefa(gan, 17)


# --- GANSpace ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "width"), [(300, 7), (6, 40)], ids=["tall", "wide"])
def test_components_are_those_of_numpy(count: int, width: int) -> None:
    torch.manual_seed(1)
    points = torch.randn(count, width) * torch.linspace(3, 0.5, width) + 4
    found, deviations = principal(points, 4)
    centred = (points - points.mean(0)).double().numpy()
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(deviations, values[:4] / math.sqrt(count - 1), rtol=1e-4)
    cosines = np.abs((found.double().numpy() * vectors[:4]).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-4)


def test_a_component_of_w_is_one_deviation_of_the_samples(gan: StyleGAN2) -> None:
    codes = gan.sample(range(400)).code
    steps = components_of_w(codes, 3)
    assert steps.shape == (3, 6, 16) and torch.equal(steps[:, 0], steps[:, 5])
    for step in steps[:, 0]:
        along = codes[:, 0] @ (step / step.norm())
        torch.testing.assert_close(step.norm(), along.std(), rtol=1e-3, atol=0)


def test_components_of_rows_of_their_own_differ_between_rows() -> None:
    torch.manual_seed(2)
    codes = torch.randn(200, 3, 4) * torch.tensor([5.0, 1, 1])[:, None]
    step = components_of_w(codes, 1)[0]
    assert step[0].norm() > 5 * step[1:].norm()


@pytest.mark.parametrize("family", ["pggan", "biggan"])
def test_a_component_of_early_features_is_a_step_of_z_that_moves_them(
    family: str, request: pytest.FixtureRequest
) -> None:
    gan = request.getfixturevalue(family)
    step = known_step(12)
    if family == "pggan":
        weight = gan.convs[0].weight
        weight += 3 * step[:, None, None, None] * torch.randn(1, *weight.shape[1:])
    else:
        gan.project.weight[:, :12] += 3 * torch.randn(len(gan.project.weight), 1) * step
    label = 1 if family == "biggan" else None
    found = components_of_z(gan, range(300), 2, label)
    assert found.shape == (2, 1, 12)
    assert alike(found[0], step) > 0.9


def test_more_components_than_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="--samples"):
        principal(torch.randn(5, 20), 5)


# --- InterFaceGAN --------------------------------------------------------------------------------


def test_the_plane_separates_what_a_step_separates() -> None:
    torch.manual_seed(3)
    codes, step = torch.randn(400, 3, 8), torch.randn(3, 8)
    values = (codes * step).sum((1, 2)).numpy()
    found = boundary(codes, split(np.sign(values), 0.3))
    assert alike(found.normal, step) > 0.95 and found.normal.shape == (3, 8)
    assert float((found.normal * step).sum()) > 0
    assert found.accuracy > 0.9 and (found.known, found.held) == (320, 80)
    torch.testing.assert_close(found.normal.norm(), torch.tensor(1.0))


def test_labels_that_mean_nothing_are_guessed_by_chance() -> None:
    codes = torch.randn(400, 1, 8, generator=torch.Generator().manual_seed(1))
    labels = np.random.default_rng(0).integers(0, 2, 400).astype(float)
    assert 0.3 < boundary(codes, split(labels, 0.3)).accuracy < 0.7


def test_few_with_the_attribute_count_as_much_as_many_without() -> None:
    torch.manual_seed(4)
    codes = torch.randn(600, 1, 8)
    codes[:30, 0, 0] += 4
    found = boundary(codes, np.where(np.arange(600) < 30, 1, -1))
    assert found.accuracy > 0.9 and found.normal[0, 0] > 0.9


def test_numbers_are_split_at_their_ends_and_the_unknown_counts_nowhere() -> None:
    sides = split(np.array([*np.arange(100.0), np.nan]), 0.1)
    assert (sides[:10] == -1).all() and (sides[90:100] == 1).all() and not sides[10:90].any()
    assert sides[100] == 0
    two = split(np.array([0.0, 1.0] * 20 + [np.nan]), 0.1)
    assert (two[:40:2] == -1).all() and (two[1:40:2] == 1).all() and two[40] == 0


@pytest.mark.parametrize("labels", [[1.0] * 50, [1.0] * 47 + [-1.0] * 3, [math.nan] * 50])
def test_labels_that_tell_nothing_apart_are_refused(labels: list[float]) -> None:
    with pytest.raises(UsageError):
        split(np.array(labels), 0.3)


def test_a_conditioned_direction_is_orthogonal_to_all_others() -> None:
    torch.manual_seed(6)
    normal, *others = torch.randn(4, 3, 8)
    others.append(others[0] + others[1])  # no new dimension
    found = conditioned(normal, others)
    for other in others:
        assert abs(float((found * other).sum())) < 1e-5
    assert float((found * normal).sum()) > 0
    one = normal - (normal * others[0]).sum() / others[0].square().sum() * others[0]
    assert alike(conditioned(normal, others[:1]), one) > 0.9999
    with pytest.raises(UsageError, match="nothing is left"):
        conditioned(others[0], others)


# --- StyleSpace ----------------------------------------------------------------------------------


def test_the_channel_that_makes_an_attribute_is_found(gan: StyleGAN2) -> None:
    latents = gan.sample(range(300))
    population = styles(gan, latents)
    column = gan.style_layers[2].columns.start + 3  # conv2, channel 3
    values = -population[:, column].numpy()
    found = channels_of(gan, latents, split(values, 0.2), population, 2)
    best = found[0]
    assert (best.column, best.name, best.sign) == (column, "conv2-3", -1)
    assert best.relevance > found[1].relevance and 0 < best.area <= 1
    step = best.vector(population.shape[1])
    torch.testing.assert_close(step[0, column], -population[:, column].std())
    assert step.count_nonzero() == 1


def test_styles_that_only_tint_are_left_out(gan: StyleGAN2) -> None:
    latents = gan.sample(range(200))
    population = styles(gan, latents)
    tint = gan.style_layers[1]
    assert tint.name == "rgb1"
    sides = split(population[:, tint.columns.start].numpy(), 0.3)
    found = channels_of(gan, latents, sides, population, 5)
    assert all(channel.layer.startswith("conv") for channel in found)


def test_a_gradient_map_is_the_slope_of_each_pixel(gan: StyleGAN2) -> None:
    latent = gan.sample([1, 2])
    width = gan.style_layers[-1].columns.stop
    column = gan.style_layers[3].columns.start
    style = torch.zeros(2, width, requires_grad=True)
    _, slope = torch.autograd.functional.jvp(
        lambda s: gan.synthesize(replace(latent, style=s)), style, torch.eye(width)[[column] * 2]
    )
    found = gradient_map(gan, latent, column, 0.02)
    wanted = slope.norm(dim=1)
    assert (found - wanted).abs().mean() < 0.01 * wanted.mean()  # pixels at a kink differ


def test_the_moved_area_tells_a_spot_from_the_whole_picture(
    gan: StyleGAN2, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent = gan.sample([1])

    def spot(one: object) -> Tensor:
        images = torch.zeros(1, 3, 16, 16)
        images[:, :, 3:5, 3:5] = one.style[:, :1, None, None]  # type: ignore[attr-defined]
        return images

    monkeypatch.setattr(gan, "synthesize", spot)
    assert moved_area(gan, latent, 0, 1.0) == pytest.approx(4 / 256)
    monkeypatch.setattr(
        gan, "synthesize", lambda one: one.style[:, :1, None, None] + torch.zeros(1, 3, 16, 16)
    )
    assert moved_area(gan, latent, 0, 1.0) == pytest.approx(1)


def test_no_channel_moves_less_than_nothing(gan: StyleGAN2) -> None:
    latents = gan.sample(range(60))
    population = styles(gan, latents)
    sides = split(population[:, 0].numpy(), 0.3)
    assert channels_of(gan, latents, sides, population, 1, area=1e-9) == []


def test_a_family_without_styles_is_refused(pggan: PGGAN) -> None:
    latents = pggan.sample(range(20))
    with pytest.raises(UsageError, match="no styles"):
        channels_of(pggan, latents, np.ones(20, int), torch.zeros(20, 3), 1)


# --- Units ---------------------------------------------------------------------------------------


def test_the_spread_is_the_deviation_of_the_codes_along_it() -> None:
    torch.manual_seed(7)
    codes = torch.randn(500, 3, 4) * torch.tensor([3.0, 1, 1])[:, None]
    step = torch.zeros(3, 4)
    step[0, 1] = 0.01
    found = spread(codes, step)
    torch.testing.assert_close(found[0, 1], codes[:, 0, 1].std())
    assert found.count_nonzero() == 1


def test_a_channel_is_calibrated_to_one_deviation_of_the_score(gan: StyleGAN2) -> None:
    width = gan.style_layers[-1].columns.stop
    column = gan.style_layers[-1].columns.start
    step = torch.zeros(1, width)
    step[0, column] = 0.3
    score = lambda images: images[:, 0].mean((1, 2))  # noqa: E731
    factor = calibrate(gan, step, score, range(50), space="s")
    if factor == 0:
        step, factor = -step, calibrate(gan, -step, score, range(50), space="s")
    latent = gan.sample(range(50))
    deviation = score(gan.synthesize(latent).clamp(-1, 1)).std()
    half = step * factor / 2
    up, down = (
        score(gan.synthesize(replace(latent, style=(sign * half).expand(50, -1))).clamp(-1, 1))
        for sign in (1, -1)
    )
    torch.testing.assert_close((up - down).mean(), deviation, rtol=0.2, atol=0)
