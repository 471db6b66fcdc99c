"""Videos made with other options are not replaced, unless --overwrite is given."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dseinvert.cards import read_card
from dseinvert.media.clip import probe
from dseinvert.run.video import keys
from dseinvert.run.video.kept import differences
from tests.moving_face import clip

Run = Callable[..., int]
NAME = "talking.age+2.mp4"


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 4)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, talking: Path, tiny_model: Path) -> Path:
    from dseinvert.cli.main import run

    out = tmp_path_factory.mktemp("done") / "out"
    words = ["video", str(talking), "--edit", "age=2", "--model", str(tiny_model)]
    assert run([*words, "--out", str(out), "-q"]) == 0
    return out


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A folder of its own with a video in it."""
    return shutil.copytree(done, tmp_path / "out")


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--refine", "generator:1"), "--refine none, now generator:1"),
        (("--smooth", "0.25"), "--smooth auto, now 0.25"),
        (("--paste", "replace"), "--paste difference, now replace"),
        (("--blend", "difference"), "--blend moved, now difference"),
        (("--mask", "face"), "another --mask or --region"),
        (("--region", "mouth"), "another --mask or --region"),
        (("--start", "0.02"), "another --start"),
        (("--faces", "all"), "--faces largest, now all"),
        (("--person", "left"), "another --person"),
        (("--rotate", "180"), "--rotate auto, now 180"),
        (("--deinterlace",), "--deinterlace off, now on"),
        (("--segment", "2"), "--segment 250, now 2"),
        (("--keep-gps",), "--keep-gps off, now on"),
        (("--crf", "40"), "another codec, quality or size"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_video_of_other_options_is_not_replaced(
    dse: Run,
    talking: Path,
    out: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    told: str,
) -> None:
    def decoded(*_: object, **__: object) -> None:
        pytest.fail("a clip was decoded")

    monkeypatch.setattr("dseinvert.run.video.work.read_frames", decoded)
    before = tree(out)
    assert dse("video", talking, "--edit", "age=2", "--out", out, "-q", *options) == 6
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{NAME}: is there already, made with {told} (choose another --out" in line
    assert "--overwrite" in line and tree(out) == before


def test_one_of_another_model_is_not_replaced(
    dse: Run, talking: Path, out: Path, other_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = tree(out)
    words = ("video", talking, "--edit", "age=2", "--out", out, "-q", "--model", other_model)
    assert dse(*words) == 6
    assert "made with another --model (choose" in capfd.readouterr().err
    assert tree(out) == before


def test_one_of_the_model_that_an_earlier_version_bundled_is_made_again(
    dse: Run,
    talking: Path,
    tmp_path: Path,
    tiny_model: Path,
    other_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    words = ("video", talking, "--edit", "age=2", "--out", out, "-q")
    monkeypatch.setattr("dseinvert.run.video.plan.bundled_card", lambda: read_card(tiny_model))
    assert dse(*words) == 0
    before = tree(out)
    monkeypatch.setattr("dseinvert.run.video.plan.bundled_card", lambda: read_card(other_model))
    assert dse(*words, "--model", other_model) == 0
    assert tree(out)[NAME] != before[NAME]


def test_of_a_bundled_model_only_what_a_user_chose_is_told() -> None:
    then = {"bundled": True, "generator": "1", "encoder": "1", "edit": ["age+1", "0"]}
    assert not differences(then, {**then, "edit": ["age+1", "1"]})
    assert not differences(then, {**then, "generator": "2", "feature_editor": "3"})
    assert differences(then, {**then, "feature_editor": "3"}) == ["another --feature-edit"]
    assert differences(then, {**then, "generator": "2", "bundled": False}) == ["another --model"]
    assert differences({**then, "edit": ["age=auto", "0"]}, {**then, "edit": ["age=auto", "1"]})


def test_with_overwrite_it_is(dse: Run, talking: Path, out: Path) -> None:
    before = tree(out)
    words = ("video", talking, "--edit", "age=2", "--out", out, "-q", "--smooth", "0")
    assert dse(*words) == 6
    assert dse(*words, "--overwrite") == 0
    assert tree(out)["talking.safetensors"] != before["talking.safetensors"]
    assert dse(*words) == 0


def test_what_only_adds_or_changes_nothing_goes_on(dse: Run, talking: Path, out: Path) -> None:
    before = tree(out)
    words = ("video", talking, "--out", out, "-q")
    for options in (
        ("--edit", "age=2", "--batch", "1", "--preview"),
        ("--edit", "smile=1", "--mask", "face"),
    ):
        assert dse(*words, *options) == 0
        assert tree(out)[NAME] == before[NAME]


def test_what_an_option_is_without_being_given_is_no_other_option(
    dse: Run, talking: Path, out: Path
) -> None:
    words = ("video", talking, "--edit", "age=2", "--paste", "difference", "--out", out, "-q")
    assert dse(*words) == 0


def test_further_edits_of_somebody_keep_nothing_from_going_on(
    dse: Run, talking: Path, out: Path
) -> None:
    words = ("video", talking, "--edit", "age=2", "--edit", "1:smile=1", "--out", out, "-q")
    assert dse(*words) == 0


def test_a_newer_version_makes_anew(
    dse: Run, talking: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OUTPUTS", "PASTING"):
        monkeypatch.setattr(keys, name, 99)
        stamp = (out / NAME).stat().st_mtime_ns
        assert dse("video", talking, "--edit", "age=2", "--out", out, "-q") == 0
        assert (out / NAME).stat().st_mtime_ns != stamp


def without_settings(out: Path) -> None:
    """Rewrite the table as earlier versions wrote it."""
    path = out / "talking.metrics.csv"
    lines = path.read_text().splitlines()
    facts = [line for line in lines if line.startswith("#")]
    rows = [*csv.reader(lines[len(facts) :])]
    at = rows[0].index("settings")
    with path.open("w", newline="") as file:
        file.writelines(f"{line}\n" for line in facts)
        csv.writer(file).writerows([row[:at] + row[at + 1 :] for row in rows])


def test_records_that_cannot_tell_are_of_an_earlier_version_and_are_made_anew(
    dse: Run, talking: Path, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    without_settings(out)
    before, words = tree(out), ("video", talking, "--edit", "age=2", "--out", out, "-q")
    assert dse(*words) == 0 and tree(out) == before, "it is done"
    assert dse(*words, "--crf", "40") == 6
    assert "another codec, quality or size" in capfd.readouterr().err
    assert dse(*words, "--smooth", "0") == 0
    assert tree(out)["talking.safetensors"] != before["talking.safetensors"]


def test_settings_that_are_nothing_like_settings_refuse_nothing(
    dse: Run, talking: Path, out: Path
) -> None:
    path, words = out / "talking.metrics.csv", ("--edit", "age=2", "--out", out, "-q")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines).replace('""outputs""', "[") + "\n")
    assert dse("video", talking, *words, "--smooth", "0") == 0


def test_one_file_of_another_edit_is_not_replaced(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.mp4"
    words = ("video", talking, "--out", file, "-q", "--edit")
    assert dse(*words, "age=2") == 0
    before = file.read_bytes()
    assert dse(*words, "age=1") == 6
    assert "made with the edit age+2, now age+1 (" in capfd.readouterr().err
    assert dse(*words, "age=2", "--side-by-side") == 6
    assert "--side-by-side off, now on" in capfd.readouterr().err
    assert file.read_bytes() == before


def test_a_changed_file_of_edits_makes_its_video_anew_as_a_changed_source_does(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    script, out, made = tmp_path / "mine.toml", tmp_path / "out", []
    words = ("video", talking, "--edits", script, "--out", out, "-q")
    for strength in ("1", "2", "1"):
        script.write_text(f'[[edit]]\nedit = "age={strength}"\n')
        assert dse(*words) == 0
        (video,) = out.glob("*.mp4")
        made.append(video.read_bytes())
    assert made[0] == made[2] != made[1]


def test_what_a_killed_run_had_finished_is_not_replaced(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit(9)

    words = ("video", talking, "--edit", "age=2", "--out", tmp_path, "-q")
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr("dseinvert.run.video.run._report", killed)
        dse(*words)
    before = hashlib.sha256((tmp_path / NAME).read_bytes())
    assert not (tmp_path / "talking.metrics.csv").exists()
    assert dse(*words, "--smooth", "0") == 6
    assert dse(*words) == 0
    assert hashlib.sha256((tmp_path / NAME).read_bytes()).digest() == before.digest()
    assert probe(tmp_path / NAME).size == probe(talking).size


def test_shards_replace_nothing_that_one_process_made_otherwise(
    dse: Run, talking: Path, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, words = tree(out)[NAME], ("video", talking, "--edit", "age=2", "--out", out, "-q")
    for number in (1, 2):
        code = dse(*words, "--smooth", "0", "--shard", f"{number}/2")
        assert (out / NAME).read_bytes() == before
        if code:
            break
    assert code == 6 and "--smooth auto, now 0" in capfd.readouterr().err


PEOPLE: list[Any] = [{"left": []}, ["left"], ["left"], ""]


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ({}, {"smooth": "auto"}, []),
        ({"smooth": "auto"}, {"smooth": "auto", "stars": 5}, ["another 'stars'"]),
        ({"outputs": 1}, {"outputs": 2}, []),
        ({"generator": "a", "edit": ["x", "1"]}, {"generator": "b", "edit": ["x", "2"]}, 1),
        ({"edit": ["x", "1"]}, {"edit": ["x", "2"]}, ["another direction of --edit x"]),
        ({"edit": ["recon", ""]}, {"edit": ["recon", ""], "where": ["face", None]}, []),
        ({"people": PEOPLE}, {"people": [{"a.png": ["0f"]}, ["a.png"], ["a.png"], "n"]}, 1),
        (
            {"people": [{"a.png": ["0f"]}, [], ["", "a.png"], "n"]},
            {"people": [{"a.png": ["0f"], "2": []}, [], ["", "2", "a.png"], "n"]},
            [],
        ),
        (
            {"people": [{"a.png": ["0f"]}, [], ["", "a.png"], "n"]},
            {"people": [{"a.png": ["1f"]}, [], ["", "a.png"], "n"]},
            ["another --person"],
        ),
        ({"people": "no list"}, {"people": PEOPLE}, ["another --person"]),
        ({"blend": 7, "edit": {"a": 1}, "paste": []}, {"edit": ["x", "1"]}, 2),
        ({"paste": None, "edit": ["x", "1"]}, {"paste": "difference", "edit": ["x", "1"]}, []),
    ],
)
def test_what_differs_is_named(theirs: Any, ours: Any, told: Any) -> None:
    found = differences(theirs, ours)
    assert (len(found) if isinstance(told, int) else found) == told
