from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import pytorch_msssim
import torch

from dseinvert.video.metrics import (
    WarpError,
    identity,
    jitter,
    jitter_added,
    psnr,
    seam,
    ssim,
)

FACE = np.array([[40.0, 50], [60, 50], [50, 62], [42, 66], [58, 66]])


def turned(degrees: np.ndarray | list[float]) -> np.ndarray:
    """Embeddings [N, 2] at these angles."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def texture(seed: int = 0, size: int = 96) -> np.ndarray:
    picture = np.random.default_rng(seed).uniform(0, 255, (size, size, 3)).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    return (127 + 6 * (picture - picture.mean())).clip(0, 255).astype(np.uint8)


def rolled(k: int) -> np.ndarray:
    return np.roll(texture(), (k, 2 * k), (0, 1))


def test_a_video_is_as_steady_as_itself() -> None:
    own = turned([0, 10, 25, 30])
    found = identity(own, 3 * own)
    assert found.tl_id == found.tg_id == found.video_id == pytest.approx(1)
    assert found.dropped == found.dropped_pairs == 0


def test_identities_by_hand() -> None:
    source, edited = turned([0, 0, 0]), turned([0, 60, 60])
    found = identity(edited, source)
    assert found.tl_id == pytest.approx((0.5 + 1) / 2)
    assert found.tg_id == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found.video_id == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_an_edit_may_be_steadier_than_its_source() -> None:
    assert identity(turned([0, 0, 0]), turned([0, 30, 0])).tl_id > 1


def test_frames_without_a_face_are_dropped_and_counted() -> None:
    edited, source = turned([0, 60, 0, 0]), turned([0, 0, 0, 0])
    edited[1] = np.nan
    found = identity(edited, source)
    assert found.dropped == 1 and found.tl_id == found.tg_id == 1


def test_pairs_whose_source_says_nothing_are_dropped_and_counted() -> None:
    found = identity(turned([0, 0, 0]), turned([0, 0, 90]))
    assert found.tl_id == 1 and found.tg_id == 1
    assert found.dropped_pairs == 3  # one neighbouring, two among all


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_frames_have_no_identity_over_time(count: int) -> None:
    found = identity(turned([0.0] * count).reshape(count, 2), turned([0.0] * count))
    assert math.isnan(found.tl_id) and math.isnan(found.tg_id)


def test_long_videos_are_compared_in_bounded_memory() -> None:
    own = turned(np.linspace(0, 40, 3000))
    assert identity(own, own).tg_id == pytest.approx(1)


def test_a_moving_picture_warps_onto_itself() -> None:
    error = WarpError()
    for k in range(4):
        error.feed(rolled(k), rolled(k))
    assert error.source < 2e-3 and error.ratio == pytest.approx(1) and error.dropped == 0


def test_flicker_of_known_size_is_the_warp_error() -> None:
    still, error = texture() // 2 + 40, WarpError()
    for k in range(6):
        error.feed(still, still + np.uint8(10 * (k % 2)))
    assert error.edited == pytest.approx(3 * (10 / 255) ** 2, rel=1e-4)
    assert error.source == 0 and math.isnan(error.ratio) and error.excess == error.edited


def test_only_the_region_asked_for_is_looked_at() -> None:
    still, region = texture(), np.zeros((96, 96), bool)
    region[:40] = True
    flickering = still.copy()
    flickering[50:] = 0
    error = WarpError()
    error.feed(still, still)
    error.feed(still, flickering, region)
    assert error.edited == 0


def test_a_cut_is_no_warp_error() -> None:
    error = WarpError()
    for seed in (0, 1):
        error.cut()
        error.feed(texture(seed), texture(seed))
    assert math.isnan(error.edited)


def test_steps_that_cannot_be_trusted_are_counted() -> None:
    error = WarpError()
    error.feed(texture(), texture())
    error.feed(texture(), texture(), np.zeros((96, 96), bool))
    assert error.dropped == 1 and math.isnan(error.source)


def test_even_motion_has_no_jitter() -> None:
    path = FACE + np.arange(20)[:, None, None] * [2.0, -1.0]
    assert jitter(path) == pytest.approx(0, abs=1e-12)


def test_jitter_of_known_size() -> None:
    shake = np.where(np.arange(20) % 2, 0.5, -0.5)
    path = FACE + shake[:, None, None] * [1.0, 0.0]
    assert jitter(path) == pytest.approx(2.0 / 20)


def test_an_edit_that_moves_as_its_source_adds_no_jitter() -> None:
    path = FACE + np.random.default_rng(0).normal(0, 2, (20, 1, 2))
    assert jitter_added(path + np.array([3.0, -1.0]), path) == pytest.approx(0, abs=1e-12)


def test_what_an_edit_smooths_away_is_added_jitter_too() -> None:
    shake = np.where(np.arange(20) % 2, 0.5, -0.5)
    path = FACE + shake[:, None, None] * [1.0, 0.0]
    still = FACE + np.zeros((20, 1, 1))
    assert jitter_added(still, path) == pytest.approx(2.0 / 20)
    assert jitter(still) == 0


def test_jitter_of_68_points_and_of_too_few_frames() -> None:
    many = np.zeros((20, 68, 2))
    many[:, 42:48, 0] = 50
    many[::2, :, 1] += 1
    assert jitter(many) == pytest.approx(2 / 50)
    assert math.isnan(jitter(FACE[None].repeat(2, 0)))


def test_frames_without_landmarks_do_not_make_jitter() -> None:
    path = FACE + np.arange(20)[:, None, None] * [2.0, -1.0]
    path[7] = np.nan
    assert jitter(path) == pytest.approx(0, abs=1e-12)


def disc(size: int = 96, radius: float = 25) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return np.clip(radius - np.hypot(x, y), 0, 10) / 10


def test_an_exact_paste_has_no_seam_outside() -> None:
    source, mask = texture(), disc()
    edited = (source + 20 * mask[..., None]).clip(0, 255).astype(np.uint8)
    found = seam(source, edited, mask)
    assert found.outside == 0 and found.step < 3


def test_a_hard_border_is_a_seam() -> None:
    source, mask = np.full((96, 96, 3), 100, np.uint8), disc()
    soft = (source + 40 * mask[..., None]).astype(np.uint8)
    hard = np.where(mask[..., None] > 0, 140, source).astype(np.uint8)
    assert seam(source, hard, mask).step > 1.3 * seam(source, soft, mask).step > 0


def test_a_paste_that_spills_over_is_told() -> None:
    source, mask = texture() // 2, disc()
    found = seam(source, source + np.uint8(7), mask)
    assert found.outside == pytest.approx(7)


def test_nothing_pasted_has_no_seam() -> None:
    assert math.isnan(seam(texture(), texture(), np.zeros((96, 96))).outside)


def test_psnr_by_hand() -> None:
    a = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(a, a + np.uint8(5)) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(a, a) == math.inf


@pytest.mark.parametrize(("size", "window"), [(5, 5), (10, 9), (64, 11)])
def test_ssim_is_the_usual_one(size: int, window: int) -> None:
    a, b = texture(0, 64)[:size, :size], texture(1, 64)[:size, :size]
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None].double() for x in (a, b)]
    usual = pytorch_msssim.ssim(*tensors, data_range=255, win_size=window)
    assert ssim(a, b) == pytest.approx(float(usual), abs=1e-5)
    assert ssim(a, a) == pytest.approx(1)
