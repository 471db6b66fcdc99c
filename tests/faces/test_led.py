"""A change ends where the photo's colours do, and nowhere is there one that was not drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dseinvert.faces.carry import SIDE, carry
from dseinvert.faces.crops import Crop, whole
from dseinvert.faces.led import led, middle_of
from dseinvert.faces.mask import open_mask, paste_edit
from dseinvert.faces.regions import open_where
from dseinvert.media.images import encode_png

HAIR, SKIN, DARKER = (120, 90, 60), (220, 180, 150), -60.0
EDGE = 64  # row of 256 at which the photo's hair ends, above the middle of the face


def photo() -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), SKIN, np.float32)
    picture[:EDGE] = HAIR
    return picture


def darker_down_to(row: int) -> np.ndarray:
    change = np.zeros((SIDE, SIDE, 3), np.float32)
    change[:row] = DARKER
    return cv2.GaussianBlur(change, (0, 0), 5)


def test_soft_dark_hair_does_not_smear_the_forehead() -> None:
    seen = np.ones((SIDE, SIDE), np.float32)
    change = darker_down_to(EDGE + 8)
    result = led(change, photo(), seen)
    assert change[EDGE + 2 : EDGE + 6, 128].max() < -40
    assert result[EDGE + 2 : EDGE + 6, 128].min() > -20
    assert result[: EDGE - 5, 128].max() < -45


def test_features_in_the_middle_of_a_face_need_no_colours_in_the_photo() -> None:
    seen = np.ones((SIDE, SIDE), np.float32)
    change = np.zeros((SIDE, SIDE, 3), np.float32)
    cv2.ellipse(change, (128, 170), (20, 6), 0, 0, 360, (-80.0, -80.0, -80.0), -1)
    assert middle_of(SIDE)[164:177, 108:149].min() == 1
    np.testing.assert_allclose(led(change, photo(), seen), change, atol=0.5)


def test_what_is_not_shown_stays_and_what_is_not_changed_is_exactly_nothing() -> None:
    seen = np.zeros((SIDE, SIDE), np.float32)
    seen[:, :128] = 1
    result = led(darker_down_to(EDGE), photo(), seen)
    assert not result[:, 128:].any() and result[:EDGE, :120].max() < -30
    assert not led(np.zeros((SIDE, SIDE, 3), np.float32), photo(), seen).any()


def test_an_outline_moves_only_where_that_explains_it_when_the_photo_is_known() -> None:
    """A wall comes to where a cheek was: nothing of the reconstruction is like it."""
    rng = np.random.default_rng(0)
    recon = cv2.GaussianBlur(rng.uniform(60, 200, (64, 64, 3)).astype(np.float32), (0, 0), 2)
    recon = (recon - recon.mean()) * 4 + 128
    edited = np.roll(recon, 1, axis=1)
    edited[:, :20] = recon[::-1, :20]
    mask = np.ones((SIDE, SIDE), np.float32)
    free = carry(edited, recon, mask)
    held = carry(edited, recon, mask, source=cv2.resize(recon, (SIDE, SIDE)))
    beside = np.s_[100:160, 56:76, 3:]
    assert np.abs(held[beside]).mean() < 0.7 * np.abs(free[beside]).mean()
    np.testing.assert_array_equal(held[150:155, 126:130, 3:], free[150:155, 126:130, 3:])


def drawn_heads() -> tuple[Crop, np.ndarray, np.ndarray]:
    """A head, what a soft model draws of it, and the same with darker hair that is too large."""
    own = photo().astype(np.uint8)
    recon = cv2.GaussianBlur(photo(), (0, 0), 3)
    return Crop(own, whole(own, SIDE).quad), recon + darker_down_to(EDGE + 8), recon


@pytest.mark.parametrize(("mask", "region"), [("auto", None), (None, "hair"), ("auto", "hair")])
def test_under_a_mask_too_a_change_ends_where_the_colours_do(
    mask: str | None, region: str | None
) -> None:
    crop, edited, recon = drawn_heads()
    where = open_where(mask, region, SIDE)
    assert where is not None
    drawn = where.weight(crop.pixels, edited, recon)[..., None] * (edited - recon)
    result = paste_edit(crop.pixels, crop, edited, recon, where).astype(int) - crop.pixels
    hair, forehead = np.s_[EDGE - 24 : EDGE - 8, 100:156], np.s_[EDGE + 2 : EDGE + 6, 100:156]
    assert drawn[hair].mean() < -15 and result[hair].mean() < 0.7 * drawn[hair].mean()
    assert np.abs(result[forehead]).mean() < 0.5 * np.abs(edited - recon)[forehead].mean()


def test_a_painted_mask_shows_an_edit_as_it_was_drawn(tmp_path: Path) -> None:
    """A spot that is of no colour of the photo fades on a cheek, unless it was asked for there."""
    (tmp_path / "white.png").write_bytes(encode_png(np.full((SIDE, SIDE, 3), 255, np.uint8)))
    own = photo().astype(np.uint8)
    crop, spot = Crop(own, whole(own, SIDE).quad), np.zeros_like(photo())
    cv2.circle(spot, (56, 140), 7, (-60.0, -60.0, -60.0), -1)
    edited = cv2.GaussianBlur(spot, (0, 0), 2) + photo()
    shown = {
        mask: paste_edit(own, crop, edited, photo(), open_mask(mask, SIDE)).astype(int) - own
        for mask in ("auto", str(tmp_path / "white.png"))
    }
    auto, painted = (one[140, 56].mean() for one in shown.values())
    assert painted < -45 and auto > -25
