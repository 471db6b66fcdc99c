from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dseinvert.training.average import average, share_kept


def test_a_young_average_leans_on_its_newest_weights() -> None:
    assert share_kept(0.99, 0) == 0
    assert share_kept(0.99, 1) == pytest.approx(0.1)
    assert share_kept(0.99, 10**6) == 0.99


def test_statistics_of_norms_are_averaged_and_their_counts_are_not() -> None:
    torch.manual_seed(0)
    new = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    smooth = copy.deepcopy(new)
    for _ in range(3):
        new(torch.randn(8, 3))
    before, now = smooth[1].running_mean.clone(), new[1].running_mean
    with torch.no_grad():
        new[0].weight.add_(1)
    weight = smooth[0].weight.detach().clone()
    average(smooth, new, keep=0.75)
    torch.testing.assert_close(smooth[0].weight, weight + 0.25)
    torch.testing.assert_close(smooth[1].running_mean, 0.75 * before + 0.25 * now)
    assert smooth[1].num_batches_tracked == 3
