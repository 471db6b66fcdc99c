from __future__ import annotations

import numpy as np
import pytest

from dseinvert.video.even import evened, shares

TIMES, ALL = np.arange(-4, 5) / 25, np.ones(9)


def trembling(count: int = 9) -> np.ndarray:
    motion = np.random.default_rng(0).normal(0, 0.01, (count, 32, 32, 2)).astype(np.float32)
    motion[:, :8] = 0
    return motion


def test_what_trembles_is_averaged_and_what_rests_stays_0() -> None:
    motions = trembling()
    calm = evened([*motions], shares(TIMES, 0.08, ALL))
    assert calm[8:].std() < 0.5 * motions[:, 8:].std()
    assert (calm[:8] == 0).all()


def test_a_motion_that_grows_evenly_does_not_lag() -> None:
    motions = [np.full((2, 2, 2), 1 + time, np.float32) for time in TIMES.tolist()]
    np.testing.assert_allclose(evened(motions, shares(TIMES, 0.08, ALL)), 1, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_a_short_window_leaves_a_motion_as_it_is(sigma: float) -> None:
    motions = trembling()
    np.testing.assert_array_equal(evened([*motions], shares(TIMES, sigma, ALL)), motions[4])


def test_frames_beyond_two_deviations_do_not_count() -> None:
    found = shares(TIMES, 0.07, ALL)
    assert (found[[0, 8]] == 0).all() and (found[1:8] > 0).all()


def test_a_frame_that_shows_less_of_the_face_counts_less() -> None:
    seen = np.where(np.arange(9) == 5, 0.1, 1)
    found = shares(TIMES, 0.08, seen)
    assert found[5] < 0.2 * found[3] and found.sum() == pytest.approx(1)
