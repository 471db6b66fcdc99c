"""Regions of a crop: soft, where the FFHQ framing holds them, and not one in the other."""

from __future__ import annotations

import numpy as np
import pytest

from dseinvert.errors import UsageError
from dseinvert.faces.regions import open_where, region_mask
from dseinvert.similarity.identity import FFHQ_POINTS
from dseinvert.written import REGIONS

SIDE = 200
LEFT_EYE, RIGHT_EYE, NOSE, _, _ = FFHQ_POINTS
MOUTH = (0.5, 0.73)


def at(region: str, place: tuple[float, float]) -> float:
    return float(region_mask(region, SIDE)[int(place[1] * SIDE), int(place[0] * SIDE)])


def test_each_region_is_where_the_framing_holds_it() -> None:
    assert at("mouth", MOUTH) == at("eyes", LEFT_EYE) == at("eyes", RIGHT_EYE) == 1
    assert at("skin", NOSE) > 0.9 and at("hair", (0.5, 0.08)) > 0.5
    for region, place in (("mouth", NOSE), ("eyes", MOUTH), ("skin", LEFT_EYE), ("hair", NOSE)):
        assert at(region, place) < 0.1, region


@pytest.mark.parametrize("region", REGIONS)
def test_regions_are_soft_and_the_same_at_every_size(region: str) -> None:
    fine = region_mask(region, SIDE)
    assert fine.dtype == np.float32 and 0 == fine.min() < fine.max() <= 1
    assert np.abs(np.diff(fine, axis=0)).max() < 0.15
    coarse = fine.reshape(SIDE // 4, 4, SIDE // 4, 4).mean((1, 3))
    assert np.abs(coarse - region_mask(region, SIDE // 4)).max() < 0.1


def test_two_regions_are_both_and_a_mask_with_a_region_what_is_in_both() -> None:
    both = region_mask("mouth, eyes", SIDE)
    assert (both == np.maximum(region_mask("mouth", SIDE), region_mask("eyes", SIDE))).all()
    where, face = open_where("face", "hair", SIDE), open_where("face", None, SIDE)
    assert where is not None and face is not None and where.name == "face hair"
    nothing = np.zeros((SIDE, SIDE, 3), np.uint8)
    wanted = face.of(nothing, nothing) * region_mask("hair", SIDE)
    assert np.allclose(where.of(nothing, nothing), wanted)


def test_an_unknown_region_is_refused_with_the_one_that_is_like_it() -> None:
    with pytest.raises(UsageError, match="mouth"):
        region_mask("mout", SIDE)
