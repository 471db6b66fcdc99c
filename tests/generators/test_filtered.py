from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dseinvert.generators import filtered
from dseinvert.generators.filtered import FilteredLeaky, Lowpass, Resample

SEPARABLE = Lowpass(2, 12, cutoff=16, width=18, rate=128)
RADIAL = Lowpass(2, 12, cutoff=16, width=18, rate=128, radial=True)
UP4 = Lowpass(4, 24, cutoff=8, width=9, rate=128)


def response(kernel: np.ndarray, rate: int, frequency: float, angle: float = 0) -> float:
    """What is left of a wave of that frequency, in cycles per side, and direction."""
    at = (np.arange(len(kernel)) - (len(kernel) - 1) / 2) / rate
    if kernel.ndim == 1:
        return float(kernel @ np.cos(2 * math.pi * frequency * at))
    x, y = np.meshgrid(at, at)
    along = x * math.cos(angle) + y * math.sin(angle)
    return float((kernel * np.cos(2 * math.pi * frequency * along)).sum())


def literal(x: torch.Tensor, outputs: int, up: Lowpass, down: Lowpass, clamp: float | None):
    """Zero insertion, padding, convolution, activation, convolution, every n-th sample."""
    inputs, channels, factor = x.shape[-1], x.shape[1], up.factor
    sparse = torch.zeros(*x.shape[:2], inputs * factor, inputs * factor, dtype=x.dtype)
    sparse[..., ::factor, ::factor] = x
    total = (outputs - 1) * down.factor + 1 - inputs * factor + up.taps + down.taps - 2
    low = (total + factor) // 2
    row = torch.from_numpy(up.design())
    smooth = torch.outer(row, row).expand(channels, 1, -1, -1) * factor**2
    high = F.conv2d(F.pad(sparse, (low, total - low) * 2), smooth, groups=channels)
    high = F.leaky_relu(high, 0.2) * 2**0.5
    high = high if clamp is None else high.clamp(-clamp, clamp)
    taps = torch.from_numpy(down.design())
    kernel = taps if taps.ndim == 2 else torch.outer(taps, taps)
    return F.conv2d(
        high, kernel.expand(channels, 1, -1, -1), stride=down.factor, groups=channels
    ).float()


def test_the_series_for_the_bessel_function_is_exact():
    known = [0.0, 0.440050585745, 0.043472746169, -0.097511828125]  # J1 of 0, 1, 10, 50
    np.testing.assert_allclose(filtered._bessel_j1(np.array([0.0, 1, 10, 50])), known, atol=1e-11)


@pytest.mark.parametrize("filter", [SEPARABLE, RADIAL, UP4])
def test_a_lowpass_keeps_the_constant_and_halves_its_cutoff(filter):
    kernel = filter.design()
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert response(kernel, filter.rate, filter.cutoff) == pytest.approx(0.5, abs=0.08)
    assert abs(response(kernel, filter.rate, filter.cutoff + filter.width)) < 0.02


def test_a_radial_filter_treats_directions_more_alike():
    line = SEPARABLE.design()
    apart = []
    for kernel in (RADIAL.design(), np.outer(line, line)):
        a, b = (response(kernel, 128, 20, angle) for angle in (0, math.pi / 4))
        apart.append(abs(a - b))
    assert apart[0] < apart[1] / 4


def test_a_filter_of_one_tap_is_none():
    assert Lowpass(1, 1, 1, 1, 16).design().tolist() == [1]


@pytest.mark.parametrize("inputs", [7, 40])
@pytest.mark.parametrize(("up", "down", "offset"), [(2, 1, 9), (4, 1, -6), (1, 2, 0), (1, 1, 3)])
def test_resampling_is_its_formula(inputs, up, down, offset):
    taps = np.random.RandomState(0).standard_normal(6 * max(up, down))
    outputs = (inputs * up + 5) // down
    signal = np.random.RandomState(1).standard_normal(inputs)
    wanted = [
        sum(
            taps[s * up + offset - t * down] * signal[s]
            for s in range(inputs)
            if 0 <= s * up + offset - t * down < len(taps)
        )
        for t in range(outputs)
    ]
    resample = Resample(taps, inputs, outputs, up=up, down=down, offset=offset)
    x = torch.from_numpy(signal).float()
    columns = resample.columns(x.expand(2, 3, -1))
    rows = resample.rows(x[:, None, None].expand(-1, 2, 3).contiguous())
    torch.testing.assert_close(columns[1, 2], torch.tensor(wanted).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows[:, 1, 2], columns[1, 2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("down", [SEPARABLE, RADIAL])
@pytest.mark.parametrize(("up", "outputs"), [(SEPARABLE, 22), (SEPARABLE, 12), (UP4, 30)])
def test_the_activation_is_the_published_sequence(up, outputs, down, clamp):
    layer = FilteredLeaky(22, outputs, up, down, clamp)
    x = torch.randn(2, 3, 22, 22, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = literal(x, outputs, up, down, clamp)
    torch.testing.assert_close(layer(x.float()), wanted, rtol=1e-5, atol=2e-6)
    with torch.no_grad():
        torch.testing.assert_close(layer(x.float()), wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("down", [SEPARABLE, RADIAL])
def test_a_few_planes_at_a_time_give_the_same(down):
    layer = FilteredLeaky(12, 12, SEPARABLE, down, 256)
    x = torch.randn(2, 5, 12, 12)
    with torch.no_grad():
        whole = layer(x)
        layer.planes = 3
        torch.testing.assert_close(layer(x), whole, rtol=1e-5, atol=1e-6)


def test_inference_leaves_its_input_alone():
    layer = FilteredLeaky(8, 8, Lowpass(1, 1, 1, 1, 8), Lowpass(1, 1, 1, 1, 8), 0.1)
    x = torch.randn(1, 2, 8, 8)
    before = x.clone()
    with torch.no_grad():
        layer(x)
    assert torch.equal(x, before)
