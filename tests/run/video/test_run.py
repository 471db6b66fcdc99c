"""The whole `video` run on small clips with the tiny model."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.latent import load_latent
from dseinvert.media import atomic
from dseinvert.media.clip import probe
from dseinvert.media.images import encode_png, read_image
from dseinvert.media.video_read import frame_times, read_frames
from dseinvert.media.video_verify import compare
from dseinvert.run.video import measure, render, sinks
from dseinvert.video.even import MOST
from tests.media.test_planes import stored
from tests.moving_face import STEP, TICK, clip, frames

Run = Callable[..., int]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 8, sound=True)


@pytest.fixture(scope="module")
def coming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face on the middle frames only."""
    without = {*range(8), *range(28, 34)}
    return clip(tmp_path_factory.mktemp("clips") / "coming.mp4", 34, without=without)


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame.pixels for frame in read_frames(probe(path))])


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def count_encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = DSEEncoder.encode

    def counted(self: DSEEncoder, images: object, label: object = None) -> object:
        calls.append(len(images))  # type: ignore[arg-type]
        return real(self, images, label)  # type: ignore[arg-type]

    monkeypatch.setattr(DSEEncoder, "encode", counted)
    return calls


def test_the_edited_clip_has_the_times_and_the_sound_of_its_source(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, "-q") == 0
    assert compare(talking, tmp_path / "talking.age+2.mp4") == []
    assert files(tmp_path) == {
        *("talking.age+2.mp4", "talking.safetensors", "talking.html", "talking.metrics.csv")
    }
    assert (pixels(talking) != pixels(tmp_path / "talking.age+2.mp4")).any()


def test_without_an_edit_the_reconstruction_is_written(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    assert dse("video", talking, "--out", tmp_path, "-q") == 0
    assert compare(talking, tmp_path / "talking.recon.mp4") == []


def test_the_default_place_is_the_current_folder(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dse("video", talking, "--edit", "age=2", "-q") == 0
    assert (tmp_path / "talking.age+2.mp4").exists()


def test_out_can_name_the_file(dse: Run, talking: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "older.mov"
    assert dse("video", talking, "--edit", "age=2", "--out", out, "-q") == 0
    assert files(out.parent) == {
        *("older.mov", "talking.safetensors", "talking.html", "talking.metrics.csv")
    }


def test_a_second_edit_inverts_nothing(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_encodings(monkeypatch)
    arguments = ("--out", tmp_path, "-q")
    assert dse("video", talking, "--edit", "age=2", *arguments) == 0
    assert calls
    calls.clear()
    assert dse("video", talking, "--edit", "smile=-1", "--edit", "age=-2", *arguments) == 0
    assert not calls
    table = (tmp_path / "talking.metrics.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in table if not line.startswith("#")))
    assert [row["edit"] for row in rows] == ["age+2", "smile-1", "age-2"]


def test_a_second_edit_is_the_one_of_a_first_run(dse: Run, talking: Path, tmp_path: Path) -> None:
    for edits in (["age=2"], ["smile=-1"]):
        assert dse("video", talking, "--edit", *edits, "--out", tmp_path / "a", "-q") == 0
    assert dse("video", talking, "--edit", "smile=-1", "--out", tmp_path / "b", "-q") == 0
    for name in ("talking.smile-1.mp4", "talking.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_done_is_not_done_again(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("video", talking, "--edit", "age=2", "--out", tmp_path, "--json", "-q")
    assert dse(*arguments) == 0
    assert not json.loads(capfd.readouterr().out)["clips"][0]["outputs"][0]["earlier"]
    before = (tmp_path / "talking.age+2.mp4").stat()
    assert dse(*arguments) == 0
    (told,) = json.loads(capfd.readouterr().out)["clips"]
    assert told["outputs"][0]["earlier"] and told["frames"] == 8
    assert (tmp_path / "talking.age+2.mp4").stat().st_mtime_ns == before.st_mtime_ns
    (tmp_path / "talking.age+2.mp4").write_bytes(b"damaged")
    assert dse(*arguments) == 0
    assert compare(talking, tmp_path / "talking.age+2.mp4") == []


def test_another_model_or_crop_inverts_again(
    dse: Run, talking: Path, other_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("video", talking, "--out", tmp_path, "--frames", "-q")
    assert dse(*arguments) == 0
    calls = count_encodings(monkeypatch)
    assert dse(*arguments, "--smooth", "0.25", "--overwrite") == 0
    assert calls
    calls.clear()
    assert dse(*arguments, "--model", other_model, "--overwrite") == 0
    assert calls


def test_frames_without_a_face_are_those_of_the_source(
    dse: Run, coming: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("--edit", "age=3", "--codec", "ffv1", "--out", out, "--json", "-q")
    assert dse("video", coming, *arguments) == 0
    (told,) = json.loads(capfd.readouterr().out)["clips"]
    path = Path(told["outputs"][0]["path"])
    wanted, found = stored(coming), stored(path)
    same = [
        all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))
        for old, new in zip(wanted, found, strict=True)
    ]
    seen = {*load_latents(out / "coming.safetensors", "frame").tolist()}
    assert told["without_face"] == len(same) - len(seen) > 5
    assert all(same[k] for k in range(len(same)) if k not in seen)
    assert not all(same)
    middle = sorted(seen)[len(seen) // 2]
    changed = wanted[middle][0] != found[middle][0]
    assert changed.any()
    quads = load_latents(out / "coming.safetensors", "quad")
    quad = quads[sorted(seen).index(middle)]
    rows, columns = np.nonzero(changed)
    assert quad[:, 1].min() - 2 <= rows.min() and rows.max() <= quad[:, 1].max() + 2
    assert quad[:, 0].min() - 2 <= columns.min() and columns.max() <= quad[:, 0].max() + 2


def load_latents(path: Path, name: str) -> np.ndarray:
    from dseinvert.media.rows import Rows

    with Rows(path) as rows:
        return rows.read(name)


def test_as_pictures_nothing_changes_outside_the_mask(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    arguments = ("--edit", "age=3", "--frames", "--out", tmp_path, "-q")
    assert dse("video", talking, *arguments) == 0
    from dseinvert.media.frame_files import probe_frames
    from dseinvert.video.blend import face_mask, mask_in_frame

    written = probe_frames(tmp_path / "talking.age+2.frames".replace("+2", "+3"))
    assert list(written.times) == frame_times(probe(talking))
    quads, points = (load_latents(tmp_path / "talking.safetensors", n) for n in ("quad", "points"))
    assert len(quads) == 8
    for k, (source, edited) in enumerate(zip(pixels(talking), read_frames(written), strict=True)):
        reach = face_mask(points[k], quads[k], grown=1.15)  # a change goes along with the face
        window, part = mask_in_frame(source, quads[k], reach)
        mask = np.zeros(source.shape[:2])
        mask[window] = part
        changed = (source != edited.pixels).any(-1)
        assert changed.any() and not changed[mask == 0].any()


def test_a_folder_of_frames_can_be_the_input(dse: Run, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for k, frame in enumerate(frames(6), 1):
        (folder / f"{k}.png").write_bytes(encode_png(frame))
    out = tmp_path / "out"
    assert dse("video", folder, "--edit", "age=2", "--out", out, "-q") == 2  # no frame rate
    assert not out.exists()
    assert dse("video", folder, "--fps", "25", "--edit", "age=2", "--out", out, "-q") == 0
    written = probe(out / "shots.age+2.mp4")
    assert len(frame_times(written)) == 6 and written.rate == 25
    little = ("--edit", "age=0.01", "--out", out, "-q")
    assert dse("video", folder, "--fps", "25", "--frames", *little) == 0
    assert dse("video", out / "shots.age+0.01.frames", *little) == 0


def test_the_latents_are_a_latent_file(dse: Run, talking: Path, tmp_path: Path) -> None:
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, "-q") == 0
    latent = load_latent(tmp_path / "talking.safetensors")
    assert latent.code.shape == (8, 6, 16)
    assert latent.origin["time_base"] == str(TICK)
    pts = load_latents(tmp_path / "talking.safetensors", "pts")
    assert pts.tolist() == [k * STEP for k in range(8)]
    edit = ("--edit", "age=1", "--out", tmp_path / "stills", "-q")
    assert dse("edit", tmp_path / "talking.safetensors", *edit) == 0
    assert len(files(tmp_path / "stills")) == 8


def test_a_cut_begins_at_nought_and_holds_what_was_asked_for(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    arguments = ("--start", "0.08", "--end", "0.32", "--out", tmp_path, "-q")
    assert dse("video", talking, *arguments) == 0
    written = probe(tmp_path / "talking.recon.mp4")
    times = [float(pts * written.time_base) for pts in frame_times(written)]
    assert times == pytest.approx([0.04 * k for k in range(6)], abs=1e-3)


def test_uneven_times_are_kept(dse: Run, tmp_path: Path) -> None:
    times = [0, 512, 1536, 2048, 4096, 4608, 5000, 5700, 6400, 7000]
    source = clip(tmp_path / "uneven.mp4", 10, times=times)
    assert dse("video", source, "--edit", "age=2", "--out", tmp_path / "out", "-q") == 0
    assert compare(source, tmp_path / "out" / "uneven.age+2.mp4") == []


def test_ten_bits_stay_ten_bits(dse: Run, tmp_path: Path) -> None:
    source = clip(tmp_path / "deep.mp4", 8, pixel_format="yuv420p10le")
    out = tmp_path / "out"
    assert dse("video", source, "--edit", "age=2", "--out", out, "-q") == 0
    assert probe(out / "deep.age+2.mp4").depth == 10


def test_side_by_side_shows_the_source_on_the_left(dse: Run, talking: Path, tmp_path: Path) -> None:
    arguments = ("--edit", "age=3", "--side-by-side", "--codec", "ffv1", "--out", tmp_path, "-q")
    assert dse("video", talking, *arguments) == 0
    (path,) = tmp_path.glob("*.side.*")
    both, source = pixels(path), pixels(talking)
    assert both.shape[2] == 2 * source.shape[2]
    left, right = np.split(both.astype(int), 2, axis=2)
    assert np.abs(left[:, :, :-2] - source[:, :, :-2]).mean() < 1 < np.abs(right - source).mean()


def test_a_preview_is_small_and_says_so(dse: Run, tmp_path: Path) -> None:
    source = clip(tmp_path / "large.mp4", 6, size=(960, 720))
    assert dse("video", source, "--preview", "--out", tmp_path / "out", "-q") == 0
    assert probe(tmp_path / "out" / "large.recon.preview.mp4").size == (640, 480)


def test_one_of_two_people_or_both_are_edited(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = clip(tmp_path / "two.mp4", 8, size=(256, 144), faces=(1, 2))
    for faces, count in (("largest", 1), ("all", 2), ("1", 1)):
        arguments = ("--faces", faces, "--out", tmp_path / faces, "--json", "-q")
        assert dse("video", source, "--edit", "age=2", *arguments) == 0
        assert json.loads(capfd.readouterr().out)["clips"][0]["faces"] == count


def test_nobody_anywhere_ends_with_exit_3_and_writes_nothing(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = clip(tmp_path / "empty.mp4", 6, without=range(6))
    assert dse("video", source, "--edit", "age=2", "--out", tmp_path / "out", "-q") == 3
    assert "no face" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_bad_clip_does_not_stop_the_others(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    out = tmp_path / "out"
    assert dse("video", bad, talking, "--edit", "age=2", "--out", out, "-q") == 1
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert (out / "talking.age+2.mp4").exists()
    assert dse("video", bad, "--edit", "age=2", "--out", tmp_path / "none", "-q") == 3
    assert not (tmp_path / "none").exists()


def test_a_clip_cut_short_is_written_as_far_as_it_goes_with_exit_7(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = clip(tmp_path / "whole.mkv", 20)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = tmp_path / "out"
    assert dse("video", cut, "--edit", "age=2", "--out", out, "--json", "-q") == 7
    told = capfd.readouterr()
    (entry,) = json.loads(told.out)["clips"]
    assert entry["partial"] and entry["status"] == "done" and 2 < entry["frames"] < 20
    assert told.err.startswith("dseinvert: ")
    assert len(frame_times(probe(Path(entry["outputs"][0]["path"])))) == entry["frames"]


def test_the_page_needs_nothing_beside_it(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "MOMENTS", 8)
    assert dse("video", talking, "--edit", "age=2", "--out", tmp_path, "-q") == 0
    page = (tmp_path / "talking.html").read_text()
    assert page.count("data:image/jpeg") == 24 and "{{" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_files_of_others_are_not_replaced(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talking.age+2.mp4").write_bytes(b"mine")
    arguments = ("video", talking, "--edit", "age=2", "--out", tmp_path, "-q")
    assert dse(*arguments) == 6
    assert "--overwrite" in capfd.readouterr().err
    assert files(tmp_path) == {"talking.age+2.mp4"}
    assert dse(*arguments, "--overwrite") == 0


def test_a_folder_of_videos_is_done_without_its_own_outputs(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(talking, folder)
    arguments = ("video", folder, "--edit", "age=2", "--out", folder, "--json", "-q")
    for _ in range(2):
        assert dse(*arguments) == 0
        assert len(json.loads(capfd.readouterr().out)["clips"]) == 1


def killed_while_replacing(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a folder of frames be replaced up to a step: the first rename, the second, the end."""
    real, steps = Path.rename, iter(range(9))

    def rename(self: Path, target: Path) -> Path:
        if next(steps) == step:
            raise RuntimeError("killed")
        return real(self, target)

    def remove(path: Path) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(atomic, "_remove", remove)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("step", [0, 1, 2])
def test_frames_are_replaced_without_a_moment_of_neither(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A run killed while its frames take the place of older ones is ended by the next one."""
    name, arguments = "talking.recon.frames", ("video", talking, "--frames", "-q", "--out")
    other = ("--smooth", "0.25")
    assert dse(*arguments, tmp_path / "new", *other) == 0
    assert dse(*arguments, tmp_path / "out") == 0
    old, new = tree(tmp_path / "out" / name), tree(tmp_path / "new" / name)
    assert old != new
    with monkeypatch.context() as patch:
        killed_while_replacing(patch, step)
        assert dse(*arguments, tmp_path / "out", *other, "--overwrite") != 0
    edited = shutil.copytree(tmp_path / "out", tmp_path / "edited", copy_function=os.link)
    assert dse(*arguments, tmp_path / "out", *other) == 0
    assert tree(tmp_path / "out" / name) == new
    # A run that makes something else ends it, too.
    assert dse(*arguments, edited, "--edit", "age=2") == 0
    assert tree(edited / name) == (new if step == 2 else old)
    for folder in (tmp_path / "out", edited):
        assert not [*folder.glob(".*")]


def test_batch_and_segment_change_a_moved_video_by_a_level_at_most(
    dse: Run, talking: Path, tmp_path: Path
) -> None:
    words = ("video", talking, "--edit", "smile=2", "--frames", "--quiet", "--out")
    assert dse(*words, tmp_path / "one", "--batch", "1") == 0
    assert dse(*words, tmp_path / "many", "--batch", "3", "--segment", "5") == 0
    made = [sorted((tmp_path / name).rglob("*.png")) for name in ("one", "many")]
    assert [path.name for path in made[0]] == [path.name for path in made[1]] and len(made[0]) >= 8
    for one, other in zip(*made, strict=True):
        gap = read_image(one).astype(int) - read_image(other)
        assert np.abs(gap).max() <= 1


def test_pictures_killed_within_a_segment_go_on_as_if_they_had_not_been(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("video", talking, "--edit", "smile=2", "--frames", "-q", "--segment", "4", "--out")
    assert dse(*words, tmp_path / "whole") == 0
    write, written = sinks._Frames.write, list[int]()

    def killed(self: sinks._Frames, picture: np.ndarray, pts: int) -> None:
        if len(written) == 6:
            raise RuntimeError("killed")
        written.append(pts)
        write(self, picture, pts)

    with monkeypatch.context() as patch:
        patch.setattr(sinks._Frames, "write", killed)
        assert dse(*words, tmp_path / "killed") != 0
    began, shots = list[int](), render._shots
    with monkeypatch.context() as patch:
        patch.setattr(render, "_shots", lambda *a: (began.append(a[2]), shots(*a))[1])
        assert dse(*words, tmp_path / "killed") == 0
    assert began == [4 - MOST]  # the segment's begin, and what is evened looks so far back
    made = [sorted((tmp_path / name).rglob("*.png")) for name in ("whole", "killed")]
    assert [path.name for path in made[0]] == [path.name for path in made[1]] and len(made[0]) >= 8
    for one, other in zip(*made, strict=True):
        assert np.abs(read_image(one).astype(int) - read_image(other)).max() <= 1
