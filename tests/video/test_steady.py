from __future__ import annotations

import cv2
import numpy as np
import pytest

from dseinvert.video.steady import Steadier

RATE = 25


def texture(side: int = 128) -> np.ndarray:
    picture = np.random.default_rng(0).uniform(0, 255, (side, side, 3)).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (0, 0), side / 40)
    return (127 + 10 * (picture - picture.mean())).clip(0, 255).astype(np.uint8)


def shifted(picture: np.ndarray, x: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, 0]], float)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def flicker(count: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 10, (count, side, side, 3)).astype(np.float32)


def fed(seconds: float, sources: list[np.ndarray], changes: np.ndarray) -> list[np.ndarray]:
    steadier = Steadier(seconds)
    pairs = enumerate(zip(sources, changes, strict=True))
    return [steadier.feed(source, change, k / RATE) for k, (source, change) in pairs]


@pytest.mark.parametrize("speed", [0, 2])
@pytest.mark.parametrize("side", [32, 64, 300])
def test_flicker_is_averaged(side: int, speed: float) -> None:
    sources = [shifted(texture(), speed * k) for k in range(20)]
    steadied = fed(0.2, sources, flicker(20, side))[-1]
    inside = slice(side // 2, side * 7 // 8)
    assert np.std(steadied[inside, inside]) < 0.45 * 10


def test_0_seconds_leave_it_as_it_is() -> None:
    np.testing.assert_array_equal(fed(0.0, [texture()] * 3, flicker(3)), flicker(3))


@pytest.mark.parametrize("side", [32, 128, 200])
def test_a_change_that_moves_with_its_source_stays_sharp(side: int) -> None:
    """What is averaged lies where the face is now, not where it was."""
    sources = [shifted(texture(), 2 * k) for k in range(10)]
    mark = np.zeros((side, side, 3), np.float32)
    mark[side // 3 : side // 2, side // 3 : side // 2] = 50
    changes = np.stack([shifted(mark, 2 * k * side / 128) for k in range(10)])
    moved, lagging = (fed(0.4, frames, changes)[-1] for frames in (sources, [texture()] * 10))
    assert np.abs(moved - changes[-1]).mean() < 0.25 * np.abs(lagging - changes[-1]).mean()


def test_where_the_source_cannot_be_followed_the_change_is_new() -> None:
    other = texture()[::-1, ::-1].copy()
    steadied = fed(5.0, [texture(), other], flicker(2))
    gap = np.abs(steadied[1] - flicker(2)[1]).mean()
    assert gap < 0.3 * np.abs(flicker(2)[0] - flicker(2)[1]).mean()


def test_what_is_broad_goes_on_where_the_source_cannot_be_followed() -> None:
    """A blink or a blur is no reason for a cheek to change its colour at once."""
    other = texture()[::-1, ::-1].copy()
    pale = np.full((64, 64, 3), 20, np.float32)
    steadied = fed(5.0, [texture(), other], np.stack([pale, pale + 10]))
    assert 0 < np.abs(steadied[1] - pale).max() < 1


def test_time_not_frames_decide_how_much_is_kept() -> None:
    steadier = Steadier(0.2)
    steadier.feed(texture(), np.zeros((64, 64, 3)), 0)
    late = steadier.feed(texture(), np.ones((64, 64, 3)), 0.2)
    assert np.median(late) == pytest.approx(1 - np.exp(-1), abs=1e-3)
