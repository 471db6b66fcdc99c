from __future__ import annotations

import numpy as np

from dseinvert.media.sheet import GAP, sheet


def test_pictures_stand_in_rows_with_white_between() -> None:
    dark = np.zeros((8, 8, 3), np.uint8)
    picture = sheet([[dark, dark], [None, dark]])
    assert picture.shape == (2 * (8 + GAP), 2 * (8 + GAP), 3)
    assert (picture[:8, :8] == 0).all() and (picture[10:18, 10:18] == 0).all()
    assert (picture[8:10] == 255).all() and (picture[10:, :10] == 255).all()


def test_small_pictures_are_shown_larger_without_blur() -> None:
    checks = np.indices((4, 4)).sum(0) % 2 * 255
    picture = sheet([[np.repeat(checks[..., None], 3, 2).astype(np.uint8)]], least=9)
    assert picture.shape[0] == 12 + GAP
    assert set(np.unique(picture)) == {0, 255}


def test_words_stand_over_the_columns() -> None:
    dark = np.zeros((40, 40, 3), np.uint8)
    picture = sheet([[dark, dark]], across=["a", "a word much wider than its column"])
    head = picture[:24]
    assert head.min() < 100
    assert (picture[24:64, :40] == 0).all()
    assert (head[:, 40:42] == 255).all()
