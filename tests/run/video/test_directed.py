"""A clip edited as directed: who, when and where; the rest of it stays as it is."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dseinvert
from dseinvert.api.video import Video
from dseinvert.config import VideoOptions
from dseinvert.faces.detect import open_detector
from dseinvert.media.clip import probe
from dseinvert.media.colour import Converter
from dseinvert.media.images import encode_png, read_image
from dseinvert.media.video_read import read_frames
from dseinvert.run.video.cast import SIDE, every_of, find_everybody, load_people, save_people
from dseinvert.similarity.identity import Identity
from tests.media.test_planes import stored
from tests.moving_face import STEP, clip, frames
from tests.test_api_video import Heard

Run = Callable[..., int]
WIDE = (256, 144)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people side by side for 12 frames."""
    return clip(tmp_path_factory.mktemp("clips") / "two.mp4", 12, size=WIDE, faces=(1, 2))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face for one second."""
    return clip(tmp_path_factory.mktemp("clips") / "one.mp4", 25)


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame.pixels for frame in read_frames(probe(path))]).astype(int)


def changed(source: Path, edited: np.ndarray) -> tuple[bool, bool]:
    """Whether the left and the right third are changed."""
    gap = np.abs(pixels(source) - edited).max((0, 1, 3))
    left, right = gap[: len(gap) // 3], gap[-(len(gap) // 3) :]
    return bool(left.max() > 0), bool(right.max() > 0)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face for four seconds."""
    return clip(tmp_path_factory.mktemp("clips") / "long.mp4", 100)


@pytest.fixture(scope="module")
def gan(tiny_model: Path) -> dseinvert.Gan:
    return dseinvert.load(tiny_model, backend="torch")


def frames_of(video: Video) -> np.ndarray:
    return np.stack([frame.pixels for frame in video]).astype(int)


@pytest.mark.parametrize(
    ("options", "edits", "sides"),
    [
        ({}, ["1:age=3"], (True, False)),
        ({}, ["right:age=3"], (False, True)),
        ({"person": 2}, ["age=3"], (False, True)),
        ({"person": "right", "paste": "replace"}, ["age=3"], (False, True)),
        ({"paste": "replace"}, ["left:age=3"], (True, False)),
        ({}, ["1:age=3", "right:smile=3"], (True, True)),
    ],
    ids=["number", "side", "person", "person replaced", "side replaced", "both"],
)
def test_only_who_is_named_is_changed(
    gan: dseinvert.Gan,
    two: Path,
    options: dict[str, Any],
    edits: list[str],
    sides: tuple[bool, bool],
) -> None:
    assert changed(two, frames_of(gan.video(two, **options).edit(*edits))) == sides


def test_each_person_has_their_own_edit_in_one_video(gan: dseinvert.Gan, two: Path) -> None:
    video = gan.video(two, faces="all")
    both = frames_of(video.edit("1:age=3", "2:smile=3"))
    assert (both[:, :, :80] == frames_of(video.edit("age=3"))[:, :, :80]).all()
    assert (both[:, :, -80:] == frames_of(video.edit("smile=3"))[:, :, -80:]).all()


def test_before_a_ramp_begins_that_person_is_untouched_bit_for_bit(
    dse: Run, two: Path, tmp_path: Path
) -> None:
    script = tmp_path / "both.toml"
    lines = [
        f'[[edit]]\nperson = "{who}"\nedit = "{what}"\nkeys = [[{begin}, 0], [{begin + 0.08}, 3]]\n'
        for who, what, begin in (("left", "age", 0.12), ("right", "smile", 0.24))
    ]
    script.write_text("".join(lines))
    words = ("--edits", script, "--codec", "ffv1", "--out", tmp_path, "-q")
    assert dse("video", two, *words) == 0
    (made,) = tmp_path.glob("two.edits-both.*")
    pairs = zip(stored(two), stored(made), strict=True)
    sides = [[_differing_halves(*planes) for planes in zip(*pair, strict=True)] for pair in pairs]
    for place, planes in enumerate(sides):
        left, right = (any(side) for side in zip(*planes, strict=True))
        assert (left, right) == (place > 3, place > 6), place


def _differing_halves(before: np.ndarray, after: np.ndarray) -> tuple[bool, bool]:
    """Of a plane: whether any sample left and right of its middle differs."""
    apart = before != after
    middle = apart.shape[1] // 2
    return bool(apart[:, :middle].any()), bool(apart[:, middle:].any())


def test_strengths_go_as_they_are_scheduled(gan: dseinvert.Gan, one: Path) -> None:
    source, video = pixels(one), gan.video(one, smooth=0)

    @cache
    def gaps(edit: str) -> np.ndarray:
        return np.abs(frames_of(video.edit(edit)) - source).mean((1, 2, 3))

    ramp = gaps("age=0..+4@0.4-0.9s")
    assert not ramp[:11].any() and ramp[11:].all()
    assert ramp[13] < ramp[16] < ramp[19] < ramp[22]
    span = gaps("age=+3@0.2-0.6s") > 0
    assert not span[:6].any() and span[6:15].all() and not span[15:].any()
    assert (gaps("age=+3@0s-end") == gaps("age=+3")).all()
    assert (gaps("age=+3@shot1") == gaps("age=+3")).all()
    assert not gaps("age=+3@shot2").any()


def test_steadied_changes_end_with_the_edit(gan: dseinvert.Gan, one: Path) -> None:
    made = frames_of(gan.video(one).edit("age=+3@0.2-0.6s"))
    assert (made[15:] == pixels(one)[15:]).all() and (made[:6] == pixels(one)[:6]).all()


def test_another_schedule_inverts_nothing(gan: dseinvert.Gan, one: Path) -> None:
    heard = Heard()
    video = gan.video(one, watcher=heard)
    for edit in ("age=+2@0.2-0.6s", "age=+2@0.2-0.7s", "age=0..1@0-1s"):
        next(iter(video.edit(edit)))
    assert heard.begun == ["finding faces", "inverting"]


def test_a_file_of_edits_is_one_video(dse: Run, two: Path, tmp_path: Path) -> None:
    script = tmp_path / "story.toml"
    line = '[[edit]]\nperson = 2\nedit = "age"\nkeys = [[0, 0], ["0:00.2", 3]]\nease = "in-out"\n'
    script.write_text(line)
    words = ("video", two, "--edits", script, "--preview", "--out", tmp_path, "-q")
    made, times = tmp_path / "two.edits-story.preview.mp4", []
    for text in (line, line, line.replace("3]]", "2]]")):
        script.write_text(text)
        assert dse(*words) == 0
        times.append(made.stat().st_mtime_ns)
    assert times[0] == times[1] != times[2]


def test_a_file_of_edits_is_for_whom_it_says(gan: dseinvert.Gan, two: Path, tmp_path: Path) -> None:
    script = tmp_path / "story.toml"
    script.write_text('[[edit]]\nperson = "right"\nedit = "age"\nkeys = [[0, 3]]\n')
    assert changed(two, frames_of(gan.video(two).edit(script=script))) == (False, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--edit", "age=0..2"], "in which time"),
        (["--edit", "age=1@4-2s"], "before it begins"),
        (["--edit", "age=1@2.5-4"], "seconds have an s: @2.5-4s"),
        (["--edit", "age=1@2s"], "from when until when: @2s-end"),
        (["--edit", "age=1@2s-"], "from when until when: @2s-end"),
        (["--edit", "age=1@shto2"], "did you mean shot2?"),
        (["--edit", "age=1@1-3s,age=2@2-4s"], "twice"),
        (["--edit", "age=x..2@1-2s"], "'x' is not a strength"),
        (["--edit", "lft:age=1"], "did you mean left?"),
        (["--edit", "left:bge=1"], "did you mean age?"),
        (["--person", "0", "--edit", "age=1"], "--list-people"),
        (["--edits", "none.toml"], "none.toml"),
    ],
)
def test_what_cannot_be_directed_is_said_before_any_work(
    dse: Run,
    one: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert dse("video", one, *words, "--out", tmp_path / "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_who_is_not_there_is_said(
    dse: Run, one: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("video", one, "--edit", "5:age=1", "--out", tmp_path / "out", "-q") != 0
    assert "nobody has number 5" in capfd.readouterr().err


@pytest.mark.parametrize("words", [("--edit", "age=1"), ("--edit", "age=1", "--still", "0.2")])
def test_a_number_that_nobody_in_the_only_clip_has_is_a_wrong_word(
    dse: Run,
    two: Path,
    one: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    words = (*words, "--person", "2", "--out", str(tmp_path / "out"), "-q")
    assert dse("video", one, *words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "one.mp4: nobody has number 2, 1 face in it (--list-people shows all)" in line
    assert dse("video", one, two, *words) == 1, "of several clips, one may have it"
    assert "one.mp4: nobody has number 2" in capfd.readouterr().err


def test_who_lies_on_the_side_is_listed_and_numbered_at_a_turn_that_is_found_or_told(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lying = tmp_path / "lying"
    lying.mkdir()
    for number, picture in enumerate(frames(4)):
        turned = np.ascontiguousarray(np.rot90(picture))
        (lying / f"{number}.png").write_bytes(encode_png(turned))
    words = ("video", lying, "--fps", "25", "--out", tmp_path / "out")
    assert dse(*words, "--list-people", "--rotate", "0") == 0
    assert "--rotate says how the clip lies" in capfd.readouterr().out
    places = []
    for turn in ("90", "auto"):
        assert dse(*words, "--list-people", "--rotate", turn) == 0
        assert [line[0] for line in capfd.readouterr().out.splitlines()[1:]] == ["1"]
        (listed,) = (tmp_path / "out").glob("*.people.json")
        told = json.loads(listed.read_text())
        assert str(told["turn"]) == turn
        places.append(np.array(told["people"][0]["sightings"][0][1]))
    assert np.abs(places[0] - places[1]).max() < 2
    assert dse(*words, "--person", "1", "--edit", "age=1", "-q") == 0


def test_everybody_is_listed_without_inverting(
    dse: Run, two: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("video", two, "--list-people", "--out", tmp_path, "--json", "-q") == 0
    told = json.loads(capfd.readouterr().out)
    (listed,) = told["clips"]
    assert [one["number"] for one in listed["people"]] == [1, 2] and not told["known_again"]
    left, right = (np.array(one["sightings"][0][1][::2]).mean() for one in listed["people"])
    assert left < WIDE[0] / 2 < right
    assert {path.name for path in tmp_path.iterdir()} == {"two.people.png", "two.people.json"}
    assert read_image(tmp_path / "two.people.png").shape[0] > 2 * SIDE
    assert dse("video", two, "--list-people", "--out", tmp_path) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line[0] for line in lines[1:]] == ["1", "2"]


def test_who_comes_back_has_the_same_number_only_by_an_identity_network(tmp_path: Path) -> None:
    times = [*range(0, 40 * 3 * STEP, 3 * STEP)]  # four seconds and more
    source = clip(tmp_path / "back.mp4", 40, without=range(8, 32), times=times)
    opened, detector = probe(source), open_detector()
    assert len(find_everybody(opened, detector, None, lambda: None)) == 2
    same = Identity(lambda faces: faces.new_ones(len(faces), 4), "same", "00")
    (one,) = find_everybody(opened, detector, same, lambda: None)
    assert one.times[1] > 3 and one.vector is not None
    save_people(tmp_path / "people.json", [one], "0f", "00")
    (again,) = load_people(tmp_path / "people.json", "0f", "00") or ()
    assert again.times == one.times and np.allclose(again.vector, one.vector)
    assert load_people(tmp_path / "people.json", "1f", "00") is None


def test_who_is_there_only_between_two_looks_a_second_apart_is_listed(tmp_path: Path) -> None:
    gone = set(range(264)) - set(range(104, 119))
    opened = probe(clip(tmp_path / "brief.mp4", 264, without=gone))
    assert every_of(opened) == 1
    (one,) = find_everybody(opened, open_detector(), None, lambda: None)
    first, last = one.times
    assert 4 < 104 / 25 - 1e-6 <= first <= last < 5


def count_pictures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with one entry for each frame that is made a picture."""
    made: list[int] = []
    real = Converter.to_rgb

    def counted(self: Converter, frame: object, depth: int = 8) -> np.ndarray:
        made.append(depth)
        return real(self, frame, depth)

    monkeypatch.setattr(Converter, "to_rgb", counted)
    return made


def test_a_still_is_the_frame_of_the_video_and_reads_only_what_is_around(
    gan: dseinvert.Gan,
    dse: Run,
    long: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    made = count_pictures(monkeypatch)
    assert dse("video", long, "--still", "0:02", "--edit", "age=3", "--out", tmp_path, "-q") == 0
    assert len(made) <= 2 * 32 + 2
    (path,) = tmp_path.iterdir()
    assert path.name == "long.age+3.2s.png" and capfd.readouterr().out.strip() == str(path)
    still = read_image(path).astype(int)
    frame = frames_of(gan.video(long, start=1.4, end=2.6).edit("age=3"))[15]
    source = pixels(long)[50]
    assert np.abs(still - frame).mean() < 0.2 * np.abs(source - frame).mean()


def test_a_strip_shows_a_strength_a_column(dse: Run, long: Path, tmp_path: Path) -> None:
    words = ("--still", "0.5,1", "--strip", "-2:2:3", "--edit", "age", "--out", tmp_path, "-q")
    assert dse("video", long, *words) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"long.age-2toage+2.0.5s.png", "long.age-2toage+2.1s.png"}
    width = read_image(tmp_path / min(names)).shape[1]
    assert 3 * 320 <= width < 3 * 330


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--still", "soon"], "--still"),
        (["--still", "1", "--out", "x.mp4"], "folder"),
        (["--still", "1", "--edit", "age=1@shot2"], "shots"),
        (["--strip", "-2:2:3", "--edit", "age"], "--still"),
        (["--still", "99", "--edit", "age=1"], "end"),
        (["--still", "1", "--list-people"], "--list-people makes no --still (leave one"),
        (["--still", "1", "--start", "0:01"], "whole clip: --start (leave --start out)"),
        (["--still", "1", "--end", "2"], "whole clip: --end (leave --end out)"),
    ],
)
def test_stills_that_cannot_be_are_refused(
    dse: Run,
    one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dse("video", one, *words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "words",
    [
        *(["--start", "9:00"], ["--end", "0"], ["--start", "0:00.2", "--end", "0:00.1"]),
        *(["--still", "0.2,9:00"], ["--still", "0.2", "--edit", "smile=1@9:00-9:10"]),
        *(["--edit", "smile=1@540s-end"], ["--edit", "smile=0..1@1-9s,age=1@8-9s"]),
        ["--edits", "late.toml"],
    ],
    ids=" ".join,
)
def test_a_time_that_the_only_clip_does_not_have_is_a_wrong_word(
    dse: Run,
    one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "late.toml"
    script.write_text('[[edit]]\nedit = "age"\nkeys = [["9:00", 0], ["9:01", 2]]\n')
    assert dse("video", one, *words, "--edit", "age=1", "--out", tmp_path / "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "at 1.00 s" in line or "--end is not behind" in line
    assert not (tmp_path / "out").exists()


def test_of_several_clips_the_others_are_done_and_the_short_one_is_told(
    dse: Run, one: Path, long: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--edit", "age=2@2-3s", "--out", tmp_path, "-q")
    assert dse("video", one, long, "--still", "2.5", *words) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "one.mp4: --still 2.5 is behind its end" in line
    assert [path.name for path in tmp_path.iterdir()] == ["long.age+2@2-3s.2.5s.png"]
    assert dse("video", one, long, "--dry-run", *words) == 0


@pytest.mark.parametrize("shot", [1, 7])
def test_an_edit_of_a_shot_that_is_not_there_is_told(
    dse: Run, two: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], shot: int
) -> None:
    assert dse("video", two, "--edit", f"age=2@shot{shot}", "--out", tmp_path, "--end", "0.2") == 0
    told = "age+2@shot7 acts nowhere: its last shot is shot1"
    assert (told in capfd.readouterr().err) == (shot == 7)


def test_a_clip_without_a_face_names_a_next_step(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = clip(tmp_path / "empty.mp4", 6, without=range(6))
    for words, said in (
        (["--edit", "age=1"], "--rotate 90"),
        (["--edit", "age=1", "--rotate", "90"], "--rotate auto"),
        (["--edit", "age=1", "--end", "0.1"], "--list-people"),
        (["--edit", "age=1", "--still", "0.1"], "--list-people"),
    ):
        assert dse("video", empty, *words, "--out", tmp_path / "out", "-q") in (1, 3)
        line = capfd.readouterr().err.splitlines()[0]
        assert "no face" in line and said in line
    assert dse("video", empty, "--list-people") == 0
    said = capfd.readouterr()
    assert "nobody is in it (" in said.out and "--identity" not in said.err


def test_a_preview_of_a_part_reads_no_more_than_that_part(
    dse: Run, long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count_pictures(monkeypatch)
    words = ("--start", "1", "--end", "1.2", "--edit", "age=2", "--preview", "--out", tmp_path)
    assert dse("video", long, *words, "-q") == 0
    assert len(made) < 75  # of 5 frames, in each pass and for the page; the clip has 100


def test_an_edit_shows_in_its_region_only(gan: dseinvert.Gan, one: Path) -> None:
    source = pixels(one)
    gaps = {}
    for region in ("mouth", "hair", None):
        made = frames_of(gan.video(one, end=0.2, region=region).edit("age=3"))
        gaps[region] = np.abs(made - source[: len(made)]).mean((0, 2, 3))
    rows = {name: int((gap * np.arange(len(gap))).sum() / gap.sum()) for name, gap in gaps.items()}
    assert rows["hair"] < rows[None] < rows["mouth"]
    assert all(gaps[name].sum() < gaps[None].sum() for name in ("mouth", "hair"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--region", "mouth"], "--edit"),
        (["--region", "mout", "--edit", "age=1"], "did you mean mouth?"),
        (["--mask", "none.png", "--edit", "age=1"], "no such file"),
        (["--mask", "face", "--paste", "replace", "--edit", "age=1"], "--paste replace"),
    ],
)
def test_places_that_cannot_be_are_refused(
    dse: Run, one: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert dse("video", one, *words) == 2
    assert said in capfd.readouterr().err


def test_the_front_door_has_stills_people_and_the_options_of_a_file(
    gan: dseinvert.Gan, two: Path, tmp_path: Path
) -> None:
    video = gan.video(two, person="left").edit("age=3")
    assert [one.number for one in video.people()] == [1, 2]
    gap = np.abs(video.still("0:00.2").pixels.astype(int) - pixels(two)[5]).max((0, 2))
    assert gap[:80].any() and not gap[-80:].any()
    with pytest.raises(dseinvert.UsageError, match="time"):
        video.still("soon")
    with pytest.raises(dseinvert.UsageError, match="one clip"):
        video.edit("age=1", "smile=1")
    with pytest.raises(dseinvert.UsageError, match="left"):
        gan.video(two, person="lft")
    small = video.write(tmp_path / "small.mp4", height=72, bitrate="200k", preset="ultrafast")
    assert probe(small).size == (128, 72)
    for wrong in ({"height": 3}, {"bitrate": "much"}, {"bitrate": 1000, "crf": 20}):
        with pytest.raises(dseinvert.UsageError):
            video.write(tmp_path / "no.mp4", **wrong)  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {"small.mp4"}


def test_the_front_door_takes_what_the_command_line_takes() -> None:
    ours = {*inspect.signature(Video.write).parameters}
    ours |= {*inspect.signature(dseinvert.Gan.video).parameters}
    elsewhere = {"edits", "script", "out", "model", "device", "backend", "batch"}
    elsewhere |= {"feature_edit"}  # edit, load
    of_runs = {"list_people", "still", "strip", "preview", "frames", "segment"}
    of_runs |= {"overwrite", "dry_run"}
    assert {f.name for f in fields(VideoOptions)} - elsewhere - of_runs <= ours
