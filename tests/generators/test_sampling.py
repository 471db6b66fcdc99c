"""Numbers that choose a sample: a wrong one is refused, never taken for another."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dseinvert.generators import Generator, families
from dseinvert.generators.sampling import one_hot

CHANNELS = {4: 8, 8: 8}
ROWS: dict[str, Any] = dict(resolution=8, channels=CHANNELS, w_dim=8, z_dim=8, mapping_layers=2)
CLASSES = 3
KINDS: dict[str, dict[str, Any]] = {
    "biggan": dict(channels=(8, 8, 4), attention=1, z_dim=4, class_dim=4, statistics=3),
    "pggan": dict(resolution=8, channels=CHANNELS, z_dim=8),
    "stylegan1": ROWS,
    "stylegan2": ROWS,
    "stylegan3": dict(
        resolution=16, channel_base=64, channel_max=8, w_dim=8, z_dim=8, num_layers=4
    ),
}


def build(family: str, **more: int) -> Generator:
    torch.manual_seed(0)
    return families.build({"family": family, **KINDS[family], **more})


@pytest.fixture(params=KINDS)
def gan(request: pytest.FixtureRequest) -> Generator:
    return build(request.param, classes=CLASSES)


def test_every_family_is_here() -> None:
    assert {*KINDS} == {*families.FAMILIES}


@pytest.mark.parametrize("labels", [[-1], [CLASSES], [0, -3], [0, 1, 2]])
def test_a_class_that_does_not_exist_is_no_other(gan: Generator, labels: list[int]) -> None:
    with pytest.raises(ValueError, match="label"):
        gan.sample(range(min(2, len(labels))), labels=labels)


@pytest.mark.parametrize("seed", [-1, 2**32, -(2**32)])
def test_a_seed_that_would_be_read_as_another_is_refused(gan: Generator, seed: int) -> None:
    with pytest.raises(ValueError, match="seeds must be"):
        gan.sample([seed])
    assert torch.isfinite(gan.sample([0, 2**32 - 1]).code).all()


def test_a_cutoff_below_zero_is_refused(gan: Generator) -> None:
    if gan.truncates:
        with pytest.raises(ValueError, match="cutoff"):
            gan.sample([0], 0.5, -1)


@pytest.mark.parametrize("layer", [-1, 0, 100])
def test_a_layer_that_does_not_exist_has_no_feature(gan: Generator, layer: int) -> None:
    with pytest.raises(ValueError, match="layer must be"):
        gan.features(gan.sample([0]), layer)


@pytest.mark.parametrize("family", sorted({*KINDS} - {"biggan"}))
def test_a_generator_without_classes_takes_no_label(family: str) -> None:
    with pytest.raises(ValueError, match="no classes"):
        build(family).sample([0], labels=[0])


def test_no_row_of_labels_counts_from_the_end() -> None:
    with pytest.raises(ValueError, match=r"labels must be 0\.\.2"):
        one_hot([0, -1], 3)
