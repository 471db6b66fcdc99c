"""What the page is made of, without a browser: what it asks for, and what is done."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import pytest
import torch

import dseinvert
from dseinvert.cli.main import run
from dseinvert.config import VideoOptions
from dseinvert.editing.script import read_script
from dseinvert.media.clip import probe
from dseinvert.ui import given, job, lines
from dseinvert.ui.clips import Clip
from dseinvert.ui.photos import Photos
from dseinvert.ui.session import Answer, Session, Sessions
from tests.conftest import ROOT
from tests.moving_face import clip

GROUP = ROOT / "examples" / "faces" / "group.jpg"


@pytest.fixture(scope="module")
def gan() -> dseinvert.Gan:
    return dseinvert.load("default", backend="torch")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clip") / "moving.mp4", 8)


@pytest.fixture
def session() -> Iterator[Session]:
    opened = Session("default")
    yield opened
    opened.end()


def test_sliders_at_rest_are_no_edit() -> None:
    assert given.edits_text({"age": 2, "smile": "auto", "hair": 0, "pose": -0.5}) == (
        "age=+2,smile=auto,pose=-0.5"
    )
    for wrong in ("x", None, True, [1], float("nan")):
        with pytest.raises(dseinvert.UsageError, match="age"):
            given.edits_text({"age": wrong})


def test_the_file_of_edits_is_one_that_the_command_line_reads(tmp_path: Path) -> None:
    rows = [
        {"who": "2", "name": "age", "keys": [[1.5, 2], [0, 0]]},
        {"who": "", "edits": {"smile": 1, "hair": 0}},
        {"who": "left", "edits": {"hair": 0}},
    ]
    file = tmp_path / "edits.toml"
    file.write_text(lines.script_of(rows))
    _, (keyed, plain) = read_script(file)
    assert (keyed.who, keyed.edit, keyed.keys) == ("2", "age", ((0.0, 0.0), (1.5, 2.0)))
    assert (plain.who, plain.edit) == ("", "smile=+1")
    for wrong in ("x", {"name": "age", "keys": ["x"]}, {"name": "age", "keys": [[0, "y"]]}):
        with pytest.raises(dseinvert.UsageError):
            lines.script_of([wrong])


def test_the_lines_of_faces_that_are_not_the_largest_edit_their_latents() -> None:
    words = lines.Words("age=+2", "none", "")
    told = lines.of_photo("default", "a b.jpg", [1], words)["shell"]
    assert told.splitlines() == [
        "dseinvert images 'a b.jpg' --out out --model default --faces 2",
        "dseinvert edit 'out/a b-2.safetensors' --edit age=+2 --model default --out edited",
    ]


def test_the_python_lines_of_a_photo_do_what_its_view_shows(
    gan: dseinvert.Gan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = Photos(gan)
    told = photos.add("group.jpg", GROUP.read_bytes())
    asked = {"photo": told["id"], "faces": [0, 2], "edits": {"age": 2}, "mask": "face"}
    python = photos.draw(asked)["lines"]["python"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group.jpg").write_bytes(GROUP.read_bytes())
    exec(compile(python, "page", "exec"), {})
    shown = dseinvert.open_photo(photos.save(asked).data)
    written = dseinvert.open_photo(tmp_path / "edited.png")
    assert np.array_equal(shown.pixels, written.pixels)
    assert not np.array_equal(shown.pixels, dseinvert.open_photo(GROUP).pixels)


def test_only_the_last_photos_are_kept(gan: dseinvert.Gan) -> None:
    photos = Photos(gan)
    first = photos.add("group.jpg", GROUP.read_bytes())["id"]
    photos.draw({"photo": first, "faces": [0]})
    for _ in range(6):
        photos.add("group.jpg", GROUP.read_bytes())
    assert len(photos.told()) == 6
    assert not photos._found
    with pytest.raises(dseinvert.UsageError, match="drop it again"):
        photos.draw({"photo": first, "faces": [0]})


def test_a_mask_of_the_page_is_no_file_of_the_machine(gan: dseinvert.Gan) -> None:
    photos = Photos(gan)
    key = photos.add("group.jpg", GROUP.read_bytes())["id"]
    for mask in (str(GROUP), "/etc/passwd"):
        with pytest.raises(dseinvert.UsageError, match="auto or face"):
            photos.save({"photo": key, "faces": [0], "mask": mask})


def test_the_settings_of_a_photo_make_the_command_line_write_what_the_page_saves(
    gan: dseinvert.Gan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = Photos(gan)
    key = photos.add("group.jpg", GROUP.read_bytes())["id"]
    asked = {"photo": key, "faces": [0, 1], "edits": {"age": 2}, "mask": "face", "view": "photo"}
    shutil.copy(GROUP, tmp_path)
    settings(photos.settings(asked), tmp_path, monkeypatch)
    assert run(["images", "group.jpg", "--config", "run.toml", "-q"]) == 0
    assert len([*Path("out").glob("*.photo.png")]) == 1
    shown = dseinvert.open_photo(photos.save(asked).data).pixels
    (whole,) = Path("out").glob("*.photo.png")
    # A batch of two faces and one of one face differ in their last bits.
    apart = np.abs(dseinvert.open_photo(whole).pixels.astype(int) - shown)
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3, (apart.max(), (apart > 0).mean())
    plain = photos.latent({**asked, "edits": {}})
    kept, saved = dseinvert.Latent.load(Path("out") / plain.name), tmp_path / "saved.safetensors"
    saved.write_bytes(plain.data)
    # A batch of two faces and one of one face differ in their last bits.
    torch.testing.assert_close(kept.code, dseinvert.Latent.load(saved).code, atol=1e-4, rtol=1e-4)


def settings(saved: Answer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of settings in a folder, which becomes the current one."""
    assert isinstance(saved, given.Download)
    (folder / saved.name).write_bytes(saved.data)
    monkeypatch.chdir(folder)


def made(folder: Path, pattern: str) -> dict[str, bytes]:
    found = {file.name: file.read_bytes() for file in folder.glob(pattern)}
    assert found
    return found


def test_a_batch_and_the_command_line_with_its_settings_write_the_same_bytes(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(GROUP.parent, tmp_path / "in", ignore=lambda *_: ["crowd.jpg"])
    session = Session(str(tiny_model))
    asked = {"folder": str(tmp_path / "in"), "edits": {"age": 2}, "mask": "face", "paste": True}
    settings(session.answer("settings", asked), tmp_path, monkeypatch)
    session.answer("batch", {**asked, "out": str(tmp_path / "page")})
    (told,) = session.jobs.told()
    process = session.jobs.get(told["id"]).process
    assert process is not None and process.wait(200) == 0
    session.end()
    assert run(["images", str(tmp_path / "in"), "--config", "run.toml", "-q"]) == 0
    for pattern in ("*.png", "*.safetensors"):
        assert made(tmp_path / "out", pattern) == made(tmp_path / "page", pattern)


def test_a_clip_and_the_command_line_with_its_settings_write_the_same_bytes(
    source: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(str(tiny_model))
    session.clip(source, uploaded=False)
    keys = {"who": "", "name": "age", "keys": [[0, 0], [0.3, 2]]}
    asked = {"rows": [keys, {"who": "", "edits": {"smile": 1}}]}
    session.answer("export", {**asked, "out": str(tmp_path / "page")})
    (told,) = session.jobs.told()
    process = session.jobs.get(told["id"]).process
    assert process is not None and process.wait(200) == 0
    for action in ("edits", "settings"):
        settings(session.answer(action, asked), tmp_path, monkeypatch)
    session.end()
    assert run(["video", str(source), "--config", "run.toml", "-q"]) == 0
    (exported,) = made(tmp_path / "page", "*.mp4").values()
    assert [*made(tmp_path / "out", "*.mp4").values()] == [exported]


def test_a_refinement_does_not_keep_another_slider_waiting(
    gan: dseinvert.Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, held, let_go = Photos(gan), threading.Event(), threading.Event()
    key = photos.add("group.jpg", GROUP.read_bytes())["id"]
    invert, refined_is = gan.invert, photos._photos[key].faces[2]

    def slow(face: dseinvert.Face, *, refine: str, watch: Any) -> dseinvert.Found:
        if refine != "none":
            held.set()
            while not let_go.wait(0.01):
                watch(1, None)
            return invert(refined_is)
        return invert(face)

    monkeypatch.setattr(gan, "invert", slow)
    asked = {"photo": key, "faces": [0], "refine": "latent:2", "wait": False}
    early = photos.draw({**asked, "edits": {"age": 1}})
    assert held.wait(60)
    assert early["refining"] and "refining" in early["said"]
    moved = photos.draw({**asked, "edits": {"age": 3}})
    assert moved["refining"] and moved["after"] != early["after"]
    assert photos.draw({**asked, "faces": [1], "refine": "none"})["refining"] is False
    let_go.set()
    refined = photos.draw({**asked, "edits": {"age": 3}, "wait": True})
    assert not refined["refining"] and refined["after"] != moved["after"]
    let_go.clear()
    photos.draw({**asked, "refine": "latent:3"})
    (waiting,) = [one for known, one in photos._found.items() if known[2] == "latent:3"]
    photos.end()
    assert isinstance(waiting.exception(60), dseinvert.UsageError)


def test_a_picture_that_the_page_has_is_not_sent_again(gan: dseinvert.Gan) -> None:
    photos = Photos(gan)
    key = photos.add("group.jpg", GROUP.read_bytes())["id"]
    asked = {"photo": key, "faces": [0], "view": "photo"}
    assert {*photos.draw(asked)} - {*photos.draw({**asked, "before": False})} == {"before"}


def test_a_moment_is_the_still_of_the_command_line_and_inverts_once(
    gan: dseinvert.Gan, source: Path
) -> None:
    video = gan.video(source)
    moment = video.moment(0.2)
    drawn = moment.draw("age=+2")
    assert np.array_equal(drawn.pixels, video.edit("age=+2").still(0.2).pixels)
    assert not np.array_equal(drawn.pixels, moment.draw("smile=+2").pixels)
    assert moment.source.pixels.shape == drawn.pixels.shape


def test_a_person_who_is_named_is_edited_and_nobody_else(
    gan: dseinvert.Gan, source: Path, tmp_path: Path
) -> None:
    opened = Clip(gan, source, tmp_path, uploaded=False)
    assert [one["number"] for one in opened.people()] == [1]
    frame = opened.frame({"time": 0.2, "rows": [{"who": "1", "edits": {"age": 2}}]})
    assert frame["before"] != frame["after"]
    nobody = opened.frame({"time": 0.2, "rows": [{"who": "2", "edits": {"age": 2}}]})
    assert nobody["before"] == nobody["after"]


def test_a_clip_of_two_hours_is_told_and_not_searched(
    gan: dseinvert.Gan, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Clip(gan, source, tmp_path, uploaded=False)
    monkeypatch.setattr("dseinvert.ui.clips._SEARCHED", 0.1)
    with pytest.raises(dseinvert.UsageError, match="minutes long"):
        opened.people()
    with pytest.raises(dseinvert.UsageError, match="up to 30 seconds"):
        opened.preview({"start": 0, "end": 7200}, tmp_path / "a.mp4")


def test_a_preview_is_what_browsers_play(gan: dseinvert.Gan, source: Path, tmp_path: Path) -> None:
    opened = Clip(gan, source, tmp_path, uploaded=False)
    opened.preview({"start": 0, "end": 0.3}, tmp_path / "a.mp4")
    made = probe(tmp_path / "a.mp4")
    assert (made.codec, made.pixel_format) == ("h264", "yuv420p")


def test_a_full_disk_ends_an_export_with_a_sentence(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise dseinvert.OutputError("/out: no space left on device", "free some space")

    monkeypatch.setattr("dseinvert.run.video.run.run_video", full)
    spec, journal = tmp_path / "spec.json", tmp_path / "journal.jsonl"
    spec.write_bytes(job.spec_of("video", [str(source)], VideoOptions(out=tmp_path)))
    assert job.main(spec, journal) == 6
    last = json.loads(journal.read_text().splitlines()[-1])
    assert "no space left on device" in last["said"]


def test_the_options_of_an_export_arrive_as_they_were(tmp_path: Path) -> None:
    options = VideoOptions(out=tmp_path, script=tmp_path / "e.toml", faces="all", model="mine")
    spec = json.loads(job.spec_of("video", ["a.mp4"], options))
    assert spec["paths"] == ["a.mp4"]
    assert job.options_of(spec) == options


def test_an_export_into_the_folder_of_an_earlier_one_is_made_anew(
    session: Session, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[VideoOptions] = []

    def begin(verb: str, paths: list[str], options: VideoOptions) -> dict[str, str]:
        begun.append(options)
        return {}

    monkeypatch.setattr(session.jobs, "begin", begin)
    session.clip(source, uploaded=False)
    for strength in (1, 2):
        rows = [{"who": "", "edits": {"age": strength}}]
        session.answer("export", {"out": str(tmp_path / "out"), "rows": rows})
    assert [options.overwrite for options in begun] == [False, True]


def test_an_export_is_stopped_and_goes_on(session: Session, source: Path, tmp_path: Path) -> None:
    session.clip(source, uploaded=False)
    rows = [{"who": "", "edits": {"age": 2}}]
    session.answer("export", {"out": str(tmp_path / "out"), "rows": rows})
    (told,) = session.jobs.told()
    export = session.jobs.get(told["id"])
    assert export.process is not None
    while not str(export.told()["what"]).startswith("moving: "):
        with pytest.raises(TimeoutExpired):
            export.process.wait(0.1)
    session.answer("stop", {"job": export.key})
    export.process.wait(120)
    assert export.told()["exit_code"] == 130
    assert not [*(tmp_path / "out").glob("*.mp4")]
    session.answer("go-on", {"job": export.key})
    export.process.wait(240)
    assert export.told()["exit_code"] == 0
    assert "moving.edits-moving-edits.mp4" in export.told()["files"]


def test_what_a_session_does_not_know_is_a_sentence(session: Session) -> None:
    for action, asked in (
        ("fly", {}),
        ("frame", {"time": 0}),
        ("export", {}),
        ("stop", {"job": "x"}),
        ("draw", {"photo": "x"}),
        ("batch", {"folder": ""}),
        ("add-model", {}),
    ):
        with pytest.raises(dseinvert.UsageError):
            session.answer(action, asked)


def test_a_file_that_is_dropped_lies_in_the_folder_of_its_session(session: Session) -> None:
    for name in ("../../a.mp4", "/etc/passwd", "..\\a.mp4", ".."):
        assert session.place(name).resolve().is_relative_to(session.folder.resolve())


def test_a_session_goes_with_what_it_kept() -> None:
    sessions = Sessions("default")
    keys = [sessions.begin() for _ in range(17)]
    assert len({*keys}) == 17
    assert sessions.get(keys[0]) is None
    last = sessions.get(keys[-1])
    assert last is not None
    assert last.folder.is_dir()
    sessions.end()
    assert not last.folder.exists()
