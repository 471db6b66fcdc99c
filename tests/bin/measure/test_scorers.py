"""The scorers read their weights right: known geometry, known people."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dseinvert.errors import MissingError
from dseinvert.training.pictures import read_tar
from measure import scorers
from recipe.labels.labelled import read_labelled
from tests.conftest import SHARED

MODELS = SHARED / "data" / "models"
needs_data = pytest.mark.skipif(not MODELS.is_dir(), reason="no scorers beside the checkout")


def faces(name: str, side: int, count: int) -> torch.Tensor:
    pixels = read_tar(SHARED / "data" / name, side)[:count]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def test_the_whole_box_is_the_image() -> None:
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(scorers.crop(images, scorers.WHOLE, 32, 32), images)


def test_a_box_is_cut_where_it_says() -> None:
    images = torch.zeros(1, 3, 40, 40)
    images[:, :, 10:30, 20:40] = 1
    part = scorers.crop(images, scorers.Box(0.5, 0.25, 1, 0.75), 20, 20)
    torch.testing.assert_close(part[..., 1:-1, 1:-1], torch.ones(1, 3, 18, 18))


@pytest.mark.parametrize(("size", "kernel", "stride"), [(112, 3, 2), (7, 3, 2), (9, 3, 1)])
def test_same_padding_gives_the_size_of_tensorflow(size: int, kernel: int, stride: int) -> None:
    padded = scorers.pad_same(torch.ones(1, 1, size, size), kernel, stride)
    assert F.max_pool2d(padded, kernel, stride).shape[-1] == math.ceil(size / stride)
    assert padded[0, 0, -1, -1] == 0


@pytest.mark.parametrize("degrees", [-30, 0, 15, 40])
def test_yaw_is_read_from_a_turned_head(degrees: float) -> None:
    turn = math.radians(degrees)
    head = torch.tensor(scorers.HEAD, dtype=torch.float32)
    points = torch.zeros(1, 68, 2)
    turned_x = head[:, 0] * math.cos(turn) + head[:, 2] * math.sin(turn)
    points[0, list(scorers.HEAD_POINTS)] = 0.001 * torch.stack([turned_x, head[:, 1]], dim=1)
    assert float(scorers.yaw(points)) == pytest.approx(degrees, abs=0.01)


@pytest.mark.parametrize("degrees", [-20, 0, 15])
def test_pitch_is_read_from_a_nodding_head(degrees: float) -> None:
    nod = math.radians(degrees)
    head = torch.tensor(scorers.HEAD, dtype=torch.float32)
    points = torch.zeros(1, 68, 2)
    nodding_y = head[:, 1] * math.cos(nod) + head[:, 2] * math.sin(nod)
    points[0, list(scorers.HEAD_POINTS)] = 0.001 * torch.stack([head[:, 0], nodding_y], dim=1)
    assert float(scorers.pitch(points)) == pytest.approx(degrees, abs=0.01)


def test_the_mask_of_a_head_holds_face_and_hair_and_leaves_the_corners() -> None:
    points = torch.full((1, 68, 2), 0.5)
    points[0, :17, 0] = torch.linspace(0.3, 0.7, 17)
    points[0, 17:27, 1], points[0, 8, 1] = 0.4, 0.8
    mask = scorers.head_mask(points, 100)[0]
    assert mask[50, 50] and mask[79, 50] and mask[10, 50] and mask[50, 30] and mask[50, 70]
    assert not any(mask[y, x] for y in (0, 99) for x in (0, 99))
    assert not mask[90, 50] and not mask[50, 12]


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="mobilefacenet"):
        scorers.recognition(tmp_path)


@pytest.mark.skipif(not importlib.util.find_spec("stlpips_pytorch"), reason="no ST-LPIPS")
def test_st_lpips_grows_with_the_difference() -> None:
    distance = scorers.STLPIPS()
    image = F.interpolate(torch.rand(1, 3, 8, 8) * 2 - 1, 64, mode="bilinear")
    noise = torch.randn(1, 3, 64, 64)
    near, far = (float(distance(image, image + scale * noise)) for scale in (0.02, 0.2))
    assert float(distance(image, image)) == 0
    assert 0 < near < far


@needs_data
def test_a_person_is_like_himself_and_unlike_others() -> None:
    images = faces("real-faces-256-validation.tar", 256, 12)
    identity = scorers.recognition(MODELS)
    own = identity(images)
    dimmed = identity(images.flip(3) * 0.8)
    likeness = own @ dimmed.T
    others = likeness[~torch.eye(12, dtype=torch.bool)]
    assert likeness.diagonal().min() > 0.7 > 0.5 > others.max()


@needs_data
def test_age_follows_the_years() -> None:
    tar = SHARED / "data" / "aged-faces-200-tight.tar"
    images, labels = read_labelled(tar, "ages.csv", side=112)
    ages, _ = scorers.AgeGender(MODELS)(images[:100], scorers.WHOLE)
    assert np.corrcoef(ages.numpy(), labels["age_years"][:100])[0, 1] > 0.85


@needs_data
def test_landmarks_lie_where_ffhq_puts_the_eyes() -> None:
    points = scorers.Landmarks(MODELS)(faces("real-faces-256-validation.tar", 256, 20))
    left, right = points[:, 36:42].mean((0, 1)), points[:, 42:48].mean((0, 1))
    torch.testing.assert_close(left, torch.tensor([0.377, 0.4675]), atol=0.02, rtol=0)
    torch.testing.assert_close(right, torch.tensor([0.623, 0.4675]), atol=0.02, rtol=0)
