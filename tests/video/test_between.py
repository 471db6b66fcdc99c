"""A change leaves nothing behind that neither the frame nor the edit shows."""

from __future__ import annotations

import numpy as np

from dseinvert.video.between import held_between

SIDE = 128
LINE = slice(60, 63)
Image = np.ndarray


def skin(level: float = 150.0, line: float = 0.0) -> Image:
    """A plain picture, with a line across it that is so much brighter."""
    image = np.full((SIDE, SIDE, 3), level, np.float32)
    image[LINE] += line
    return image


def test_a_line_of_the_reconstruction_alone_leaves_no_negative() -> None:
    change = skin(150) - skin(150, line=-60)
    held = held_between(change, skin(150), skin(150))
    assert change[LINE].min() == 60 and held.max() < 15


def test_a_line_that_is_fainter_in_the_frame_is_taken_away_and_no_more() -> None:
    change = skin(150) - skin(150, line=-60)
    result = skin(150, line=-20) + held_between(change, skin(150, line=-20), skin(150))
    assert np.abs(result[LINE] - 150).max() < 10


def test_a_line_that_the_edit_draws_is_drawn() -> None:
    edited = skin(150, line=-60)
    change = edited - skin(150)
    assert np.abs(held_between(change, skin(150), edited) - change).max() < 1


def test_another_light_and_no_change_stay_as_they_are() -> None:
    slope = np.linspace(0, 40, SIDE, dtype=np.float32)[:, None, None] * np.ones((1, SIDE, 3))
    grain = np.random.default_rng(0).normal(0, 5, (SIDE, SIDE, 3)).astype(np.float32)
    slope = slope.astype(np.float32)
    held = held_between(slope, skin(100) + grain, skin(100) + grain + slope)
    assert np.abs(held - slope).mean() < 0.5
    assert not held_between(0 * slope, skin(100) + grain, skin(120, line=50)).any()


def test_no_pixel_is_changed_more_or_the_other_way() -> None:
    random = np.random.default_rng(1)
    change, source, edited = random.normal(0, 20, (3, SIDE, SIDE, 3)).astype(np.float32)
    change[:40] = 0
    held = held_between(change, 128 + source, 128 + edited)
    assert (held * change >= 0).all() and (np.abs(held) <= np.abs(change)).all()
    assert not held[:40].any()
