from __future__ import annotations

import numpy as np
import pytest

from dseinvert.faces import paste as room
from dseinvert.faces.align import crop, crop_matrix
from dseinvert.faces.paste import (
    agreement,
    change_mask,
    face_mask,
    keep_original,
    mask_weight,
    paste,
    paste_difference,
    tightened,
)

CENTRE = (100.0, 90.0)


def quad_at(
    centre: tuple[float, float] = CENTRE, side: float = 90, degrees: float = 20
) -> np.ndarray:
    angle = np.deg2rad(degrees)
    x = side / 2 * np.array([np.cos(angle), np.sin(angle)])
    y = np.array([-x[1], x[0]])
    return np.array(centre) + np.stack([-x - y, -x + y, x + y, x - y])


def waves(height: int = 180, width: int = 200) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    parts = [np.sin(x / 9), np.cos(y / 11), np.sin((x + y) / 13)]
    return np.stack([127 + 90 * part for part in parts], -1).astype(np.uint8)


def noise(height: int = 180, width: int = 200) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def plain(value: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def inside(photo: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Which pixels of the photo lie within the quad."""
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    matrix = crop_matrix(quad, 1)
    u, v = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return (np.abs(u) < 0.5) & (np.abs(v) < 0.5)


@pytest.mark.parametrize("size", [64, 90, 256])
@pytest.mark.parametrize("degrees", [0, 20, 137])
def test_crop_then_paste_gives_the_photo_back(size: int, degrees: float) -> None:
    photo, quad = waves(), quad_at(degrees=degrees)
    gap = np.abs(paste(photo, crop(photo, quad, size), quad).astype(int) - photo)
    assert gap.max() <= 6 and gap.mean() < 0.4


@pytest.mark.parametrize("size", [16, 64, 400])
def test_pixels_outside_the_quad_are_bit_identical(size: int) -> None:
    photo, quad = noise(), quad_at()
    for result in (
        paste(photo, plain(255, size), quad),
        paste(photo, plain(255, size), quad, match_color=True),
        paste_difference(photo, plain(255, size), plain(0, size), quad),
    ):
        outside = ~inside(photo, quad)
        np.testing.assert_array_equal(result[outside], photo[outside])


def test_the_middle_of_the_patch_arrives_whole() -> None:
    result = paste(noise(), plain(201), quad_at())
    assert (result[70:110, 80:120] == 201).all()


def test_the_patch_lands_where_it_was_cut() -> None:
    patch = plain(0, 64)
    patch[12:20, 40:48] = 255
    quad = quad_at(degrees=30)
    result = paste(np.zeros((180, 200, 3), np.uint8), patch, quad)
    spot = quad[0] + (quad[3] - quad[0]) * 44 / 64 + (quad[1] - quad[0]) * 16 / 64
    weight = result[..., 0].astype(float)
    y, x = np.mgrid[:180, :200]
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    np.testing.assert_allclose(found, spot, atol=0.6)


def test_the_blend_has_no_edge() -> None:
    result = paste(np.zeros((180, 200, 3), np.uint8), plain(255), quad_at())
    steps = np.abs(np.diff(result[..., 0].astype(int), axis=1)).max()
    assert 0 < steps < 255 / 5


def test_a_small_patch_is_enlarged_smoothly() -> None:
    ramp = np.repeat(np.linspace(0, 255, 16)[None, :, None], 16, 0).repeat(3, -1).astype(np.uint8)
    photo = np.zeros((700, 700, 3), np.uint8)
    result = paste(photo, ramp, quad_at((350, 350), 640, 0)).astype(int)
    row = result[350, 180:520, 0]
    assert (np.diff(row) >= 0).all() and np.diff(row).max() <= 2


def test_a_large_patch_is_shrunk_without_aliasing() -> None:
    y, x = np.mgrid[:512, :512]
    chequers = np.repeat((((x + y) % 2) * 255)[..., None], 3, -1).astype(np.uint8)
    result = paste(np.full((180, 200, 3), 127, np.uint8), chequers, quad_at())
    assert np.abs(result.astype(int) - 127).max() <= 6


@pytest.mark.parametrize("roundness", [2.0, 4.0, 9.0])
@pytest.mark.parametrize("feather", [0.05, 0.3, 1.0])
def test_the_mask_is_one_in_the_middle_and_exactly_zero_at_the_border(
    roundness: float, feather: float
) -> None:
    edge = np.linspace(-1, 1, 201)
    for u, v in ((edge, np.ones(201)), (-np.ones(201), edge), (edge * 1.5, np.full(201, 1.01))):
        assert (mask_weight(u, v, feather, roundness) == 0).all()
    assert mask_weight(np.zeros(1), np.zeros(1), feather, roundness) == 1


def test_the_mask_falls_steadily_outwards() -> None:
    along = mask_weight(np.linspace(0, 1, 500), np.zeros(500))
    assert (np.diff(along) <= 0).all() and np.abs(np.diff(along)).max() < 0.02


def test_colour_matching_takes_away_a_tint() -> None:
    photo, quad = waves(), quad_at()
    tint = np.array([20, -15, 8])
    tinted = (crop(photo, quad, 64) + tint).clip(0, 255).astype(np.uint8)
    plain_gap = np.abs(paste(photo, tinted, quad).astype(int) - photo).mean()
    matched = np.abs(paste(photo, tinted, quad, match_color=True).astype(int) - photo).mean()
    assert matched < plain_gap / 4


def test_a_difference_of_nothing_returns_the_photo_bit_for_bit() -> None:
    photo, patch = noise(), waves(64, 64)
    np.testing.assert_array_equal(paste_difference(photo, patch, patch, quad_at()), photo)


def test_a_difference_keeps_the_detail_of_the_photo() -> None:
    photo = (noise() // 4 + 90).astype(np.uint8)
    result = paste_difference(photo, plain(130), plain(100), quad_at())
    middle = np.s_[75:105, 85:115]
    np.testing.assert_array_equal(result[middle], photo[middle] + 30)


def test_a_difference_of_both_signs_is_clipped_not_wrapped() -> None:
    photo = noise()
    bright = paste_difference(photo, plain(255), plain(0), quad_at())
    dark = paste_difference(photo, plain(0), plain(255), quad_at())
    assert (bright >= photo).all() and (dark <= photo).all()


@pytest.mark.parametrize("centre", [(0.0, 0.0), (199.0, 90.0), (100.0, 190.0)])
def test_a_quad_over_the_border_is_pasted_as_far_as_the_photo_goes(
    centre: tuple[float, float],
) -> None:
    photo = noise()
    result = paste(photo, plain(255), quad_at(centre))
    assert result.shape == photo.shape and (result != photo).any()
    outside = ~inside(photo, quad_at(centre))
    np.testing.assert_array_equal(result[outside], photo[outside])


@pytest.mark.parametrize("centre", [(-500.0, 0.0), (100.0, 900.0)])
def test_a_quad_wholly_outside_changes_nothing(centre: tuple[float, float]) -> None:
    photo = noise()
    for match in (False, True):
        result = paste(photo, plain(9), quad_at(centre), match_color=match)
        np.testing.assert_array_equal(result, photo)


def test_the_photo_and_the_patch_are_not_changed() -> None:
    photo, patch = noise(), waves(64, 64)
    before = photo.copy(), patch.copy()
    result = paste(photo, patch, quad_at(), match_color=True)
    paste_difference(photo, patch, plain(0), quad_at())
    np.testing.assert_array_equal(photo, before[0])
    np.testing.assert_array_equal(patch, before[1])
    assert not np.shares_memory(result, photo)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_a_reconstruction_is_trusted_where_it_shows_the_same_in_any_light(size: int) -> None:
    recon = waves(size, size) // 2
    slope = np.linspace(0, 40, size)[:, None, None]
    assert agreement(recon, recon).min() > 0.999
    assert agreement((recon + slope).astype(np.uint8), recon).min() > 0.9


def test_what_the_reconstruction_shows_otherwise_is_not_trusted_nor_what_is_near() -> None:
    original, recon = plain(180, 256), plain(180)
    original[160:180, 96:160] = (90, 20, 30)  # an open mouth
    trust = agreement(original, recon)
    assert trust.shape == (64, 64) and trust.min() >= 0 and trust.max() <= 1
    assert trust[40:45, 26:38].max() < 0.1 and trust[38, 32] < 0.5
    assert trust[:24].min() > 0.95


def test_an_untrusted_change_is_not_pasted() -> None:
    photo, trust = noise(), np.ones((64, 64), np.float32)
    trust[:, 32:] = 0
    result = paste_difference(photo, plain(130), plain(100), quad_at(degrees=0), trust=trust)
    assert (result[70:110, 64:95] != photo[70:110, 64:95]).any()
    np.testing.assert_array_equal(result[:, 106:], photo[:, 106:])


def test_a_rim_is_tightened_where_the_change_is_large_and_only_there() -> None:
    mask = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (128, 1))
    change = np.zeros((64, 64, 3), np.float32)
    change[40:] = -60
    found = tightened(mask, change)
    np.testing.assert_allclose(found[:60], mask[:60], atol=1e-6)
    np.testing.assert_allclose(found[100:], mask[100:] ** 5, atol=1e-5)
    assert (found[:, [0, -1]] == mask[:, [0, -1]]).all() and (found <= mask + 1e-6).all()


def test_outside_the_mask_the_original_stays_bit_for_bit() -> None:
    original, edited, recon = noise(64, 64), plain(200), plain(100)
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 0.5
    kept = keep_original(original, edited, recon, mask)
    outside = mask == 0
    np.testing.assert_array_equal(kept[outside], original[outside])
    expected = np.minimum(original[~outside].astype(int) + 50, 255)
    np.testing.assert_array_equal(kept[~outside], expected)


def test_the_automatic_mask_is_where_the_edit_changed_much() -> None:
    recon, edited = plain(100), plain(102)  # everywhere a little
    edited[40:56, 24:40] = 160
    mask = change_mask(edited, recon)
    assert mask[44:52, 28:36].min() == 1
    assert mask[:30].max() == 0 and mask[:, :14].max() == 0
    assert ((mask[48, 14:28] > 0.05) & (mask[48, 14:28] < 0.95)).sum() > 1  # no hard edge
    assert change_mask(recon, recon).max() == 0


def test_the_automatic_mask_leaves_out_a_tint_beyond_the_head() -> None:
    """A veil of 20 levels behind the head; hair that turns white, of 120, at its edge, is taken."""
    recon = plain(100)
    y, x = np.mgrid[:64, :64]
    veil = 20 * np.exp(-((x - 62) ** 2 + (y - 20) ** 2) / 400)
    edited = recon + np.rint(veil[..., None] * [0.5, 0.7, 1]).astype(np.uint8)
    edited[24:48, 22:42] = 160
    mask = change_mask(edited, recon)
    assert mask[:, 60:].max() < 0.02 and mask[30:40, 28:36].min() == 1
    edited[4:24, 8:16] = 220
    assert change_mask(edited, recon)[8:20, 10:14].min() > 0.8


@pytest.mark.parametrize("side", [64, 256])
def test_the_face_mask_holds_the_features_and_not_the_background(side: int) -> None:
    mask = face_mask(side)
    for x, y in ((0.377, 0.4675), (0.623, 0.4675), (0.5, 0.6155), (0.387, 0.728), (0.613, 0.728)):
        assert mask[int(y * side), int(x * side)] > 0.8
    assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0 and mask[side // 8].max() == 0


def test_a_large_window_is_pasted_in_strips_that_do_not_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(60, 200, (300, 260, 3), dtype=np.uint8)
    before, after = (rng.integers(80, 160, (16, 16, 3), dtype=np.uint8) for _ in range(2))
    quad = np.array([[20.0, 30], [35, 260], [245, 250], [230, 20]])
    at_once = paste_difference(photo, after, before, quad)
    monkeypatch.setattr(room, "_WHOLE", 1000)
    monkeypatch.setattr(room, "_STRIP", 2000)
    in_strips = paste_difference(photo, after, before, quad)
    assert np.abs(at_once.astype(int) - in_strips).max() <= 1
    assert (at_once != photo).any()
