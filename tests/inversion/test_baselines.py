from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.errors import MissingError, UsageError
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.inversion.asked_baselines import BASELINES, STEPS, Baseline, parse_baselines
from dseinvert.inversion.baselines import open_baseline
from dseinvert.inversion.inverter import Inverter
from dseinvert.latent import concat
from dseinvert.similarity.losses import mse


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    config = StyleGAN2Config(16, {4: 8, 8: 8, 16: 8}, w_dim=16, z_dim=16, mapping_layers=2)
    made = StyleGAN2(config).eval().requires_grad_(False)
    made.measure_mean()
    return made


@pytest.fixture(scope="module")
def encoder() -> DSEEncoder:
    torch.manual_seed(1)
    return DSEEncoder(DSEConfig(16, 6, 16, (8, 8, 8))).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(generator: StyleGAN2) -> Tensor:
    return generator.synthesize(generator.sample([5, 6])).clamp(-1, 1)


def test_each_has_its_own_steps_and_all_means_all() -> None:
    assert parse_baselines("none") == ()
    assert parse_baselines("pti:40,i2s-w") == (Baseline("pti", 40), Baseline("i2s-w", STEPS))
    assert [one.name for one in parse_baselines("all:7")] == [*BASELINES]
    for wrong in ("i2s:3", "pti:0", "pti:x", "all,"):
        with pytest.raises(UsageError, match="--baselines"):
            parse_baselines(wrong)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_ends_nearer_than_it_began_after_its_steps(
    name: str, generator: StyleGAN2, encoder: DSEEncoder, images: Tensor
) -> None:
    (asked,) = parse_baselines(f"{name}:8")
    found = open_baseline(asked, generator, encoder)(images)
    inverter = Inverter(generator, encoder)
    start = inverter.invert(images).images
    if name not in ("indomain", "sam", "sam-z+"):
        start = inverter.render(concat([generator.mean_latent()] * 2))
    assert (mse(images, found.images) < mse(images, start)).all()
    assert found.steps is not None and found.steps.tolist() == [8, 8]
    kind = name.removesuffix("-z+")
    assert bool(found.latent.tuning) == (kind == "pti")
    assert (found.latent.feature is not None) == (kind in ("bdinvert", "sam"))
    assert found.latent.space == ("z+" if name.endswith("-z+") else "w+")


def test_image2stylegan_in_w_keeps_one_row(generator: StyleGAN2, images: Tensor) -> None:
    code = open_baseline(Baseline("i2s-w", 4), generator)(images).latent.code
    assert torch.equal(code, code[:, :1].expand_as(code))


def test_what_a_baseline_lacks_is_said(generator: StyleGAN2) -> None:
    with pytest.raises(MissingError, match="no encoder"):
        open_baseline(Baseline("indomain"), generator)
    other = PGGAN(PGGANConfig(16, {4: 8, 8: 8, 16: 8}, z_dim=16)).eval()
    with pytest.raises(UsageError, match="has no w"):
        open_baseline(Baseline("i2s-w"), other)
