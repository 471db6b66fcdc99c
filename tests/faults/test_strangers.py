"""A stranger's file does nothing: it writes nowhere else, runs nowhere, and is told in one line."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from dseinvert import names
from dseinvert.cli.main import run
from dseinvert.editing.directions import Direction, load_directions
from dseinvert.errors import InputError, MissingError, OutputError
from dseinvert.importers.directions import convert
from dseinvert.media.atomic import within
from dseinvert.models import open_model
from dseinvert.run.images.journal import Entry, FaceEntry, dumps, read
from dseinvert.run.images.page import write_page

Run = Callable[..., int]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

# Values out of files


@pytest.mark.parametrize("name", ["age", "age+2,smile-1@0-7", "age=auto+", "eye size", "é.2_3"])
def test_a_name_of_today_is_one(name: str) -> None:
    assert names.word(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".a", "a/b", "a\\b", "/etc/passwd", "a\nb", "a\x1b[2J", "a\u202eb", "a<b"),
        *("a ", " a", "-a", "=a", "a" * 201, None, 3, ["a"], "a\0", 'a"b', "a:b", "a\u2028b"),
    ],
)
def test_another_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="not a name"):
        names.word(name)


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", ".a", "", "a\nb", "a\\b", "c:a", "a" * 256, None]
)
def test_a_file_name_that_could_leave_its_folder_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="file name"):
        names.file_name(name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, None])
def test_a_number_is_a_finite_one(value: Any) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        names.number(value)


def test_json_of_any_depth_is_an_error_of_its_own_kind() -> None:
    with pytest.raises(ValueError, match="too deeply"):
        names.json_value(b"[" * 200_000)


# Journals and pages


def line(**fields: Any) -> bytes:
    """A journal's line of a face "a" with other fields; "face" = other fields of the face."""
    face = {"name": "a", "crop": [1.0], "metrics": {"psnr": 20.0}, "pictures": {"recon": "a.png"}}
    face |= fields.pop("face", {})
    entry = Entry("a", "/p/a.jpg", "a.jpg", "ab", "key", "done", faces=[FaceEntry(**face)])
    return json.dumps(json.loads(dumps(entry)) | fields).encode() + b"\n"


def test_a_line_of_ours_is_read(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(line())
    assert list(read(tmp_path / "journal.jsonl")) == ["a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../a"},
        {"name": "a\nb"},
        {"source": 3},
        {"shown": None},
        {"reason": ["a"]},
        {"warnings": "a"},
        {"warnings": [1]},
        {"settings": []},
        {"settings": {"model": ["a"]}},
        {"files": {"../a.png": "00"}},
        {"files": {"/etc/passwd": "00"}},
        {"photos": {"recon": "../a.png"}},
        {"photos": {"recon": "a.sh"}},
        {"faces": {}},
        {"face": {"name": "a/b"}},
        {"face": {"crop": ["1"]}},
        {"face": {"metrics": {"a onload=alert(1) x": 1.0}}},
        {"face": {"metrics": {"><script>alert(1)</script>": 1.0}}},
        {"face": {"metrics": {"psnr": "1"}}},
        {"face": {"metrics": {"psnr": float("nan")}}},
        {"face": {"pictures": {"recon": "/etc/passwd"}}},
        {"face": {"pictures": {"recon": "javascript:alert(1)"}}},
        {"face": {"pictures": {"recon": "../../a.png"}}},
        {"face": {"pictures": {"recon": "linked.png"}}},
        {"face": {"pictures": {"<b>": "a.png"}}},
    ],
)
def test_a_line_that_we_do_not_write_is_passed_over(tmp_path: Path, fields: dict[str, Any]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (out / "linked.png").symlink_to(tmp_path / "secret.png")
    (out / "journal.jsonl").write_bytes(line(**fields))
    assert read(out / "journal.jsonl") == {}


def test_a_page_holds_no_file_that_is_not_a_picture_of_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (out / "linked.png").symlink_to(tmp_path / "secret.png")
    (out / "text.png").write_text("a secret")
    (out / "own.png").write_bytes(PNG)
    for name, shown in (("linked", 0), ("text", 0), ("own", 1)):
        face = FaceEntry("a", [1.0], {}, {"recon": f"{name}.png"})
        entry = Entry("a", "/p/a.jpg", "a.jpg", "ab", "key", "done", faces=[face])
        write_page(out, [entry], [], {"model": "tiny", "edits": "none"}, {})
        page = (out / "index.html").read_text()
        assert page.count("base64,") == shown, name


def test_the_folder_of_a_stranger_is_worked_in_and_says_nothing_of_its_lines(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    evil = line(name="b", face={"metrics": {"x onmouseover=alert(1) y": 1.0}})
    (out / "journal.jsonl").write_bytes(evil + line(face={"pictures": {"recon": "/etc/passwd"}}))
    assert dse("images", pictures, "--out", out, "--no-align", "-q") == 0
    page = (out / "index.html").read_text()
    assert page.count("<article") == 7 and "onmouseover" not in page


# Paths

EVIL_NAMES = ("../up", "/tmp/else", "a\nb", "a/b", "..", "\x1b[2J")


def evil_directions(path: Path, name: str, generator: str) -> Path:
    facts = json.dumps({"space": "w+", "unit": "one", "generator": generator})
    header = {"format": "dseinvert-directions-1", name: facts}
    path.write_bytes(save({name: torch.ones(6, 16)}, metadata=header))
    return path


def copied(model: Path, to: Path, **card: Any) -> Path:
    """A model folder that somebody sent, with other entries in its card."""
    shutil.copytree(model, to)
    told = json.loads((to / "model.json").read_text())
    (to / "model.json").write_text(json.dumps(told | card))
    return to


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    (told,) = capfd.readouterr().err.splitlines()
    assert "bug" not in told and told.isprintable()
    return told


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_directions_file_with_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a name"):
        load_directions(evil_directions(tmp_path / "d.safetensors", name, "00"))


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_no_direction_can_have_a_name_that_is_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        Direction(name, torch.ones(1, 4), "w", "one", "00")


def test_a_preview_of_a_model_folder_from_a_stranger_writes_nothing_elsewhere(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = copied(tiny_model, tmp_path / "sent")
    evil_directions(model / "directions.safetensors", str(tmp_path / "else"), "00")
    given = ("directions", "preview", "--model", str(model), "--out", str(tmp_path / "out"))
    assert run(given) != 0
    assert "not a name" in one_line(capfd)
    assert not (tmp_path / "else.png").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_model_with_a_name_that_is_a_path_is_refused(
    tiny_model: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(MissingError, match="not a name"):
        open_model(str(copied(tiny_model, tmp_path / "sent", name=name)))


@pytest.mark.parametrize(
    "card", [{"description": 3}, {"licence": []}, {"notes": "a"}, {"source": []}, {"sha256": []}]
)
def test_a_card_of_other_kinds_of_values_is_refused(
    tiny_model: Path, tmp_path: Path, card: dict[str, Any]
) -> None:
    with pytest.raises(MissingError, match="not a model description"):
        open_model(str(copied(tiny_model, tmp_path / "sent", **card)))


def test_foreign_directions_get_safe_names_and_a_note() -> None:
    rows = np.ones((1, 16), np.float32)
    found = convert({"../../up": rows, "age": rows, "up": rows, "a\x1b[2J": rows})
    assert [*found.directions] == ["up1", "age", "up", "a-2J"]
    assert all(names.word(name) for name in found.directions)
    assert len(found.directions) == 4 and len(found.notes) == 2


@pytest.mark.parametrize("name", ["../a.png", "/tmp/a.png", "a/b.png", "", ".", "..", "a\nb"])
def test_no_writer_leaves_the_folder_that_the_user_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot write: not a plain file name"):
        within(tmp_path, name)
    assert within(tmp_path, "a.png") == tmp_path / "a.png"
