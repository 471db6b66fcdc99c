"""The first pass over a clip, killed and begun again."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dseinvert.config import VideoOptions
from dseinvert.errors import ExitCode, InputError
from dseinvert.faces.detect import open_detector
from dseinvert.media.video_read import Reading
from dseinvert.progress import Silent
from dseinvert.run.video.faces import see
from dseinvert.run.video.plan import Task, make_task, open_source
from dseinvert.run.video.work import Seen, Stopped, Work
from dseinvert.stop import Stop
from dseinvert.video.tracks import Tracker, pack
from tests.moving_face import RATE, clip

FRAMES, EVERY = 60, 20
WATCHER = Silent()


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", FRAMES, without=range(35, 50))


def task_of(source: Path, out: Path, **options: object) -> Task:
    asked = VideoOptions(out=out, **options)  # type: ignore[arg-type]
    task = make_task(open_source(source, None), "talking", asked, {"detector": "embedded"}, {})
    task.kept.mkdir(parents=True, exist_ok=True)
    return task


def looked_at(task: Task, stop: Stop | None = None) -> Seen:
    return see(Work(task, WATCHER, stop or Stop()), open_detector("embedded"), EVERY)


def begun(task: Task) -> list[Path]:
    return [*task.kept.glob("*.begun.safetensors")]


def interrupted(task: Task, monkeypatch: pytest.MonkeyPatch, at: int) -> list[int]:
    """Look until the frame `at` breaks it; then note which frames a second look feeds."""
    fed: list[int] = []
    real = Tracker.feed

    def feed(self: Tracker, frame: np.ndarray, index: int, time: float) -> None:
        fed.append(index)
        if len(fed) == at:
            raise RuntimeError("killed")
        real(self, frame, index, time)

    monkeypatch.setattr(Tracker, "feed", feed)
    with pytest.raises(RuntimeError, match="killed"):
        looked_at(task)
    fed.clear()
    monkeypatch.setattr(Tracker, "feed", lambda *args: (fed.append(args[2]), real(*args))[1])
    return fed


def same(one: Seen, other: Seen) -> bool:
    first, second = pack(one.tracks), pack(other.tracks)
    return (
        first.keys() == second.keys()
        and all(first[name].tobytes() == second[name].tobytes() for name in first)
        and one.pts.tolist() == other.pts.tolist()
        and (one.starts, one.lost, one.problems, one.partial)
        == (other.starts, other.lost, other.problems, other.partial)
    )


@pytest.mark.parametrize(("at", "kept"), [(5, 0), (25, 20), (55, 40)])
def test_a_look_that_was_killed_goes_on_where_it_was(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, kept: int
) -> None:
    straight = looked_at(task_of(talking, tmp_path / "straight"))
    task = task_of(talking, tmp_path / "killed")
    fed = interrupted(task, monkeypatch, at)
    assert len(begun(task)) == bool(kept)
    assert same(looked_at(task), straight) and len(straight.tracks) > 1
    assert fed == [*range(kept, FRAMES)]
    assert not begun(task)


def test_of_a_part_of_a_clip_too(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = {"start": Fraction(1, 2), "end": Fraction(2)}
    straight = looked_at(task_of(talking, tmp_path / "straight", **part))
    task = task_of(talking, tmp_path / "killed", **part)
    fed = interrupted(task, monkeypatch, 30)
    assert same(looked_at(task), straight)
    assert fed == [*range(20, len(straight.pts))]


def test_a_wish_to_stop_loses_nothing(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = looked_at(task_of(talking, tmp_path / "straight"))
    task, stop = task_of(talking, tmp_path / "stopped"), Stop()
    real, fed = Tracker.feed, list[int]()

    def feed(self: Tracker, frame: np.ndarray, index: int, time: float) -> None:
        real(self, frame, index, time)
        fed.append(index)
        stop.code = ExitCode.TERMINATED if index == 33 else None

    monkeypatch.setattr(Tracker, "feed", feed)
    with pytest.raises(Stopped):
        looked_at(task, stop)
    fed.clear()
    assert same(looked_at(task), straight)
    assert fed == [*range(34, FRAMES)]


def reading_from(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Where each reading of frames begins."""
    starts: list[object] = []
    real: Callable[..., None] = Reading.__init__

    def opened(self: Reading, *args: object) -> None:
        starts.append(args[4])  # resume
        real(self, *args)

    monkeypatch.setattr(Reading, "__init__", opened)
    return starts


def test_the_second_look_skips_most_of_what_it_knows(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(talking, tmp_path)
    interrupted(task, monkeypatch, 55)
    starts = reading_from(monkeypatch)
    looked_at(task)
    (start,) = starts
    assert start == Fraction(
        1, RATE
    )  # frame 40, less half a second that waits and one that is held


def test_a_damaged_clip_is_read_from_its_beginning_and_told_of_the_same(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "talking.mp4"
    with av.open(str(talking)) as source:
        places = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    data, (position, size) = bytearray(talking.read_bytes()), places[10]
    data[position : position + size] = bytes(size)
    damaged.write_bytes(data)
    straight = looked_at(task_of(damaged, tmp_path / "straight"))
    assert straight.partial and straight.problems
    task = task_of(damaged, tmp_path / "killed")
    fed = interrupted(task, monkeypatch, 50)
    starts = reading_from(monkeypatch)
    assert same(looked_at(task), straight)
    assert fed[0] == 40 and starts == [None]


def test_a_file_of_it_that_is_damaged_is_not_used(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = looked_at(task_of(talking, tmp_path / "straight"))
    task = task_of(talking, tmp_path / "killed")
    fed = interrupted(task, monkeypatch, 45)
    (file,) = begun(task)
    file.write_bytes(file.read_bytes()[:-9])
    assert same(looked_at(task), straight)
    assert fed[0] == 0


def test_frames_that_are_not_those_it_knows_are_refused_once(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(talking, tmp_path)
    interrupted(task, monkeypatch, 45)
    times = [*range(0, FRAMES * 500, 500)]
    other = clip(tmp_path / "other.mp4", FRAMES, times=times)
    talking_now = task_of(other, tmp_path)
    (file,) = begun(task)
    file.rename(file.with_name(f"tracks-{talking_now.tracks_key}.begun.safetensors"))
    with pytest.raises(InputError, match="changed while it was read"):
        looked_at(talking_now)
    assert len(looked_at(talking_now).pts) == FRAMES
