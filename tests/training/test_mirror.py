from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dseinvert.encoders import kinds
from dseinvert.encoders.blocks import published_widths
from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.encoders.dse_biggan import DSEBigGANConfig
from dseinvert.encoders.dse_pggan import DSEPGGANConfig
from dseinvert.errors import UsageError
from dseinvert.generators import families
from dseinvert.generators.biggan import published_config as biggan
from dseinvert.generators.stylegan3 import StyleGAN3Config
from dseinvert.latent import LatentSpec
from dseinvert.training.mirror import (
    MIRRORS,
    Mirror,
    Wishes,
    build,
    comparable,
    continued,
    mirror,
    usual_psi,
)


@dataclass
class Like:
    """As much of a generator as says which encoder mirrors it."""

    family: str
    resolution: int
    spec: LatentSpec
    mirror: str | None = "rows"
    truncates: bool = True
    truncation: float | None = None
    z_limit: float | None = None
    class_vectors: Tensor | None = None


def rows(family: str, resolution: int, layers: int) -> Like:
    known = families.FAMILIES.get(family)
    shape = None if known is None else known.network.mirror
    return Like(family, resolution, LatentSpec("w+", layers, 512), shape)


def pggan(resolution: int) -> Like:
    return Like("pggan", resolution, LatentSpec("z", 1, 512), "z", truncates=False)


PGGAN = pggan(1024)
BIGGAN = Like(
    *("biggan", 256, LatentSpec("z", 1, 128, 1000), "z and class"),
    truncation=biggan(256).truncation,
    z_limit=2.0,
    class_vectors=torch.zeros(1000, biggan(256).class_dim),
)


@pytest.mark.parametrize("family", ["stylegan1", "stylegan2"])
@pytest.mark.parametrize(("resolution", "layers"), [(256, 14), (512, 16), (1024, 18)])
def test_stylegans_get_the_encoder_of_table_1(family, resolution, layers):
    wanted = DSEConfig(resolution, layers, 512, published_widths(resolution))
    assert mirror(rows(family, resolution, layers), 0.7) == Mirror("dse", wanted)


@pytest.mark.parametrize(("resolution", "taps"), [(256, 14), (512, 16), (1024, 18)])
def test_stylegan3s_sixteen_rows_are_spread_over_the_taps(resolution, taps):
    config = mirror(rows("stylegan3", resolution, 16), 0.7).config
    assert (config.layers, 2 * len(config.widths)) == (16, taps)
    assert (config.places[0], config.places[-1]) == (0, taps - 1)
    assert config.places == sorted(config.places)


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_each_row_of_a_stylegan3_reads_a_tap_of_about_its_own_size(resolution):
    numbers = StyleGAN3Config(resolution)
    config = mirror(rows("stylegan3", resolution, numbers.layers), 0.7).config
    sizes = [4, *(2 * signal.cutoff for signal in numbers.signals)]
    for size, place in zip(sizes, config.places, strict=True):
        assert 1 / 2 <= 4 * 2 ** (place // 2) / size < 2


def test_pggan_and_biggan_get_the_encoders_of_table_2():
    assert mirror(PGGAN, 1) == Mirror(
        "dse-pggan", DSEPGGANConfig(1024, 512, published_widths(1024))
    )
    wanted = DSEBigGANConfig(256, 128, 128, published_widths(256), truncation=0.4)
    assert mirror(BIGGAN, 0.4) == Mirror("dse-biggan", wanted)


def test_every_mirror_is_a_kind_that_a_model_can_name():
    for like in (rows("stylegan2", 256, 14), PGGAN, BIGGAN):
        with torch.device("meta"):
            assert kinds.build(mirror(like, 0.4).asdict()).kind in kinds.KINDS


def test_samples_are_truncated_as_published():
    likes = (rows("stylegan2", 256, 14), PGGAN, BIGGAN)
    assert [usual_psi(like) for like in likes] == [0.7, 1, 0.4]


def test_wishes_come_before_tables():
    like = rows("stylegan2", 16, 6)
    assert mirror(like, 0.7, Wishes((8, 12, 16), "base")).config == DSEConfig(
        16, 6, 512, (8, 12, 16), "base"
    )


@pytest.mark.parametrize(
    ("like", "psi", "wishes", "named"),
    [
        (rows("stylegan2", 16, 6), 0.7, Wishes((8, 12)), "--widths 8,12"),
        (rows("stylegan2", 16, 7), 0.7, Wishes(), "7 rows"),
        (PGGAN, 1, Wishes((8, 12)), "--widths 8,12"),
        (PGGAN, 1, Wishes(head="base"), "--head base"),
        (BIGGAN, 0.4, Wishes(head="taps"), "--head taps"),
        (BIGGAN, 1.5, Wishes(), "--psi 1.5"),
        (rows("stylegan9", 16, 6), 0.7, Wishes(), "stylegan9"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(like, psi, wishes, named):
    with pytest.raises(UsageError, match=named) as caught:
        mirror(like, psi, wishes)
    assert "\n" not in str(caught.value)


def test_a_fresh_encoder_starts_at_the_mean_latent(gan):
    encoder = build(mirror(gan.generator, 0.7, Wishes((8, 12, 16))), gan.generator)
    torch.testing.assert_close(encoder.w_avg, gan.generator.mean_latent().code[0, 0])


@pytest.fixture
def own() -> DSEEncoder:
    return DSEEncoder(DSEConfig(16, 6, 512, (8, 12, 16), "base"))


def test_a_start_from_the_model_takes_the_shape_of_its_encoder(own):
    like = rows("stylegan2", 16, 6)
    for wishes in (Wishes(), Wishes((8, 12, 16)), Wishes(head="base")):
        assert continued(like, 0.7, own, wishes) == Mirror("dse", own.config)


@pytest.mark.parametrize(
    ("like", "wishes", "named"),
    [
        (rows("stylegan2", 16, 6), Wishes((8, 8, 8)), "widths"),
        (rows("stylegan2", 16, 6), Wishes(head="taps"), "head"),
        (rows("stylegan3", 16, 7), Wishes(), "layers 6, not 7"),
        (Like("stylegan2", 16, LatentSpec("w+", 6, 64)), Wishes(), "w_dim 512, not 64"),
    ],
)
def test_a_start_from_an_encoder_of_another_shape_is_refused(own, like, wishes, named):
    with pytest.raises(UsageError, match=f"--start model: .*{named}"):
        continued(like, 0.7, own, wishes)


def test_a_start_from_an_encoder_of_another_kind_is_refused(own):
    with pytest.raises(UsageError, match="kind dse, not dse-pggan"):
        continued(pggan(16), 1, own, Wishes())


def test_a_start_needs_an_encoder():
    with pytest.raises(UsageError, match="has no encoder"):
        continued(rows("stylegan2", 16, 6), 0.7, None, Wishes())


def test_only_the_direction_of_a_pggans_z_is_compared():
    codes = torch.randn(3, 1, 512)
    same = comparable(PGGAN, 4 * codes)
    torch.testing.assert_close(same, comparable(PGGAN, codes))
    torch.testing.assert_close(same.norm(dim=-1), torch.full((3, 1), 512**0.5))
    assert comparable(BIGGAN, codes) is codes


def test_the_table_names_each_family_once():
    assert sorted(families.FAMILIES) == ["biggan", "pggan", "stylegan1", "stylegan2", "stylegan3"]
    assert {row.network.mirror for row in families.FAMILIES.values()} == set(MIRRORS)
