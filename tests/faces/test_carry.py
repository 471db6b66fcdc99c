"""The photo moves as an edit moves the face, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dseinvert.faces import carry as room
from dseinvert.faces.align import crop, crop_matrix
from dseinvert.faces.carry import SIDE, carried, carry
from dseinvert.faces.crops import Crop
from dseinvert.faces.mask import open_mask, paste_edit
from dseinvert.faces.paste import crop_mask, window_of
from dseinvert.faces.tone import GREY
from tests.faces.test_paste import noise, quad_at

# In sides of the crop: the mouth of an FFHQ face, its corners, and how far the edit pulls them.
MOUTH, CORNERS = np.array((0.5, 0.735)), np.array([(0.41, 0.735), (0.59, 0.735)])
OUT, UP = 0.026, 0.018
WHOLE = np.array([[0, 0], [0, 512], [512, 512], [512, 0]]) - 0.5


def pulled(place: np.ndarray) -> np.ndarray:
    """Where what is at a place [..., 2] of the edited face was before: a smile."""
    away = place - MOUTH
    near = np.exp(-np.square(away / (0.11, 0.09)).sum(-1))
    side = np.tanh(away[..., 0] / 0.05)
    return place + np.stack([-OUT * side, UP * side * side], -1) * near[..., None]


def places(side: int) -> np.ndarray:
    line = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(line, line), -1)


def face(place: np.ndarray, fine: bool) -> np.ndarray:
    """Grey levels at places of a face: lips between two corners, brows, nose; and skin's detail."""
    x, y = place[..., 0], place[..., 1]
    lips = np.exp(-(np.square((x - 0.5) / 0.1) ** 2) - np.square((y - 0.735) / 0.02))
    brows = np.exp(-np.square((np.abs(x - 0.5) - 0.13) / 0.06) - np.square((y - 0.4) / 0.02))
    nose = np.exp(-np.square((x - 0.5) / 0.03) - np.square((y - 0.58) / 0.06))
    level = 190 - 90 * lips - 70 * brows + 30 * nose
    if fine:  # moles at the corners, which a small model does not draw
        for corner in CORNERS:
            level -= 80 * np.exp(-np.square((place - corner) / 0.005).sum(-1))
    return np.repeat(level[..., None], 3, -1)


def drawn(where: Callable[[np.ndarray], np.ndarray], side: int = 64) -> np.ndarray:
    """What a model draws at 64 px: soft."""
    large = face(where(places(4 * side)), fine=False).astype(np.float32)
    return np.rint(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def same(place: np.ndarray) -> np.ndarray:
    return place


RECON, SMILE = drawn(same), drawn(pulled)


def photo_of(quad: np.ndarray, height: int, width: int) -> np.ndarray:
    """A photo with the face in the quad."""
    matrix = crop_matrix(quad, 1)
    y, x = np.mgrid[:height, :width]
    place = np.stack([row[0] * x + row[1] * y + row[2] + 0.5 for row in matrix], -1)
    return np.rint(face(place, fine=True)).clip(0, 255).astype(np.uint8)


def mole(picture: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Where the darkest small thing is around a place of a crop, in its pixels."""
    grey = picture.mean(-1).astype(np.float32)
    spots = cv2.GaussianBlur(grey, (0, 0), 6) - cv2.GaussianBlur(grey, (0, 0), 1)
    side = len(picture)
    x, y = np.rint(near * side).astype(int)
    part = spots[y - 20 : y + 20, x - 20 : x + 20].clip(0)
    part = np.where(part > part.max() / 2, part, 0)
    rows, columns = np.mgrid[: len(part), : part.shape[1]]
    return np.array([(columns * part).sum(), (rows * part).sum()]) / part.sum() + (x - 20, y - 20)


def where_pulled_to(corner: np.ndarray) -> np.ndarray:
    """Where a place of the unedited face is in the edited one."""
    place = corner
    for _ in range(30):
        place = corner + place - pulled(place)
    return place


@pytest.mark.parametrize(
    ("quad", "size"),
    [(WHOLE, (512, 512)), (quad_at((400, 380), 512, 25), (760, 800))],
    ids=["a crop", "a turned head"],
)
def test_a_smile_moves_the_corners_of_the_mouth_in_the_photo_within_a_pixel(
    quad: np.ndarray, size: tuple[int, int]
) -> None:
    photo = photo_of(quad, *size)
    result = carried(photo, quad, carry(SMILE, RECON, crop_mask(SIDE)))
    for corner in CORNERS:
        wanted = where_pulled_to(corner)
        before, after = (
            mole(crop(one, quad, 512), at) for one, at in ((photo, corner), (result, wanted))
        )
        way = 512 * (wanted - corner)
        assert np.hypot(*way) > 6
        assert np.hypot(*(after - before - way)) < 1


def test_what_is_only_added_leaves_them_where_they_were() -> None:
    """The test above can fail."""
    photo = photo_of(WHOLE, 512, 512)
    framed = Crop(crop(photo, WHOLE, 64), WHOLE)
    result = paste_edit(photo, framed, SMILE, RECON, blend="difference")
    for corner in CORNERS:
        gap = mole(result, corner) - mole(photo, corner)
        assert np.hypot(*gap) < 2


def test_the_photo_keeps_its_detail_where_it_moved() -> None:
    photo = photo_of(WHOLE, 512, 512)
    result = carried(photo, WHOLE, carry(SMILE, RECON, crop_mask(SIDE)))
    detail = [
        np.abs(cv2.Laplacian(one.astype(np.float32), cv2.CV_32F))[340:410, 180:332].mean()
        for one in (photo, result)
    ]
    assert detail[1] > 0.9 * detail[0]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_an_edit_that_changes_nothing_gives_the_photo_back_bit_for_bit(depth: type) -> None:
    photo = noise().astype(depth) * (257 if depth is np.uint16 else 1)
    for picture in (RECON, crop(noise(), quad_at(), 64)):
        patch = carry(picture, picture, np.ones((SIDE, SIDE), np.float32))
        assert not patch.any()
        result = carried(photo, quad_at(), patch)
        assert result.dtype == depth and result is not photo
        np.testing.assert_array_equal(result, photo)


@pytest.mark.parametrize("mask", [None, "face", "auto"])
def test_a_photo_without_an_edit_stays_as_it_is_in_stills_too(mask: str | None) -> None:
    photo = noise()
    framed = Crop(crop(photo, quad_at(), 64), quad_at())
    result = paste_edit(photo, framed, RECON, RECON, open_mask(mask, 64))
    np.testing.assert_array_equal(result, photo)


def test_nothing_outside_the_crop_changes_and_much_inside() -> None:
    photo, quad = noise(760, 800), quad_at((400, 380), 512, 25)
    result = carried(photo, quad, carry(SMILE, RECON, crop_mask(SIDE)))
    matrix = crop_matrix(quad, 1)
    y, x = np.mgrid[:760, :800]
    u, v = (row[0] * x + row[1] * y + row[2] for row in matrix)
    outside = (np.abs(u) > 0.5) | (np.abs(v) > 0.5)
    changed = (result != photo).any(-1)
    assert not changed[outside].any() and changed.sum() > 5000


@pytest.mark.parametrize("block", [16, 37, 200])
def test_how_much_of_a_photo_is_done_at_once_does_not_change_the_result(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    photo, quad = noise(), quad_at()
    patch = carry(SMILE, RECON, crop_mask(SIDE))
    window = window_of(photo, quad)
    weight = np.random.default_rng(1).uniform(0, 1, photo[window].shape[:2]).astype(np.float32)
    whole = carried(photo, quad, patch, weight)
    monkeypatch.setattr(room, "_BLOCK", block)
    np.testing.assert_array_equal(carried(photo, quad, patch, weight), whole)


def test_where_it_is_hidden_nothing_moves() -> None:
    photo = noise(512, 512)
    patch = carry(SMILE, RECON, crop_mask(SIDE))
    weight = np.ones((512, 512), np.float32)
    weight[:, :256] = 0
    result = carried(photo, WHOLE, patch, weight)
    np.testing.assert_array_equal(result[:, :256], photo[:, :256])
    assert not np.array_equal(result[:, 256:], photo[:, 256:])


def test_another_light_is_no_motion() -> None:
    """A tan is added; skin does not crawl."""
    patch = carry((0.8 * RECON).astype(np.uint8), RECON, crop_mask(SIDE))
    assert np.abs(patch[..., 3:]).max() * 512 < 1
    assert patch[128, 128, :3].max() < -20


def test_what_cannot_be_trusted_is_not_added_but_moves() -> None:
    full, nothing = (
        carry(SMILE, RECON, crop_mask(SIDE), np.full((64, 64), trust, np.float32))
        for trust in (1, 0)
    )
    assert np.abs(full[..., :3]).max() > 5 and not nothing[..., :3].any()
    np.testing.assert_array_equal(full[..., 3:], nothing[..., 3:])


def test_a_deep_frame_moves_with_all_of_its_bits() -> None:
    photo = photo_of(WHOLE, 512, 512)
    deep = photo.astype(np.uint16) * 257 + 100
    patch = carry(SMILE, RECON, crop_mask(SIDE))
    shallow, result = carried(photo, WHOLE, patch), carried(deep, WHOLE, patch)
    assert np.abs(result.astype(int) - 100 - 257 * shallow.astype(int)).max() <= 258


def test_a_grey_photo_stays_grey() -> None:
    coloured = SMILE.copy()
    coloured[..., 0] = np.minimum(255, coloured[..., 0].astype(int) + 30)
    patch = carry(coloured, RECON, crop_mask(SIDE))
    result = carried(photo_of(WHOLE, 512, 512), WHOLE, patch, tone=GREY)
    assert np.ptp(result.astype(int), axis=-1).max() <= 1


@pytest.mark.parametrize("block", [37, 1024])
def test_hidden_colours_stay_and_do_not_move_into_sight(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """A head that was cut out: what was behind it may have become any colour."""
    monkeypatch.setattr(room, "_BLOCK", block)
    photo = photo_of(WHOLE, 512, 512)
    hidden = np.zeros((512, 512), bool)
    hidden[:, 310:] = True  # from within the corner of the mouth on, which is pulled out
    green, black = photo.copy(), photo.copy()
    green[hidden], black[hidden] = (0, 255, 0), 0
    patch = carry(RECON, SMILE, crop_mask(SIDE))  # back: what is hidden would come in
    assert not np.array_equal(carried(green, WHOLE, patch)[~hidden], green[~hidden])
    of_green, of_black = (carried(one, WHOLE, patch, hidden=hidden) for one in (green, black))
    np.testing.assert_array_equal(of_green[~hidden], of_black[~hidden])
    np.testing.assert_array_equal(of_green[hidden], green[hidden])
    moved = (of_green[:, 300:310].astype(int) - photo[:, 300:310]).any(-1)
    assert moved.sum() > 20 and np.ptp(of_green[~hidden].astype(int), axis=-1).max() <= 1


def test_a_rounding_of_the_pictures_stays_one() -> None:
    """As between batches of other sizes: a level more in one sample is about one in the photo."""
    photo = photo_of(WHOLE, 512, 512)
    result = carried(photo, WHOLE, carry(SMILE, RECON, crop_mask(SIDE)))
    for row, column in ((47, 26), (47, 32), (30, 24), (36, 32), (12, 40), (52, 38)):
        other = SMILE.copy()
        other[row, column, 1] -= 1
        near = carried(photo, WHOLE, carry(other, RECON, crop_mask(SIDE)))
        assert np.abs(near.astype(int) - result).max() <= 1, (row, column)


def test_less_than_a_step_of_opencv_moves_a_little_too() -> None:
    photo = noise(64, 64)
    quad = np.array([[0, 0], [0, 64], [64, 64], [64, 0]]) - 0.5
    patch = np.zeros((64, 64, 5), np.float32)
    results = []
    for part in np.linspace(1, 2, 33):
        patch[..., 3] = part / 32 / 64
        results.append(carried(photo, quad, patch).astype(int))
    assert np.abs(np.diff(results, axis=0)).max() <= 1 < np.abs(results[-1] - results[0]).max()
