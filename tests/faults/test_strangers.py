"""A stranger's file does nothing: it writes nowhere else, runs nowhere, and is told in one line."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dseinvert import names
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
