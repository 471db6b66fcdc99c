from __future__ import annotations

import numpy as np
import pytest

from dseinvert.faces.align import crop, face_quad
from dseinvert.video.blend import blend, face_mask, mask_in_frame, rim_offset

POINTS = np.array([[80.0, 70], [110, 76], [92, 92], [76, 108], [102, 113]])
QUAD = face_quad(POINTS)
MASK = face_mask(POINTS, QUAD)


def waves(height: int = 180, width: int = 200) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    parts = [np.sin(x / 9), np.cos(y / 11), np.sin((x + y) / 13)]
    return np.stack([127 + 90 * part for part in parts], -1).astype(np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


def plain(value: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def in_frame(frame: np.ndarray, quad: np.ndarray = QUAD, mask: np.ndarray = MASK) -> np.ndarray:
    window, weight = mask_in_frame(frame, quad, mask)
    whole = np.zeros(frame.shape[:2], np.float32)
    whole[window] = weight
    return whole


def test_the_mask_holds_the_face_and_ends_before_the_crop() -> None:
    for x, y in POINTS.round().astype(int):
        assert in_frame(waves())[y, x] == 1
    assert MASK.min() == 0 and MASK.max() == 1
    for border in (MASK[:2], MASK[-2:], MASK[:, :2], MASK[:, -2:]):
        assert (border == 0).all()


def test_a_grown_mask_covers_the_usual_one_and_ends_before_the_crop_too() -> None:
    grown = face_mask(POINTS, QUAD, grown=1.15)
    assert (grown >= MASK).all() and grown.sum() > 1.1 * MASK.sum()
    assert (grown[MASK > 0] > 0).all() and (grown[[0, -1]] == 0).all()


def test_the_mask_is_narrower_on_the_far_side_of_a_turned_head() -> None:
    straight = POINTS.copy()
    straight[2] = (POINTS[:2].mean(0) + POINTS[3:].mean(0)) / 2
    turned = straight.copy()
    turned[2] += 0.3 * (POINTS[1] - POINTS[0])
    x = np.arange(256)
    quad = face_quad(straight)  # its columns run from the left eye to the right one
    both = [face_mask(points, quad).sum(0) for points in (straight, turned)]
    middle = int(np.average(x, weights=both[0]))
    ahead = slice(middle + 8, None)
    assert both[1][ahead].sum() < 0.85 * both[0][ahead].sum()
    np.testing.assert_allclose(both[1][: middle - 8], both[0][: middle - 8], rtol=1e-5)


def test_the_mask_rises_softly() -> None:
    assert max(np.abs(np.diff(MASK, axis=k)).max() for k in (0, 1)) < 0.1


@pytest.mark.parametrize("degrees", [0, 30, -75])
def test_the_mask_turns_and_moves_with_the_face(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (POINTS - 90) @ turn * 1.7 + 300
    np.testing.assert_allclose(face_mask(points, face_quad(points)), MASK, atol=1e-4)


def test_a_mask_made_for_a_smoothed_quad_stays_on_the_face() -> None:
    shifted = face_mask(POINTS, QUAD + 1)
    frame = np.zeros((180, 200, 3), np.uint8)
    one, other = in_frame(frame), in_frame(frame, QUAD + 1, shifted)
    assert np.abs(one - other).max() < 0.1


@pytest.mark.parametrize("mode", ["difference", "replace"])
@pytest.mark.parametrize("size", [16, 64, 400])
@pytest.mark.parametrize("shift", [0, -70, 90])
def test_outside_the_mask_nothing_changes_by_a_bit(mode: str, size: int, shift: int) -> None:
    frame, quad = noise(180, 200), QUAD + shift
    result = blend(frame, quad, plain(255, size), plain(0, size), MASK, mode)  # type: ignore[arg-type]
    outside = in_frame(frame, quad) == 0
    np.testing.assert_array_equal(result[outside], frame[outside])
    assert outside.mean() > 0.3 and (result != frame).any()


def test_an_edit_that_changes_nothing_returns_the_frame() -> None:
    frame, patch = noise(180, 200), noise(64, 64)
    np.testing.assert_array_equal(blend(frame, QUAD, patch, patch, MASK), frame)


def test_the_difference_is_added_and_the_detail_kept() -> None:
    frame = waves() // 2
    result = blend(frame, QUAD, plain(130), plain(100), MASK)
    change = result.astype(int) - frame
    assert (change[in_frame(frame) == 1] == 30).all()


def test_replacing_shows_the_edited_crop() -> None:
    result = blend(noise(180, 200), QUAD, plain(201), plain(0), MASK, "replace")
    assert (result[in_frame(result) == 1] == 201).all()


def test_a_crop_replaced_by_itself_is_the_frame_again() -> None:
    frame = waves()
    patch = crop(frame, QUAD, 256)
    gap = np.abs(blend(frame, QUAD, patch, patch, MASK, "replace").astype(int) - frame)
    assert gap.max() <= 4 and gap.mean() < 0.2


def test_the_offset_takes_a_cast_off_the_rim() -> None:
    frame = waves()
    patch = crop(frame, QUAD, 64)
    cast = (patch + np.array([20, -15, 5])).clip(0, 255).astype(np.uint8)
    offset = rim_offset(patch, cast, MASK)
    np.testing.assert_allclose(offset[2:6, 2:6].mean((0, 1)), [-20, 15, -5], atol=2)
    before, after = (
        np.abs(blend(frame, QUAD, cast, cast, MASK, "replace", field).astype(int) - frame).mean()
        for field in (None, offset)
    )
    assert after < 0.35 * before


def test_a_cast_that_differs_across_the_face_is_met_on_each_side() -> None:
    wanted, edited = plain(120), plain(100)
    edited[:, 32:] = 140
    offset = rim_offset(wanted, edited, MASK)
    assert offset[4, 1, 0] > 12 and offset[4, 6, 0] < -12


def test_what_lies_off_the_rim_does_not_move_the_offset() -> None:
    wanted, edited = plain(120), plain(120)
    edited[28:36, 28:36] = 255
    edited[:3] = 0
    assert np.abs(rim_offset(wanted, edited, MASK)).max() < 1


def test_an_empty_mask_changes_nothing() -> None:
    frame, empty = noise(180, 200), np.zeros_like(MASK)
    offset = rim_offset(plain(255), plain(0), empty)
    assert np.isfinite(offset).all()
    np.testing.assert_array_equal(
        blend(frame, QUAD, plain(255), plain(0), empty, "replace", offset), frame
    )
