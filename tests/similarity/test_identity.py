"""Face recognition networks are read by content, see the right part of a crop, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import MissingError
from dseinvert.similarity.identity import (
    FFHQ_POINTS,
    IRSE50,
    TEMPLATE,
    VARIABLE,
    Box,
    MobileFaceNet,
    crop,
    open_identity,
    template_box,
)
from tests.conftest import SHARED

MOBILE = SHARED / "data" / "models" / "identity" / "mobilefacenet-casia.ckpt"


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def pictures(count: int = 3) -> Tensor:
    torch.manual_seed(0)
    return F.interpolate(torch.rand(count, 3, 6, 6) * 2 - 1, 128, mode="bicubic").clamp(-1, 1)


def test_the_points_of_an_ffhq_crop_land_on_the_template() -> None:
    box = template_box()
    scale = 112 / np.array([box.x1 - box.x0, box.y1 - box.y0])
    landed = (np.array(FFHQ_POINTS) - [box.x0, box.y0]) * scale - 0.5
    assert scale[0] == pytest.approx(scale[1])
    assert np.abs(landed - np.array(TEMPLATE)).max() < 2.5  # pixels of 112
    assert np.abs((landed - np.array(TEMPLATE)).mean(0)).max() < 1e-9


def test_a_narrow_face_is_the_middle_of_the_square_one() -> None:
    square, narrow = template_box(), template_box(112, 96)
    pixel = (square.x1 - square.x0) / 112
    assert (narrow.y0, narrow.y1) == pytest.approx((square.y0, square.y1))
    assert narrow.x0 - square.x0 == pytest.approx(8 * pixel)
    assert square.x1 - narrow.x1 == pytest.approx(8 * pixel)


def test_a_point_is_found_where_the_box_puts_it() -> None:
    images = torch.full((1, 3, 224, 224), -1.0)
    images[:, :, 100:104, 60:64] = 1  # centred on 62 / 224, 102 / 224
    box = Box(0.1, 0.2, 0.9, 1.0)
    face = crop(images, box, 112, 112)[0, 0] + 1
    y, x = torch.meshgrid(torch.arange(112) + 0.5, torch.arange(112) + 0.5, indexing="ij")
    at = [float((face * axis).sum() / face.sum()) for axis in (x, y)]
    assert at == pytest.approx(
        [(62 / 224 - 0.1) / 0.8 * 112, (102 / 224 - 0.2) / 0.8 * 112], abs=0.1
    )


def test_an_ir_se50_file_is_recognised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IRSE50().eval()
    names = {*network.state_dict()}
    assert {"body.3.shortcut_layer.0.weight", "body.23.res_layer.5.fc2.weight"} <= names
    assert "body.0.shortcut_layer.0.weight" not in names  # 64 channels stay 64
    torch.save(network.state_dict(), tmp_path / "model_ir_se50.pth")
    identity = open_identity(tmp_path / "model_ir_se50.pth")
    found = identity(pictures())
    assert identity.name == "IR-SE50" and found.shape == (3, 512)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    faces = crop(pictures(), template_box(), 112, 112)
    torch.testing.assert_close(found, F.normalize(network(faces), dim=1), rtol=1e-4, atol=1e-5)


def test_a_mobilefacenet_file_is_recognised_and_sees_each_face_mirrored_as_well(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    network = MobileFaceNet().eval()
    torch.save({"net_state_dict": network.state_dict()}, tmp_path / "net.ckpt")
    identity = open_identity(tmp_path / "net.ckpt")
    images = pictures().requires_grad_()
    found = identity(images)
    faces = crop(images, template_box(112, 96), 112, 96)
    both = torch.cat([network(faces), network(faces.flip(3))], dim=1)
    assert (identity.height, identity.width) == (112, 96) and found.shape == (3, 256)
    torch.testing.assert_close(found, F.normalize(both, dim=1), rtol=1e-4, atol=1e-5)
    found.sum().backward()  # what a loss on it needs
    assert images.grad is not None and images.grad.abs().sum() > 0


class Flat(torch.nn.Module):
    """An embedding that tells what arrived: the mean of nine parts of each colour."""

    def __init__(self, *, last: bool, raw: bool) -> None:
        super().__init__()
        self.last, self.raw = last, raw

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 112, 112], or with colours last -> [B, 12]."""
        if self.raw:
            x = (x - 127.5) * (1 / 127.5)
        x = x.permute(0, 3, 1, 2) if self.last else x
        return F.avg_pool2d(x, 56).flatten(1)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_an_onnx_network_gets_its_own_layout_and_range(
    tmp_path: Path, last: bool, raw: bool, fixed: bool
) -> None:
    pytest.importorskip("onnxruntime")
    shape = (1, 112, 112, 3) if last else (1, 3, 112, 112)
    file = tmp_path / "arcface.onnx"
    axes = None if fixed else {"data": {0: "batch"}, "out": {0: "batch"}}
    torch.onnx.export(
        Flat(last=last, raw=raw),
        (torch.zeros(shape),),
        file,
        input_names=["data"],
        output_names=["out"],
        dynamic_axes=axes,
        dynamo=False,
    )
    faces = crop(pictures(), template_box(), 112, 112)
    expected = F.normalize(F.avg_pool2d(faces, 56).flatten(1), dim=1)
    torch.testing.assert_close(open_identity(file)(pictures()), expected, rtol=1e-4, atol=1e-5)


def test_what_is_no_such_network_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pth")
    state = MobileFaceNet().state_dict()
    del state["conv1.conv.weight"]
    torch.save(state, tmp_path / "short.ckpt")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    for name, said in {
        "gone.pth": "no such file",
        "other.pth": "not a face recognition network",
        "short.ckpt": "conv1.conv.weight",
        "junk.pth": "not a readable file",
        "junk.onnx": "ONNX",
    }.items():
        with pytest.raises(MissingError, match=said) as refused:
            open_identity(tmp_path / name)
        assert name in str(refused.value) and "\n" not in str(refused.value)


def test_the_environment_names_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=VARIABLE):
        open_identity()
    torch.save(MobileFaceNet().state_dict(), tmp_path / "net.ckpt")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "net.ckpt"))
    assert open_identity().name == "MobileFaceNet"


@pytest.mark.skipif(not MOBILE.is_file(), reason="no network beside the checkout")
def test_a_person_is_himself_and_no_other_and_best_seen_through_the_box() -> None:
    from dseinvert.training.pictures import read_tar

    pixels = read_tar(SHARED / "data" / "real-faces-256-validation.tar", 128)[:12]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    identity = open_identity(MOBILE)
    with torch.no_grad():
        own, again = identity(images), identity(images.flip(3) * 0.8)
        beside = identity(images.roll(5, dims=3))  # 4 % of the side
    likeness = own @ again.T
    others = likeness[~torch.eye(12, dtype=torch.bool)]
    assert likeness.diagonal().min() > 0.7 > 0.5 > others.max()
    assert (own * again).sum(1).mean() > (beside * again).sum(1).mean()
