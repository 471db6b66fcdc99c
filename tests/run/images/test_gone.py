"""A photo that shows fewer faces when it is done again leaves no files of the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest

from dseinvert.media.images import encode_png
from dseinvert.run.images.gone import files_gone, remove_gone
from dseinvert.run.images.journal import Entry, FaceEntry, read_all
from tests.conftest import ROOT

Run = Callable[..., int]
FACES = ROOT / "examples" / "faces"
GROUP, ALONE = FACES / "group.jpg", FACES / "portrait-1.jpg"


def outputs(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.name.startswith("photo")}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return Path(shutil.copy(GROUP, tmp_path / "photo.jpg"))


@pytest.fixture
def done(dse: Run, photo: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    assert dse("images", photo, "--edit", "age=1", "--out", out, "-q") == 0
    assert {"photo-2.safetensors", "photo-2.age+1.png"} < outputs(out)
    return out


def test_the_files_of_faces_that_are_gone_are_gone(
    dse: Run, photo: Path, done: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ALONE, photo)
    assert dse("images", photo, "--edit", "age=1", "--out", done) == 0
    assert "shows fewer faces than before: 8 files of them removed" in capfd.readouterr().err
    plain = tmp_path / "plain"
    assert dse("images", photo, "--edit", "age=1", "--out", plain, "-q") == 0
    assert outputs(done) == outputs(plain)
    drawn = tmp_path / "drawn"
    assert dse("edit", done, "--edit", "smile=1", "--out", drawn, "-q") == 0
    assert len([*drawn.glob("*smile*")]) == 1


def test_so_are_those_of_a_photo_that_shows_none(dse: Run, photo: Path, done: Path) -> None:
    photo.write_bytes(encode_png(np.full((64, 64, 3), 128, np.uint8)))
    assert dse("images", photo, "--edit", "age=1", "--out", done, "-q") == 1
    assert not outputs(done)


def test_what_was_changed_since_stays_and_so_do_files_of_others(
    dse: Run, photo: Path, done: Path
) -> None:
    (done / "photo-2.age+1.png").write_bytes(b"painted over")
    (done / "photo-2.notes.txt").write_text("mine")
    assert dse("images", photo, "--faces", "1", "--out", done, "--overwrite", "-q") == 0
    kept = {name for name in outputs(done) if name.startswith("photo-2")}
    assert kept == {"photo-2.age+1.png", "photo-2.notes.txt"}
    assert "photo.age+1.png" in outputs(done), "of a face that is there, in another run"


def test_a_photo_that_cannot_be_read_any_more_takes_nothing_with_it(
    dse: Run, photo: Path, done: Path
) -> None:
    before = outputs(done)
    photo.write_bytes(b"no photo")
    assert dse("images", photo, "--edit", "age=1", "--out", done, "-q") == 3
    assert outputs(done) == before


def test_a_photo_that_is_called_as_a_further_face_keeps_its_files(
    dse: Run, photo: Path, done: Path
) -> None:
    other = Path(shutil.copy(FACES / "portrait-2.jpg", photo.with_name("photo-2.jpg")))
    shutil.copy(ALONE, photo)
    assert dse("images", photo, other, "--edit", "age=1", "--out", done, "-q") == 0
    listed = {file for entry in read_all(done).values() for file in entry.files}
    assert listed <= outputs(done)


@pytest.mark.filterwarnings("ignore")
def test_stores_are_tidied_likewise(dse: Run, photo: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    words = ("images", photo, "--out", "memory://gone", "-q")
    assert dse(*words) == 0
    assert memory.exists("/gone/photo-2.safetensors")
    shutil.copy(ALONE, photo)
    assert dse(*words) == 0
    names = {path.rpartition("/")[2] for path in memory.find("/gone")}
    assert "photo.safetensors" in names
    assert not {name for name in names if name.startswith("photo-2")}
    memory.store.clear()


def entry(*faces: str, pack: str = "", status: str = "done") -> Entry:
    told = [FaceEntry(name, [], {}, {"recon": f"{name}.recon.png"}) for name in faces]
    files = {name: "0f" for one in faces for name in (f"{one}.safetensors", f"{one}.recon.png")}
    return Entry("a", "/a.png", "a.png", "", "", status, faces=told, files=files, pack=pack)  # type: ignore[arg-type]


def test_whose_files_are_gone() -> None:
    gone = {"a-2.safetensors": "0f", "a-2.recon.png": "0f"}
    assert files_gone(entry("a", "a-2"), entry("a"), ()) == gone
    assert files_gone(entry("a", "a-2"), entry("a"), {"a", "a-2"}) == {}
    assert files_gone(entry("a", "a-2"), entry(status="failed"), ()) == {}
    assert files_gone(entry("a", "a-2", pack="00000"), entry("a"), ()) == {}
    assert files_gone(entry("a"), entry("a", "a-2"), ()) == {}


def test_a_link_and_what_is_no_file_stay(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"")
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "folder").mkdir()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    files = dict.fromkeys(("link", "folder", "nothing", "mine"), empty)
    assert remove_gone(tmp_path, files) == 1
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "mine").exists()
