"""A pasted edit changes a face and not its complexion, and no teeth turn green."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dseinvert.faces.complexion import in_complexion
from dseinvert.faces.paste import MOUTH, head_mask, oval
from dseinvert.faces.tone import LUMA

SIDE = 256
SKIN, HAIR, WALL = (220, 170, 140), (90, 60, 40), (120, 140, 170)
ALL = np.ones((SIDE, SIDE), np.float32)


def portrait(skin: tuple[int, int, int] = SKIN) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), WALL, np.float32)
    cv2.ellipse(picture, (128, 120), (85, 105), 0, 0, 360, HAIR, -1)
    cv2.ellipse(picture, (128, 150), (60, 85), 0, 0, 360, skin, -1)
    return picture


def skin_of(picture: np.ndarray) -> np.ndarray:
    return (picture == picture[150, 128]).all(-1)


def nothing() -> np.ndarray:
    return np.zeros((SIDE, SIDE, 3), np.float32)


@pytest.mark.parametrize("cast", [(0.0, 0.0, -24.0), (12.0, -8.0, 14.0), (-14.0, 7.0, 0.0)])
@pytest.mark.parametrize("skin", [SKIN, (96, 64, 48)])
def test_skin_takes_no_cast(cast: tuple[float, ...], skin: tuple[int, int, int]) -> None:
    photo = portrait(skin)
    size = np.float32(skin[0] / SKIN[0])
    kept = in_complexion(nothing() + size * np.float32(cast), photo, ALL)
    inside = cv2.erode(skin_of(photo).astype(np.uint8), np.ones((25, 25))) > 0
    before, after = np.abs(cast).max() * size, np.abs(kept[inside])
    tone = (photo + kept)[inside] / ((photo + kept)[inside] @ LUMA)[:, None]
    assert after.mean() < 0.3 * before
    assert np.abs(tone - np.divide(skin, skin @ LUMA)).max() < 0.03


def test_a_tan_and_pale_skin_stay_as_they_were_meant() -> None:
    """As dark or light as drawn; of the colour that such skin has then."""
    photo = portrait()
    for share in (0.7, 1.2):
        change = (np.float32(share) - 1) * photo
        np.testing.assert_allclose(in_complexion(change, photo, ALL), change, atol=0.5)


def test_hair_and_wall_take_any_colour() -> None:
    photo, change = portrait(), nothing() + np.float32((-20, 10, 40))
    kept = in_complexion(change, photo, ALL)
    hair = (photo == HAIR).all(-1)
    hair[60:] = False
    assert hair.sum() > 2000 and np.abs(kept - change)[hair].max() < 6
    beyond = head_mask(SIDE) == 0
    np.testing.assert_allclose(kept[beyond], change[beyond], atol=0.5)


def test_lips_are_painted_and_skin_beside_them_is_not_flushed() -> None:
    photo, change = portrait(), nothing() + np.float32((10, -6, -2))
    lips = nothing()
    cv2.ellipse(lips, (128, 190), (28, 8), 0, 0, 360, (50, -50, -30), -1)
    kept = in_complexion(change + lips, photo, ALL)
    assert kept[190, 128, 0] - kept[190, 128, 1] > 80
    assert np.abs(kept[120, 128]).max() < 4


def test_no_teeth_turn_green_and_their_luma_stays() -> None:
    photo, change = portrait(), nothing()
    teeth = np.zeros((SIDE, SIDE), bool)
    teeth[184:193, 110:147] = True
    change[teeth] = np.float32((150, 175, 150)) - photo[teeth]
    kept = in_complexion(change, photo, ALL)
    after = (photo + kept)[teeth]
    assert (after[:, 0] > after[:, 1]).all()
    np.testing.assert_allclose((after - (photo + change)[teeth]) @ LUMA, 0, atol=1.5)


def test_what_was_green_in_a_mouth_stays_so() -> None:
    photo = portrait()
    photo[180:196, 110:147] = (90, 160, 90)
    change = nothing()
    change[oval(SIDE, *MOUTH) > 0] = 10
    kept = in_complexion(change, photo, ALL)
    np.testing.assert_allclose(kept[184:192, 115:142], 10, atol=1)


def test_no_change_is_none() -> None:
    assert not in_complexion(nothing(), portrait(), ALL).any()


def test_a_little_more_of_a_change_is_a_little_more() -> None:
    """Between batches of other sizes pictures differ by roundings."""
    rng = np.random.default_rng(0)
    photo = np.clip(portrait() + rng.normal(0, 8, (SIDE, SIDE, 3)), 0, 255).astype(np.float32)
    change = cv2.GaussianBlur(rng.normal(0, 400, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 6)
    near = change + rng.uniform(-0.1, 0.1, change.shape).astype(np.float32)
    one, other = (in_complexion(each, photo, ALL) for each in (change, near))
    assert np.abs(one - other).max() < 0.5
