"""One reader of photos for all verbs: their order, and a line for what yields no face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dseinvert.errors import NoInputError
from dseinvert.export.faces import read_faces as read_for_export
from dseinvert.faces.crops import Wanted
from dseinvert.faces.detect import Face, open_detector
from dseinvert.generators.pixels import to_bytes, to_pixels, to_tensor
from dseinvert.media.images import encode_png
from dseinvert.models import Model, open_model
from dseinvert.progress import Silent
from dseinvert.run.inputs import Item, look, preparer, read_faces
from tests.conftest import picture


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = 0

    def advance(self) -> None:
        self.done += 1

    def problem(self, line: str) -> None:
        self.lines.append(line)


class Nobody:
    """A detector that finds no face."""

    name = "nobody"

    def detect(self, photo: np.ndarray) -> list[Face]:
        return []


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return open_model(str(tiny_model))


def items(folder: Path) -> list[Item]:
    return [Item(file, file.stem) for file in look([str(folder)], Silent()).files]


def test_photos_come_in_their_order_and_what_has_no_face_is_told(pictures: Path) -> None:
    (pictures / "p3.png").write_bytes(b"no picture at all")
    heard = Heard()
    read = [*read_faces(items(pictures), 16, None, heard)]
    assert [one.item.name for one in read] == [f"p{k}" for k in range(7)]
    assert [len(one.crops) for one in read] == [1, 1, 1, 0, 1, 1, 1]
    assert heard.done == 7
    (line,) = heard.lines
    assert line.startswith(f"{pictures / 'p3.png'}: is text") and line.count("p3") == 1
    heard = Heard()
    assert not any(one.crops for one in read_faces(items(pictures), 16, Nobody(), heard))
    said, _, next_step = heard.lines[0].partition(" (")
    assert len(heard.lines) == 7 and said.endswith("p0.png: no face found")
    assert "--no-align" in next_step


@pytest.mark.parametrize(
    ("wanted", "said", "not_said"),
    [
        (
            Wanted(rotate=90, limited=True),
            ["--rotate auto", "--min-score 0.3", "--min-face 12"],
            [],
        ),
        (
            Wanted(min_score=0.5, min_face=40, limited=True),
            ["--min-score 0.25", "--min-face 20"],
            [],
        ),
        (Wanted(), ["--no-align", "--rotate"], ["--min-"]),
        (Wanted(person=lambda crops: [], limited=True), ["without --person"], ["--min-"]),
    ],
    ids=["turned", "limits", "a verb without limits", "person"],
)
def test_a_photo_without_a_face_names_options_that_the_verb_has(
    tmp_path: Path, wanted: Wanted, said: list[str], not_said: list[str]
) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((20, 30, 3), np.uint8)))
    prepare = preparer(16, Nobody(), wanted)
    reason = prepare(Item(tmp_path / "a.png", "a")).reason
    assert all(word in reason for word in said) and "\n" not in reason
    assert not any(word in reason for word in [*not_said, "crop"])


def test_a_square_photo_without_a_face_may_be_a_crop(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    reason = preparer(16, Nobody())(Item(tmp_path / "a.png", "a")).reason
    assert reason == "no face found (--no-align takes a crop as it is)"


def test_a_turned_photo_is_read_with_a_warning(faces_folder: Path, tmp_path: Path) -> None:
    photo = cv2.imread(str(sorted(faces_folder.glob("portrait*.jpg"))[0]))
    (tmp_path / "a.png").write_bytes(encode_png(np.ascontiguousarray(photo[::-1, ::-1, ::-1])))
    item, detector = Item(tmp_path / "a.png", "a"), open_detector("embedded")
    one = preparer(16, detector)(item)
    assert len(one.crops) == 1 and one.warnings == ("turned by 180 degrees",)
    settled = preparer(16, detector, Wanted(rotate=180))(item)
    assert settled.crops[0].pixels.tobytes() == one.crops[0].pixels.tobytes()
    nobody = preparer(16, detector, Wanted(person=lambda crops: [False]))(item)
    assert nobody.status == "skipped"
    assert nobody.reason.partition(" (")[0] == "no face of that person found"


def test_a_reader_that_is_left_early_leaves_no_thread(pictures: Path) -> None:
    import threading

    before = threading.active_count()
    reading = read_faces(items(pictures), 16, None, Silent())
    assert next(reading).item.name == "p0"
    reading.close()
    assert threading.active_count() == before


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    heard = Heard()
    assert not look([str(tmp_path / "absent")], heard).files
    assert len(heard.lines) == 1 and "absent" in heard.lines[0]


@pytest.mark.parametrize("side", [8, 16, 40], ids=["enlarged", "as it is", "shrunk"])
def test_an_export_is_calibrated_on_the_pixels_of_a_run(
    model: Model, tmp_path: Path, side: int
) -> None:
    plain = Model(**{**vars(model), "alignment": "none"})
    (tmp_path / "a.png").write_bytes(encode_png(picture(1, side, side + 3)))
    prepare = preparer(model.generator.resolution, None)
    (crop,) = prepare(Item(tmp_path / "a.png", "a")).crops
    found = read_for_export(tmp_path, plain)
    assert np.array_equal(to_pixels(found)[0], crop.pixels)


def test_aligned_faces_of_an_export_are_those_of_a_run(
    model: Model, faces_folder: Path, tmp_path: Path
) -> None:
    file = sorted(faces_folder.glob("*.jpg"))[0]
    photo = cv2.imread(str(file))
    (tmp_path / "a.png").write_bytes(encode_png(np.ascontiguousarray(photo[..., ::-1])))
    one = preparer(model.generator.resolution, model.detector())(Item(tmp_path / "a.png", "a"))
    assert one.crops
    found = to_pixels(read_for_export(tmp_path, model))
    assert [face.tobytes() for face in found] == [crop.pixels.tobytes() for crop in one.crops]


def test_an_export_without_a_face_is_one_line(model: Model, pictures: Path) -> None:
    with pytest.raises(NoInputError, match="no faces in it"):
        read_for_export(pictures, model)


def test_every_byte_survives_the_way_to_a_tensor_and_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    there = to_tensor([every, every[::-1]])
    back, turned = to_pixels(there)
    assert np.array_equal(back, every) and np.array_equal(turned, every[::-1])
    assert np.array_equal(to_bytes(there).numpy()[1], turned)
