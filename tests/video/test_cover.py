from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dseinvert.faces.paste import face_mask
from dseinvert.video.cover import SIDE, Sight, Sights, shrunk
from tests.moving_face import portrait

RATE, COUNT, BIG = 25, 50, 128
COVERED = range(20, 30)
Paint = Callable[[np.ndarray, int], None]


def crops(number: int = 1, skin: float = 1.0) -> list[np.ndarray]:
    """A face that sways and changes its light a little, with grain, at its crop's size.

    skin: how bright it is, of the portrait's.
    """
    face, chance = skin * portrait(number, BIG).astype(np.float32), np.random.default_rng(0)
    made = []
    for k in range(COUNT):
        shift = np.array([[1, 0, 1.5 * np.sin(k / 4)], [0, 1, np.cos(k / 5)]])
        moved = cv2.warpAffine(face, shift, (BIG, BIG), borderMode=cv2.BORDER_REPLICATE)
        light = 1 + 0.05 * np.sin(k / 9)
        grainy = light * moved + chance.normal(0, 3, face.shape)
        made.append(grainy.clip(0, 255).astype(np.uint8))
    return made


def bar(mask: np.ndarray, k: int) -> None:
    x = BIG // 4 + 6 * (k - COVERED[0])
    mask[:, x : x + 24] = 255


def microphone(mask: np.ndarray, k: int) -> None:
    x = BIG // 3 + 4 * (k - COVERED[0])
    cv2.line(mask, (x, BIG), (x - 10, BIG // 2), 255, 6)


def hand(mask: np.ndarray, k: int) -> None:
    x = BIG - 24 - 4 * (k - COVERED[0])
    cv2.ellipse(mask, (x, 84), (20, 28), 20, 0, 360, 255, -1)


COLOURS = {bar: (90, 80, 70), microphone: (25, 25, 30), hand: (120, 80, 60)}


def sights(pictures: list[np.ndarray]) -> list[Sight]:
    small = [shrunk(picture) for picture in pictures]
    times, sound = np.arange(len(small)) / RATE, np.ones(len(small), bool)
    found = Sights(times, sound, small.__getitem__)
    return [found.at(k) for k in range(len(small))]


@pytest.mark.parametrize("paint", [bar, microphone, hand])
def test_what_comes_over_a_face_is_hidden_and_the_rest_is_not(paint: Paint) -> None:
    pictures, masks = crops(), []
    for k in COVERED:
        mask = np.zeros((BIG, BIG), np.uint8)
        paint(mask, k)
        pictures[k][mask > 0] = COLOURS[paint]
        masks.append(shrunk(np.repeat(mask[..., None], 3, 2))[..., 0] / 255)
    found, inner = sights(pictures), face_mask(SIDE) > 0.5
    for k, mask in zip(COVERED, masks, strict=True):
        assert (found[k].hidden[inner & (mask > 0.9)] == 1).mean() > 0.9
        far = cv2.dilate(mask, np.ones((9, 9))) == 0
        assert found[k].hidden[inner & far].mean() < 0.1
    for k in (0, 10, 18, 31, 40):
        assert found[k].hidden.max() == 0


@pytest.mark.parametrize("skin", [1.0, 0.6, 0.42])
def test_a_bar_in_the_colour_of_light_and_dark_skin_is_hidden(skin: float) -> None:
    inner, shares = face_mask(SIDE) > 0.5, []
    for number in (1, 2):
        pictures = crops(number, skin)
        colour = np.median(pictures[0][60:100, 44:84].reshape(-1, 3), 0)
        masks = []
        for k in COVERED:
            mask = np.zeros((BIG, BIG), np.uint8)
            bar(mask, k)
            pictures[k][mask > 0] = 0.9 * colour
            masks.append(shrunk(np.repeat(mask[..., None], 3, 2))[..., 0] > 250)
        found = sights(pictures)
        shares += [
            (found[k].hidden[inner & m] == 1).mean() for k, m in zip(COVERED, masks, strict=True)
        ]
        assert max(found[k].hidden.max() for k in (0, 10, 17, 33, 40)) == 0
    assert np.mean(shares) > 0.8


@pytest.mark.parametrize("skin", [1.0, 0.42])
def test_a_face_that_moves_in_changing_light_is_all_seen(skin: float) -> None:
    for sight in sights(crops(skin=skin)):
        assert sight.hidden.max() == 0 and sight.share > 0.98


def test_the_share_follows_a_fade_to_black_and_back() -> None:
    pictures = crops()
    amounts = np.concatenate([np.linspace(1, 0, 12), np.linspace(0, 1, 12)])
    for k, amount in enumerate(amounts, 13):
        pictures[k] = (pictures[k] * amount).astype(np.uint8)
    shares = np.array([sight.share for sight in sights(pictures)])
    assert shares[24] == shares[25] == 0 and shares[:13].min() > 0.98
    assert np.diff(shares[13:25]).max() < 0.02 and np.diff(shares[25:37]).min() > -0.02
    assert np.abs(np.diff(shares)).max() < 0.2
    assert (shares[13:37] <= 1.5 * amounts + 0.05).all()


def test_a_face_that_a_flash_burns_out_gets_nothing() -> None:
    pictures = crops()
    for k in (24, 25):
        pictures[k] = np.full_like(pictures[k], 255)
    shares = [sight.share for sight in sights(pictures)]
    assert shares[24] == shares[25] == 0 and min(shares[:24] + shares[26:]) > 0.98


def test_any_order_tells_the_same() -> None:
    small = [shrunk(picture) for picture in crops()]
    times, sound = np.arange(COUNT) / RATE, np.ones(COUNT, bool)
    straight = Sights(times, sound, small.__getitem__)
    rows = [straight.at(k) for k in range(COUNT)]
    alone = Sights(times, sound, small.__getitem__).at(33)
    np.testing.assert_array_equal(rows[33].hidden, alone.hidden)
    assert rows[33].share == alone.share


def turned(face: np.ndarray, amount: float) -> np.ndarray:
    """A face whose middle goes `amount` pixels to the right, and its sides stay: a head turns."""
    rows, columns = np.mgrid[:BIG, :BIG].astype(np.float32)
    bend = (1 - ((columns - BIG / 2) / (BIG / 2)) ** 2).clip(0)
    return cv2.remap(face, columns - np.float32(amount) * bend, rows, cv2.INTER_LINEAR)


def test_a_head_that_turns_is_all_seen() -> None:
    pictures = crops()
    for k in range(20, 30):
        pictures[k] = turned(pictures[k], 14 * np.sin((k - 19) / 11 * np.pi))
    assert max(sight.hidden[face_mask(SIDE) > 0.5].mean() for sight in sights(pictures)) < 0.02
