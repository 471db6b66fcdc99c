"""A stranger's file does nothing: it writes nowhere else, runs nowhere, and is told in one line."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from dseinvert import cli, names
from dseinvert.cli import process
from dseinvert.cli.main import run
from dseinvert.editing.directions import Direction, load_directions
from dseinvert.errors import InputError, MissingError, OutputError
from dseinvert.export.exporting import read_export
from dseinvert.importers.directions import convert
from dseinvert.media import tables
from dseinvert.media.atomic import open_in_place, within
from dseinvert.media.frame_files import probe_frames
from dseinvert.models import open_model, verify
from dseinvert.run.directions.labels import read_table
from dseinvert.run.flow.progress import watching
from dseinvert.run.images.journal import Entry, FaceEntry, dumps, open_journal, read
from dseinvert.run.images.page import write_page
from dseinvert.run.video.records import Record as Rec
from dseinvert.run.video.records import read_records, write_table
from dseinvert.run.video.unfinished import intended, working
from dseinvert.training.pictures import read_tar
from dseinvert.training.record import Record

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
    "name",
    [
        *("a/b", "..", ".", ".a", "", "a\nb", "a\\b", "c:a", "a" * 256, None),
        *("a\u202egnp.exe", "a\u200bb", "\ufeffa", "a\u2066b\u2069", "a\U000e0041b"),
    ],
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
    assert "a bug" not in told and told.isprintable()
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


# Links


@pytest.mark.parametrize("to", ["victim.txt", "nowhere", "/dev/null"])
def test_a_journal_that_is_a_link_is_refused(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], to: str
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim.txt"
    out.mkdir()
    victim.write_text("mine")
    (out / "journal.jsonl").symlink_to(tmp_path / to)
    assert dse("images", pictures, "--out", out, "--no-align", "-q") != 0
    assert "is a link" in one_line(capfd)
    assert victim.read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_a_link_that_is_laid_after_the_look_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "victim.txt")
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)
    with pytest.raises(OSError, match="symbolic links"):
        open_in_place(tmp_path / "journal.jsonl")
    assert not (tmp_path / "victim.txt").exists()


def test_a_journal_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal.jsonl")
    with pytest.raises(OutputError, match="not a regular file"):
        open_journal(tmp_path).__enter__()
    with pytest.raises(OutputError, match="not a regular file"):
        read(tmp_path / "journal.jsonl")


def test_a_table_of_training_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    record = Record(tmp_path, 0)
    record.ready.add("loss")  # as if a link were laid after the table began
    (tmp_path / "loss.csv").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="is a link"):
        record.add("loss", 1, {"a": 1.0})
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "a/b", ".."])
def test_verify_hashes_files_of_the_folder_alone(
    tiny_model: Path, tmp_path: Path, file: str
) -> None:
    sent = copied(tiny_model, tmp_path / "sent", sha256={file: "00"})
    with pytest.raises(MissingError, match="not a plain file name"):
        verify(sent)


def test_an_export_names_files_of_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    out = tmp_path / "out"
    out.mkdir()
    for file, told in (("g.onnx", "../secret"), ("../secret", "g.onnx")):
        sums = {told: hashlib.sha256(b"secret").hexdigest()}
        (out / "g.onnx").write_text("secret")
        sidecar = {"format": "dseinvert-export-1", "files": {"g": {"file": file, "sha256": sums}}}
        (out / "export.json").write_text(json.dumps(sidecar))
        assert read_export(out) is None


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_a_tar_with_a_link_or_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("a\x1b.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "real.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(InputError, match=r"is no plain file") as caught:
        read_tar(tmp_path / "real.tar", 8)
    assert str(caught.value).isprintable()


def test_a_tar_with_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.png")
    member.size = 40
    with tarfile.open(tmp_path / "real.tar", "w") as tar:
        tar.addfile(member, io.BytesIO(PNG[:40]))
    with pytest.raises(InputError, match="not a readable tar"):
        read_tar(tmp_path / "real.tar", 8)


# Terminals

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert names.printable(f"é {ESCAPE}\n") == "é \\x1b]0;owned\\x07\\x1b[2J\\n"
    assert names.printable("\udcff\u202e") == "\\udcff\\u202e"


def test_a_name_that_turns_the_writing_round_is_written_otherwise_and_shown_as_it_is(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photo, out = tmp_path / "a\u202egnp.\u200bexe.png", tmp_path / "out"
    Image.new("RGB", (16, 16), "red").save(photo)
    words = ["images", str(photo), "--out", str(out), "--model", str(tiny_model), "--no-align"]
    assert run([*words, "--log", str(tmp_path / "run.log")]) == 0
    written = sorted(path.name for path in out.iterdir())
    assert "a_gnp._exe.safetensors" in written
    assert not [name for name in written if re.search(f"[{names.UNSEEN}]", name)]
    page = (out / "index.html").read_text()
    assert "a\\u202egnp.\\u200bexe.png" in page
    for text in (page, (out / "metrics.csv").read_text(), (tmp_path / "run.log").read_text()):
        assert not {*"\u202e\u200b"} & {*text}
    assert not {*"\u202e\u200b"} & {*"".join(capfd.readouterr())}
    before = (out / "journal.jsonl").read_bytes()
    assert run(words) == 0 and (out / "journal.jsonl").read_bytes() == before


def test_what_writes_from_the_right_and_joined_emoji_stay_as_they_are() -> None:
    for text in ("\u0634\u200c\u0647", "\U0001f468\u200d\U0001f469", "\u05d0\u05d1"):
        assert names.file_name(text) == text == names.seen(text)


def test_a_card_cannot_write_on_the_terminal(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sent = copied(tiny_model, tmp_path / "sent", description=ESCAPE, licence=ESCAPE)
    assert run(["models", "show", str(sent)]) == 0
    told = capfd.readouterr()
    assert "\\x1b]0;owned" in told.out and "\x1b" not in told.out + told.err
    (sent / "model.json").write_text(json.dumps({"format": ESCAPE}))
    assert run(["models", "show", str(sent)]) != 0
    assert run(["models", "show", ESCAPE]) != 0
    assert "\x1b" not in capfd.readouterr().err


def test_the_progress_of_a_run_cannot_write_on_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with watching() as terminal:
        terminal.note(ESCAPE)
        terminal.problem(f"[red]{ESCAPE}")
    told = capfd.readouterr().err
    assert "\x1b" not in told and "\\x1b]0;owned" in told and "[red]" in told


def test_the_log_cannot_write_on_the_terminal() -> None:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "%s", (ESCAPE,), None)
    assert process._printable(record) and "\x1b" not in record.getMessage()


def test_all_verbs_print_by_one_door() -> None:
    for path in (Path(cli.__file__).parent).glob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        printed = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert len(printed) == (2 if path.name == "stdout.py" else 0), path


# Tables


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(1)", " =1+1", "'=1"]
)
def test_text_is_never_a_formula(text: str) -> None:
    assert tables.cell(text) == f"'{text}"
    assert tables.plain(tables.cell(text)) == text


@pytest.mark.parametrize("value", [-1.5, -3, "-1.5", "a", "", "age+2", "'tis"])
def test_numbers_and_other_text_stay_as_they_are(value: str | float) -> None:
    assert tables.cell(value) == str(value) and tables.plain(str(value)) == str(value)


def test_no_fact_ends_its_comment() -> None:
    told = tables.table_bytes([["a"], ["=b\nc"]], {"model": "x\n=cmd|a"}).decode()
    assert told == "# model: x =cmd|a\na\n'=b c\n"


def test_a_picture_with_the_name_of_a_formula(dse: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "p0.png").rename(pictures / "=cmd.png")
    given = ("--out", tmp_path / "out", "--no-align", "-q")
    assert dse("images", pictures / "=cmd.png", *given) == 0
    rows = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert [row.startswith("'=cmd,") for row in rows if not row.startswith("#")] == [False, True]


# Records of clips


def clip_task(folder: Path) -> Any:
    kept = folder / ".a.dse-work"
    return SimpleNamespace(folder=folder, name="a", kept=kept, outputs=(), tracks_key="t")


def test_records_of_clips_are_of_files_in_their_folder(tmp_path: Path) -> None:
    plain = ("age+2", "k", "s", "c", "00", 1, 0, 1, 0)
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.mp4").write_text("secret")
    (out / "linked.mp4").symlink_to(tmp_path / "secret.mp4")
    videos = ("own.mp4", "=own.mp4", "/etc/passwd", "../secret.mp4", "linked.mp4", "a\x1b.mp4")
    write_table(clip_task(out), [Rec(video, *plain) for video in videos], {})
    assert [*read_records(clip_task(out))] == ["own.mp4", "=own.mp4"]
    (out / "a.metrics.csv").write_bytes(b'video,edit\n"' + b"x" * 200_000 + b'"\n')
    assert read_records(clip_task(out)) == {}


@pytest.mark.parametrize("notes", ["[]", '{"a": 1}', '{"../a": {}}', "[" * 100_000])
def test_what_a_killed_run_meant_to_write_is_checked(tmp_path: Path, notes: str) -> None:
    task = clip_task(tmp_path)
    task.kept.mkdir()
    (task.kept / "outputs.json").write_text(notes)
    assert intended(task) == {}


def test_the_folder_of_unfinished_work_is_no_link(tmp_path: Path) -> None:
    task, own = clip_task(tmp_path / "out"), tmp_path / "own"
    own.mkdir()
    task.folder.mkdir()
    (own / "letter.txt").write_text("mine")
    task.kept.symlink_to(own)
    with pytest.raises(OutputError, match="is a link"):
        working(task).__enter__()
    assert (own / "letter.txt").read_text() == "mine"


# The document

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


def test_every_claim_of_the_document_has_its_test() -> None:
    own = {path: path.read_text() for path in (SECURITY.parents[1] / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+)`", SECURITY.read_text())
    assert len(named) > 20
    missing = [name for name in named if not any(f"def {name}(" in text for text in own.values())]
    assert missing == []


@pytest.mark.parametrize("table", ["file,smile", "file,pts,time_base"])
def test_a_table_with_a_field_without_end_is_refused(tmp_path: Path, table: str) -> None:
    told = f"{table}\n" + '"' + "x" * 200_000 + '",1,1\n'
    for file in ("labels.csv", "times.csv"):
        (tmp_path / file).write_text(told)
    (tmp_path / "a.png").write_bytes(PNG)
    with pytest.raises(InputError, match="table"):
        read_table(tmp_path / "labels.csv")
    with pytest.raises(InputError, match="not a table of these frames"):
        probe_frames(tmp_path, None)


@pytest.mark.parametrize("verb", ["import", "rename"])
def test_a_direction_cannot_be_given_the_name_of_a_path(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], verb: str
) -> None:
    model = copied(tiny_model, tmp_path / "own")
    np.save(tmp_path / "age_w.npy", np.ones((1, 16), np.float32))
    given = {
        "import": ["import", str(tmp_path / "age_w.npy"), "--name", "../up"],
        "rename": ["rename", "age", "../up"],
    }
    assert run(["directions", *given[verb], "--model", str(model)]) == 2
    assert "cannot be named" in one_line(capfd)
