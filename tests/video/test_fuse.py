from __future__ import annotations

import numpy as np
import pytest

from dseinvert.video.fuse import fuse


def walk(count: int = 80, seed: int = 0) -> np.ndarray:
    """[N, 1, 2]: a smooth path."""
    t = np.arange(count) / 10
    return np.stack([30 * np.sin(t), 5 * t + 10 * np.cos(t / 2)], -1)[:, None]


def steps_of(path: np.ndarray) -> np.ndarray:
    return np.diff(path, axis=0, prepend=path[:1])


def seen_every(path: np.ndarray, every: int, error: float = 0.0, seed: int = 0) -> np.ndarray:
    placed = np.full_like(path, np.nan)
    noise = np.random.default_rng(seed).normal(0, error, path.shape)
    placed[::every] = (path + noise)[::every]
    return placed


def noises(path: np.ndarray, step: float, placed: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full(path.shape[:2], step), np.full(len(path), placed)


def mean_error(found: np.ndarray, path: np.ndarray) -> float:
    return float(np.abs(found - path).mean())


def test_true_witnesses_give_the_true_path() -> None:
    path = walk()
    step_noise, placed_noise = noises(path, 0.1, 1)
    found = fuse(steps_of(path), step_noise, seen_every(path, 5), placed_noise)
    np.testing.assert_allclose(found, path, atol=1e-6)


def test_noisy_placements_are_averaged_along_true_steps() -> None:
    path = walk()
    placed = seen_every(path, 4, error=1.0)
    found = fuse(steps_of(path), noises(path, 0.05, 1)[0], placed, noises(path, 0.05, 1)[1])
    assert mean_error(found, path) < 0.4 * mean_error(placed[::4], path[::4])


def test_drifting_steps_are_held_by_placements() -> None:
    path = walk()
    steps = steps_of(path) + 0.3
    found = fuse(steps, noises(path, 0.3, 0.1)[0], seen_every(path, 4), noises(path, 0.3, 0.1)[1])
    assert mean_error(found, path) < 0.3 < mean_error(path[:1] + np.cumsum(steps, 0), path)


def test_frames_without_a_witness_lie_on_a_straight_line() -> None:
    path = walk()
    placed, steps = seen_every(path, 1), steps_of(path)
    placed[30:40], steps[30:41] = np.nan, 0
    step_noise, placed_noise = noises(path, 0.1, 0.01)
    step_noise[30:41] = 50
    found = fuse(steps, step_noise, placed, placed_noise)
    line = path[29] + np.linspace(0, 1, 12)[1:-1, None, None] * (path[40] - path[29])
    np.testing.assert_allclose(found[30:40], line, atol=0.01)


def test_a_wrong_placement_hardly_counts() -> None:
    path = walk()
    placed = seen_every(path, 4)
    placed[40] += 20
    found = fuse(steps_of(path), noises(path, 0.1, 0.3)[0], placed, noises(path, 0.1, 0.3)[1])
    assert np.abs(found - path).max() < 1.0


def test_it_neither_lags_nor_knows_a_direction_of_time() -> None:
    path = walk()
    placed, steps = seen_every(path, 3, error=1.0), steps_of(path)
    step_noise, placed_noise = noises(path, 0.2, 1)
    found = fuse(steps, step_noise, placed, placed_noise)
    back_steps = np.concatenate([np.zeros((1, 1, 2)), -steps[:0:-1]])
    backwards = fuse(back_steps, step_noise, placed[::-1], placed_noise)[::-1]
    np.testing.assert_allclose(found, backwards, atol=1e-4)


@pytest.mark.parametrize("at", [0, 7, 19])
def test_one_placement_anywhere_is_enough(at: int) -> None:
    path = walk(20)
    placed = np.full_like(path, np.nan)
    placed[at] = path[at]
    found = fuse(steps_of(path), noises(path, 0.1, 1)[0], placed, noises(path, 0.1, 1)[1])
    np.testing.assert_allclose(found, path, atol=1e-6)
