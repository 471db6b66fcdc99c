"""A photo may stand on its head, and hold faces too small for one look at the whole of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dseinvert.errors import UsageError
from dseinvert.faces.align import crop, outside
from dseinvert.faces.crops import Wanted, faces_of, notes, whole
from dseinvert.faces.detect import Detector, Face, open_detector
from dseinvert.faces.paste import paste_difference
from dseinvert.faces.search import find_faces
from dseinvert.faces.turns import TURNS, turned
from dseinvert.media.images import read_image

FACES = Path(__file__).parents[2] / "examples" / "faces"
POINTS = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]], np.float32)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector("embedded")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return read_image(FACES / "portrait-1.jpg")[:, :-40]


def back(degrees: int) -> int:
    return (360 - degrees) % 360


@pytest.mark.parametrize("degrees", TURNS)
@pytest.mark.parametrize("asked", ["auto", "by number"])
def test_a_turned_photo_gives_the_crop_of_the_upright_one(
    detector: Detector, portrait: np.ndarray, degrees: int, asked: str
) -> None:
    (upright,) = faces_of(portrait, 64, detector)
    rotate = "auto" if asked == "auto" else back(degrees)
    photo = turned(portrait, degrees)
    (face,) = faces_of(photo, 64, detector, Wanted(rotate))  # type: ignore[arg-type]
    assert face.turn == back(degrees)
    assert np.abs(face.pixels.astype(int) - upright.pixels).max() <= 2
    height, width = photo.shape[:2]
    said = notes([face], width, height)
    assert said == ((f"turned by {back(degrees)} degrees",) if degrees else ())


def test_an_upright_photo_is_searched_once_and_its_crop_is_as_before(
    detector: Detector, portrait: np.ndarray
) -> None:
    (face,) = detector.detect(portrait)
    (found,), turn = find_faces(portrait, detector)
    assert turn == 0 and np.array_equal(found.points, face.points) and found.box == face.box


@pytest.mark.parametrize("degrees", TURNS[1:])
def test_what_is_pasted_into_a_turned_photo_lies_where_it_would_in_the_upright_one(
    detector: Detector, portrait: np.ndarray, degrees: int
) -> None:
    photos = portrait, turned(portrait, degrees)
    pasted = []
    for photo in photos:
        (face,) = faces_of(photo, 64, detector)
        edited = face.pixels.copy()
        edited[20:30, 16:26] = 255
        pasted.append(paste_difference(photo, edited, face.pixels, face.quad))
    there = turned(pasted[1], back(degrees)).astype(int)
    assert np.abs(pasted[0].astype(int) - portrait).max() > 50
    assert np.abs(there - pasted[0]).max() <= 8


@pytest.mark.parametrize("degrees", TURNS)
def test_a_photo_taken_as_it_is_can_be_turned(portrait: np.ndarray, degrees: int) -> None:
    photo = turned(portrait, degrees)
    one = whole(photo, 48, back(degrees))
    assert np.array_equal(one.pixels, turned(whole(photo, 48).pixels, back(degrees)))
    square = photo[:200, :200]
    one = whole(square, 48, back(degrees))
    again = crop(square, one.quad, 48).astype(int)
    assert np.abs(again[4:-4, 4:-4] - one.pixels[4:-4, 4:-4]).mean() < 4


def test_a_photo_without_a_face_has_none_at_any_turn(detector: Detector) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 200, 3), np.uint8)
    assert find_faces(noise, detector) == ([], 0)


class Spots:
    """Sees each white square of at least 2 % of the picture's longest side as a face, once."""

    name = "spots"

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def detect(self, image: np.ndarray) -> list[Face]:
        self.seen.append(image.shape[:2])
        count, _, rows, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))
        boxes = [row for row in rows[1:count].tolist() if row[2] >= 0.02 * max(image.shape[:2])]
        return [
            Face((x, y, x + w, y + h), 0.9, POINTS * [w, h] + [x, y]) for x, y, w, h, _ in boxes
        ]

    def place(self, image: np.ndarray, points: np.ndarray) -> None: ...


def crowd(sides: tuple[int, ...]) -> np.ndarray:
    """Squares of these sides, 300 pixels from one to the next, in a picture 3000 wide."""
    photo = np.zeros((1500, 3000, 3), np.uint8)
    for k in range(45):
        y, x, side = 50 + k // 9 * 300, 50 + k % 9 * 300, sides[k % len(sides)]
        photo[y : y + side, x : x + side] = 255
    return photo


def test_small_faces_of_a_large_photo_are_found_in_tiles_and_each_once() -> None:
    spots = Spots()
    photo = crowd((80, 30))
    assert len(spots.detect(photo)) == 23
    faces, _ = find_faces(photo, spots)
    assert len(faces) == 45
    assert len({tuple(face.points[0].tolist()) for face in faces}) == 45
    assert [face.box[3] - face.box[1] for face in faces] == [80] * 23 + [30] * 22


def test_tiles_are_for_large_photos_that_show_small_faces() -> None:
    for photo in (crowd((150,)), cv2.resize(crowd((80, 30)), (1500, 750))):
        spots = Spots()
        find_faces(photo, spots)
        assert spots.seen == [photo.shape[:2]]


def test_the_largest_or_so_many_faces_are_taken(detector: Detector) -> None:
    photo = read_image(FACES / "group.jpg")
    everybody = faces_of(photo, 32, detector)
    assert len(everybody) == 3
    for faces, count in (("largest", 1), (1, 1), (2, 2), (9, 3), ("all", 3)):
        some = faces_of(photo, 32, detector, Wanted(faces=faces))  # type: ignore[arg-type]
        wanted = [one.pixels.tobytes() for one in everybody[:count]]
        assert [one.pixels.tobytes() for one in some] == wanted


def test_a_person_is_chosen_before_the_largest(detector: Detector) -> None:
    photo = read_image(FACES / "group.jpg")
    everybody = faces_of(photo, 32, detector)
    wanted = Wanted(faces="largest", person=lambda crops: [False, True, True])
    (one,) = faces_of(photo, 32, detector, wanted)
    assert np.array_equal(one.pixels, everybody[1].pixels)
    assert faces_of(photo, 32, detector, Wanted(person=lambda crops: [False] * 3)) == []


@pytest.mark.parametrize("wrong", [{"faces": 0}, {"faces": "some"}, {"rotate": 45}])
def test_a_wish_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Wanted(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("move", "share"), [(0, 0), (-50, 0.5), (-100, 1), (25, 0), (75, 0.25)])
def test_the_share_of_a_quad_that_lies_outside(move: float, share: float) -> None:
    quad = np.array([[0, 0], [0, 100], [100, 100], [100, 0]]) + np.array([move, 0]) - 0.5
    assert outside(quad, 150, 100) == pytest.approx(share, abs=1e-5)


def test_a_face_half_outside_is_said_to_be_mirrored(
    detector: Detector, portrait: np.ndarray
) -> None:
    (middle,) = faces_of(portrait, 32, detector)
    left = int(middle.quad[:, 0].mean())
    height, width = portrait.shape[:2]
    shifted = middle.quad - [left, 0]
    (said,) = notes([type(middle)(middle.pixels, shifted)], width, height)
    assert said.startswith("the face: 5") and "outside the photo" in said
    assert notes([middle], width, height) == ()
