from __future__ import annotations

import numpy as np
import pytest

from dseinvert.faces.align import crop_matrix
from dseinvert.video.smooth import (
    auto_strengths,
    kernel,
    quads,
    row_sigmas,
    smooth,
    smooth_quads,
    smooth_stream,
)

FACE = np.array([[40.0, 50], [60, 50], [50, 62], [42, 72], [58, 72]])
REGULAR = np.arange(100) / 25
IRREGULAR = np.cumsum(np.random.default_rng(0).choice([1 / 60, 1 / 25, 1 / 10, 0.3], 100))


def moved(shift: np.ndarray) -> np.ndarray:
    """Faces [N, 5, 2] shifted by [N, 2]."""
    return FACE + np.asarray(shift)[:, None]


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["regular", "irregular"])
@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_linear_motion_is_kept_exactly_to_both_ends(times: np.ndarray, sigma: float) -> None:
    line = np.stack([3 * times - 7, 100 - 20 * times], -1)
    np.testing.assert_allclose(smooth(times, line, sigma), line, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_a_step_is_smoothed_evenly_to_both_sides(sigma: float) -> None:
    step = (np.arange(101) >= 50).astype(float)
    step[50] = 0.5
    result = smooth(np.arange(101) / 25, step, sigma)
    np.testing.assert_allclose(result + result[::-1], 1, atol=1e-9)
    assert result[50] == pytest.approx(0.5)


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["regular", "irregular"])
def test_smoothing_backwards_gives_the_same(times: np.ndarray) -> None:
    values = np.random.default_rng(1).normal(size=(100, 3))
    backwards = smooth(-times[::-1], values[::-1], 0.1)[::-1]
    np.testing.assert_allclose(smooth(times, values, 0.1), backwards, atol=1e-9)


def test_a_sine_keeps_its_phase_and_loses_what_a_gaussian_takes() -> None:
    times = np.arange(400) / 25
    wave = np.exp(2j * np.pi * times * 1.5)
    middle = slice(50, -50)
    parts = smooth(times, np.stack([wave.real, wave.imag], -1), 0.08)[middle]
    gain = (parts[:, 0] + 1j * parts[:, 1]) / wave[middle]
    np.testing.assert_allclose(gain.imag, 0, atol=1e-9)
    np.testing.assert_allclose(gain.real, np.exp(-0.5 * (2 * np.pi * 1.5 * 0.08) ** 2), atol=5e-3)


def test_the_ends_do_not_shrink_towards_the_middle() -> None:
    times = np.arange(50) / 25
    ramp = times + np.random.default_rng(2).normal(0, 0.01, 50)
    result = smooth(times, ramp, 0.3)
    assert result[0] < 0.02 and result[-1] > times[-1] - 0.02


def test_a_constant_across_odd_times_is_not_drawn_to_where_frames_crowd() -> None:
    times = np.concatenate([np.linspace(0, 0.1, 30), np.linspace(0.2, 2, 10)])
    np.testing.assert_allclose(smooth(times, np.full(40, 5.0), 0.2), 5)


def test_what_cannot_be_trusted_counts_less() -> None:
    values, weights = np.zeros(100), np.ones(100)
    values[50], weights[50] = 10, 1e-3
    trusting, wary = smooth(REGULAR, values, 0.1), smooth(REGULAR, values, 0.1, weights)
    assert abs(wary[50]) < 0.01 * trusting[50]


@pytest.mark.parametrize("sigma", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_tracks_are_no_special_case(count: int, sigma: float) -> None:
    values = np.arange(count, dtype=float)
    np.testing.assert_allclose(smooth(REGULAR[:count], values, sigma), values, atol=1e-9)


def test_a_kernel_sums_to_one_and_sees_where_it_is() -> None:
    apart = IRREGULAR[:20] - IRREGULAR[3]
    shares = kernel(apart, 0.2)
    assert shares.sum() == pytest.approx(1) and shares @ apart == pytest.approx(0, abs=1e-12)


def test_strength_0_leaves_quads_as_they_are() -> None:
    noisy = quads(moved(np.random.default_rng(0).normal(size=(100, 2))))
    np.testing.assert_allclose(smooth_quads(REGULAR, noisy, 0.0), noisy)


@pytest.mark.parametrize("strength", [0.5, 1.0, "auto"])
def test_smoothed_quads_are_squares(strength) -> None:
    points = moved(np.zeros((100, 2))) + np.random.default_rng(0).normal(size=(100, 5, 2))
    for quad in smooth_quads(REGULAR, quads(points), strength):
        turn = crop_matrix(quad, 1)[:, :2]
        product = turn @ turn.T
        np.testing.assert_allclose(product, product[0, 0] * np.eye(2), atol=1e-12)


@pytest.mark.parametrize("strength", [0.5, 1.0, "auto"])
def test_jitter_is_halved_at_least(strength) -> None:
    rng = np.random.default_rng(0)
    sway = np.stack([15 * np.sin(REGULAR * 2), 5 * np.cos(REGULAR)], -1)
    still = quads(moved(sway))
    shaky = quads(moved(sway) + rng.normal(0, 0.4, (100, 5, 2)))
    smoothed = smooth_quads(REGULAR, shaky, strength)
    bends = [np.abs(np.diff(path - still, 2, axis=0)).mean() for path in (shaky, smoothed)]
    assert bends[1] < 0.5 * bends[0]
    assert np.abs(smoothed - still).mean() < np.abs(shaky - still).mean()


def test_the_centre_is_smoothed_less_than_the_axes() -> None:
    shares = 1 + 0.1 * np.sin(REGULAR * 10)
    pulsing = quads(FACE.mean(0) + shares[:, None, None] * (FACE - FACE.mean(0)))
    swaying = quads(moved(np.stack([5 * np.sin(REGULAR * 10), 0 * REGULAR], -1)))
    pulse, sway = (smooth_quads(REGULAR, path, 0.5) for path in (pulsing, swaying))

    def kept(after: np.ndarray, before: np.ndarray) -> float:
        return float(np.std(after) / np.std(before))

    axes = kept((pulse[:, 3] - pulse[:, 0])[20:-20, 0], (pulsing[:, 3] - pulsing[:, 0])[20:-20, 0])
    assert kept(sway.mean(1)[20:-20, 0], swaying.mean(1)[20:-20, 0]) > 0.9 > 0.6 > axes


def test_auto_smooths_jitter_fully_and_lets_quick_heads_go() -> None:
    rng = np.random.default_rng(0)
    jittery = quads(moved(rng.normal(0, 0.2, (100, 2))))
    shaking = quads(moved(np.stack([12 * np.sin(REGULAR * 25), 0 * REGULAR], -1)))
    assert auto_strengths(REGULAR, jittery)[0] == 1.0
    assert auto_strengths(REGULAR, shaking)[0] < 0.3
    crop = smooth_quads(REGULAR, shaking, "auto").mean(1)
    side = np.hypot(*(shaking[0, 3] - shaking[0, 0]))
    assert np.quantile(np.abs(crop - shaking.mean(1)), 0.95) < 0.02 * side


@pytest.mark.parametrize("rows", [1, 2, 10, 18])
def test_late_rows_are_smoothed_more_than_early_ones(rows: int) -> None:
    sigmas = row_sigmas(rows, 1.0)
    assert len(sigmas) == rows and (np.diff(sigmas) >= 0).all() and sigmas[0] <= 0.05
    assert rows < 18 or sigmas[-1] > 10 * sigmas[0]
    assert (row_sigmas(rows, 0.0) == 0).all()


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["regular", "irregular"])
def test_streaming_gives_what_smoothing_at_once_gives(times: np.ndarray) -> None:
    codes = np.random.default_rng(0).normal(size=(100, 4, 6)).astype(np.float32)
    sigmas = [0.0, 0.05, 0.2, 0.5]
    streamed = list(smooth_stream(zip(times, codes, range(100), strict=True), sigmas))
    assert [payload for _, payload in streamed] == list(range(100))
    for row, sigma in enumerate(sigmas):
        at_once = smooth(times, codes[:, row], sigma)
        np.testing.assert_allclose([a[row] for a, _ in streamed], at_once, atol=1e-5)


def test_one_sigma_serves_arrays_of_any_shape() -> None:
    fields = np.random.default_rng(0).normal(size=(30, 8, 8, 3))
    streamed = smooth_stream(((k / 25, field, None) for k, field in enumerate(fields)), 0.1)
    np.testing.assert_allclose(
        [field for field, _ in streamed], smooth(REGULAR[:30], fields, 0.1), atol=1e-5
    )


def test_streaming_waits_no_longer_than_it_must() -> None:
    fed = []

    def items():
        for k in range(300):
            fed.append(k)
            yield k / 25, np.zeros(3), k

    waits = [len(fed) - k for _, k in smooth_stream(items(), 0.1)]
    assert max(waits) <= 3.5 * 0.1 * 25 + 2


def test_nothing_in_nothing_out() -> None:
    assert list(smooth_stream([], 0.1)) == []
