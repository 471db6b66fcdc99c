from __future__ import annotations

import json

import numpy as np
import pytest

from dseinvert.errors import InputError
from dseinvert.faces.align import (
    crop,
    crop_matrix,
    face_quad,
    matrix_to_list,
    quad_from_matrix,
    quad_side,
)

FACE = np.array([[80, 100], [140, 96], [111, 130], [88, 162], [136, 158]], np.float64)


def turned(
    points: np.ndarray, degrees: float, scale: float = 1, shift: tuple[float, float] = (0, 0)
) -> np.ndarray:
    angle = np.deg2rad(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ rotation.T + shift


def square(x: float, y: float, side: float) -> np.ndarray:
    """A level quad whose first pixel's centre is x, y and which is `side` pixels wide."""
    return np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * side + np.array([x - 0.5, y - 0.5])


def waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    parts = [np.sin(x / 9), np.cos(y / 11), np.sin((x + y) / 13)]
    return np.stack([127 + 90 * part for part in parts], -1).astype(np.uint8)


def test_an_upright_face_gets_the_quad_of_the_ffhq_recipe() -> None:
    points = np.array([[40, 50], [80, 50], [60, 70], [45, 90], [75, 90]])
    # Eyes 40 apart and 40 above the mouth: half a side is max(2 * 40, 1.8 * 40) = 80,
    # the centre a tenth of the way from the eyes (60, 50) to the mouth.
    expected = [[-20, -26], [-20, 134], [140, 134], [140, -26]]
    np.testing.assert_allclose(face_quad(points), expected)


def test_a_long_face_is_measured_by_its_eye_to_mouth_distance() -> None:
    points = np.array([[50, 50], [70, 50], [60, 80], [55, 110], [65, 110]])
    assert quad_side(face_quad(points)) == pytest.approx(2 * 1.8 * 60)


@pytest.mark.parametrize("degrees", [-170, -40, 15, 90])
def test_the_quad_turns_scales_and_moves_with_the_face(degrees: float) -> None:
    moved = face_quad(turned(FACE, degrees, 2.5, (300, -20)))
    np.testing.assert_allclose(moved, turned(face_quad(FACE), degrees, 2.5, (300, -20)))


def test_the_quad_is_a_square_in_the_order_of_its_name() -> None:
    top_left, bottom_left, bottom_right, top_right = face_quad(FACE)
    np.testing.assert_allclose(bottom_left - top_left, bottom_right - top_right)
    assert (bottom_left - top_left) @ (top_right - top_left) == pytest.approx(0, abs=1e-9)
    assert top_left[0] < top_right[0] and top_left[1] < bottom_left[1]


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_points_that_span_no_face_are_refused(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="do not span a face"):
        face_quad(points)


def test_the_matrix_takes_the_quad_to_the_borders_of_the_crop() -> None:
    quad = face_quad(FACE)
    matrix = crop_matrix(quad, 256)
    corners = quad @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(corners, square(0, 0, 256), atol=1e-9)


def test_a_matrix_survives_text_to_the_last_bit() -> None:
    matrix = crop_matrix(face_quad(FACE), 128)
    back = json.loads(json.dumps(matrix_to_list(matrix)))
    np.testing.assert_array_equal(np.reshape(back, (2, 3)), matrix)


def test_a_crop_by_the_quad_of_a_matrix_equals_the_crop_by_the_quad() -> None:
    photo, quad = waves(220, 220), face_quad(FACE)
    again = crop(photo, quad_from_matrix(crop_matrix(quad, 64), 64), 64)
    assert np.abs(again.astype(int) - crop(photo, quad, 64)).max() <= 1


def test_the_quad_comes_back_from_its_matrix() -> None:
    quad = face_quad(FACE)
    np.testing.assert_allclose(quad_from_matrix(crop_matrix(quad, 128), 128), quad, atol=1e-9)


def test_a_crop_on_the_pixel_grid_is_a_copy() -> None:
    photo = waves(90, 120)
    np.testing.assert_array_equal(crop(photo, square(30, 20, 48), 48), photo[20:68, 30:78])


def test_a_whole_photo_cropped_at_its_own_size_is_a_copy() -> None:
    photo = waves(64, 64)
    np.testing.assert_array_equal(crop(photo, square(0, 0, 64), 64), photo)


@pytest.mark.parametrize("size", [32, 100, 400])
def test_a_turned_crop_of_a_smooth_photo_has_the_photos_values(size: int) -> None:
    photo, quad = waves(260, 260), turned(square(0, 0, 120), 25, 1, (110, 40))
    steps = (np.arange(size) + 0.5) / size
    x, y = np.moveaxis(
        quad[0]
        + steps[None, :, None] * (quad[3] - quad[0])
        + steps[:, None, None] * (quad[1] - quad[0]),
        -1,
        0,
    )
    expected = 127 + 90 * np.stack([np.sin(x / 9), np.cos(y / 11), np.sin((x + y) / 13)], -1)
    assert np.abs(crop(photo, quad, size) - expected).mean() < 1.5


def test_shrinking_does_not_alias() -> None:
    y, x = np.mgrid[:512, :512]
    chequers = np.repeat((((x + y) % 2) * 255)[..., None], 3, -1).astype(np.uint8)
    small = crop(chequers, turned(square(0, 0, 480), 3, 1, (25, 5)), 60)
    assert abs(small.mean() - 127.5) < 2 and small.std() < 4


@pytest.mark.parametrize("size", [40, 64, 200])
@pytest.mark.parametrize("corner", [(-30, -30), (60, -20), (-25, 70), (75, 60)])
def test_a_crop_beyond_the_border_holds_no_black_wedge(corner: tuple[int, int], size: int) -> None:
    photo = np.clip(waves(120, 130), 60, 255).astype(np.uint8)
    assert crop(photo, turned(square(0, 0, 80), 12, 1, corner), size).min() >= 55


def test_padding_joins_the_photo_without_a_seam() -> None:
    photo = waves(120, 120)
    wide = crop(photo, square(-40, 20, 80), 80).astype(int)
    assert np.abs(np.diff(wide, axis=1)).max() <= np.abs(np.diff(photo.astype(int))).max()


def test_padding_leaves_the_photo_itself_alone() -> None:
    photo = waves(200, 200)
    wide = crop(photo, square(-10, 50, 100), 100)
    np.testing.assert_array_equal(wide[:, 10:], photo[50:150, :90])


@pytest.mark.parametrize("place", [(500, 500), (-900, 10)])
def test_a_quad_wholly_outside_the_photo_still_gives_a_crop(place: tuple[int, int]) -> None:
    assert crop(waves(50, 60), square(*place, 80), 32).shape == (32, 32, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (300, 2)])
def test_a_photo_of_few_pixels_still_gives_a_crop(shape: tuple[int, int]) -> None:
    assert crop(waves(*shape), square(-20, -20, 60), 16).shape == (16, 16, 3)


def test_the_photo_is_not_changed() -> None:
    photo = waves(100, 100)
    before = photo.copy()
    crop(photo, square(-20, -20, 90), 32)
    np.testing.assert_array_equal(photo, before)
