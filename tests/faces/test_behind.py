"""What is behind a head keeps its own colours, whatever an edit does to it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dseinvert.faces.behind import before, behind
from dseinvert.faces.crops import Crop, whole
from dseinvert.faces.mask import Blend, open_mask, paste_edit
from dseinvert.faces.regions import open_where

SIDE = 128
SKIN, DARK, ORANGE, WALL = (205, 160, 135), (40, 30, 25), (170, 100, 40), (238, 238, 236)


def head(
    hair: tuple[int, int, int] = DARK, wall: tuple[int, int, int] = WALL, side: int = SIDE
) -> np.ndarray:
    """A face with hair around it before a wall, in the framing of FFHQ."""
    picture = np.full((4 * SIDE, 4 * SIDE, 3), wall, np.uint8)
    for colour, centre, radii in (
        (hair, (256, 235), (165, 200)),
        (SKIN, (256, 300), (120, 170)),
    ):
        cv2.ellipse(picture, centre, radii, 0, 0, 360, colour, -1)
    cv2.rectangle(picture, (190, 430), (320, 511), SKIN, -1)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def soft(picture: np.ndarray) -> np.ndarray:
    """As a small model draws it."""
    return cv2.GaussianBlur(picture, (0, 0), SIDE / 48)


def at(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    """The 4 x 4 pixels around a place in sides."""
    column, row = (int(place * len(picture)) for place in (x, y))
    return picture[row - 2 : row + 2, column - 2 : column + 2]


def pasted(
    edited: np.ndarray,
    mask: str | None,
    photo: np.ndarray,
    recon: np.ndarray,
    blend: Blend = "moved",
) -> np.ndarray:
    crop = Crop(photo, whole(photo, SIDE).quad)
    return paste_edit(photo, crop, edited, recon, open_mask(mask, SIDE), blend).astype(int)


@pytest.mark.parametrize("side", [32, 128, 500])
@pytest.mark.parametrize("wall", [WALL, (60, 90, 140), (90, 120, 60)])
def test_the_wall_is_told_from_hair_and_skin(wall: tuple[int, int, int], side: int) -> None:
    likely = behind(head(wall=wall, side=side))
    assert likely.shape == (64, 64) and likely.min() >= 0 and likely.max() <= 1
    for place in ((0.05, 0.3), (0.12, 0.5), (0.95, 0.1), (0.08, 0.2)):
        assert at(likely, *place).min() > 0.65, place
    for place in ((0.5, 0.2), (0.22, 0.35), (0.78, 0.35), (0.5, 0.6), (0.5, 0.85)):
        assert at(likely, *place).max() < 0.35, place


def test_eyes_as_white_as_the_wall_are_not_behind_the_head() -> None:
    picture = head()
    cv2.ellipse(picture, (48, 60), (8, 5), 0, 0, 360, WALL, -1)
    assert behind(picture)[28:32, 22:26].max() < 0.01


@pytest.mark.parametrize("mask", [None, "auto"])
def test_an_edit_of_hair_shows_on_the_hair_and_not_on_the_wall(mask: str | None) -> None:
    """The drawn wall turns brown with the hair, by 60 levels."""
    photo, brown = head(), (200, 180, 150)
    recon, edited = soft(photo), soft(head(ORANGE, wall=brown))
    change = pasted(edited, mask, photo, recon) - photo
    assert at(change, 0.5, 0.2)[..., 0].min() > 80
    assert at(change, 0.26, 0.35)[..., 0].min() > 35
    for place in ((0.1, 0.3), (0.13, 0.55), (0.88, 0.6), (0.1, 0.7)):
        assert np.abs(at(change, *place)).max() < 5, place


# What moves takes the edge of the hair along by a tenth of a pixel.
@pytest.mark.parametrize(("blend", "most"), [("difference", 12), ("moved", 25)])
@pytest.mark.parametrize("mask", [None, "auto"])
def test_dark_hair_before_white_is_lightened_without_a_rim(
    mask: str | None, blend: Blend, most: int
) -> None:
    """What a soft model adds beside the hair would be a shadow or a glow on the wall."""
    photo = head()
    for hair in (ORANGE, (5, 5, 5), (120, 120, 120)):
        change = pasted(soft(head(hair)), mask, photo, soft(photo), blend) - photo
        white = (photo == WALL).all(-1)
        assert np.abs(change[white]).max() <= most, hair
        assert np.abs(change[white]).mean() < 0.15, hair


@pytest.mark.parametrize("mask", [None, "auto"])
def test_hair_does_not_turn_into_wall(mask: str | None) -> None:
    """The edit draws a narrower head: half of the wall on hair would be a veil."""
    photo = head()
    narrow = photo.copy()
    narrow[:, :34] = WALL
    change = pasted(soft(narrow), mask, photo, soft(photo)) - photo
    drawn = soft(narrow).astype(int) - soft(photo)
    veil, whole_change = (np.abs(at(one, 0.22, 0.3)).mean() for one in (change, drawn))
    assert whole_change > 100 and veil < 0.2 * whole_change


def test_where_head_and_wall_are_of_one_colour_the_edit_still_shows() -> None:
    dark = head(wall=DARK)
    assert at(before(dark, dark, SIDE), 0.5, 0.2).min() > 0.4


def test_noise_moves_the_border_little() -> None:
    """As from frame to frame of a clip."""
    rng = np.random.default_rng(0)
    quiet = head()
    frames = [
        np.clip(quiet + rng.normal(0, 6, quiet.shape), 0, 255).astype(np.uint8) for _ in range(4)
    ]
    likely = np.stack([behind(frame) for frame in frames])
    assert np.abs(np.diff(likely, axis=0)).mean() < 0.02


@pytest.mark.parametrize("name", ["face", "hair"])
def test_face_and_hair_are_asked_for_and_the_wall_beside_them_keeps_its_colours(name: str) -> None:
    """A head that is turned leaves wall within the oval of a face."""
    photo = head()
    photo[:, 90:] = WALL
    tinted = photo.astype(int) - (photo == WALL).all(-1)[..., None] * 60
    edited, recon = soft(tinted.astype(np.uint8)), soft(photo)
    where = open_where(name, None, SIDE) if name == "face" else open_where(None, name, SIDE)
    crop = Crop(photo, whole(photo, SIDE).quad, aligned=True)
    change = paste_edit(photo, crop, edited, recon, where).astype(int) - photo
    assert np.abs(at(change, 0.78, 0.5)).max() < 5
    assert where is not None and where.of(edited, recon).max() > 0.9


@pytest.mark.parametrize("mask", [None, "auto", "face"])
def test_wall_within_the_oval_of_a_turned_head_takes_no_tint(mask: str | None) -> None:
    photo = head()
    photo[:, 90:] = WALL
    wall = (photo == WALL).all(-1)
    tinted = np.where(wall[..., None], photo - np.uint8(60), photo)
    change = pasted(soft(tinted), mask, photo, soft(photo)) - photo
    for place in ((0.78, 0.3), (0.78, 0.5), (0.82, 0.4), (0.85, 0.5)):
        assert np.abs(at(change, *place)).max() < 5, place
