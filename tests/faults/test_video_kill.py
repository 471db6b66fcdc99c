"""SIGKILL, SIGTERM and a full disk at any moment of a video: the next run ends as if none was."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from dseinvert.media.video_verify import compare
from tests.faults.test_disk import mounts, shell
from tests.forked import KILLS, Forked
from tests.moving_face import clip

Run = Callable[..., int]
Start = Callable[..., Forked]
OPTIONS = ("--edit", "age=2", "--edit", "smile=-1", "--segment", "5", "-q")
COUNT = 15  # frames, in three segments


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With sound; some frames have no face."""
    folder = tmp_path_factory.mktemp("clips")
    return clip(folder / "clip.mp4", COUNT, without={*range(12, COUNT)}, sound=True)


@pytest.fixture(scope="module")
def whole(source: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run writes."""
    from dseinvert.cli.main import run

    out = tmp_path_factory.mktemp("whole")
    words = ("video", source, "--out", out, *OPTIONS, "--model", tiny_model)
    assert run([*map(str, words)]) == 0
    return out


def outputs(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def check_whole(source: Path, out: Path) -> None:
    """What has a final name is whole."""
    for path in out.glob("[!.]*.mp4"):
        assert compare(source, path) == []


def begun(process: Forked, out: Path) -> None:
    """Wait until a run has begun to work."""
    while not out.exists() and process.poll() is None:
        time.sleep(0.002)


def kill(process: Forked) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def stages(out: Path) -> list[str]:
    """What a run has made so far."""
    return sorted(
        str(path.relative_to(out))
        for path in (*out.rglob("*.segment"), *out.rglob("*.safetensors"), *out.glob("*.mp4"))
    )


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    dse: Run, dse_process: Start, source: Path, whole: Path, tmp_path: Path
) -> None:
    """Killed whenever it has made one more thing: tracks, latents, segments, videos."""
    out = tmp_path / "out"
    kills = 0
    for _ in range(4):
        process = dse_process("video", source, "--out", out, *OPTIONS)
        before = stages(out) if out.exists() else []
        while process.poll() is None and (not out.exists() or stages(out) == before):
            time.sleep(0.005)
        kills += process.poll() is None
        kill(process)
        check_whole(source, out)
    assert kills >= 3
    assert dse("video", source, "--out", out, *OPTIONS) == 0
    assert outputs(out) == outputs(whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_run_killed_at_a_random_moment_ends_as_if_it_had_not_been(
    dse: Run, dse_process: Start, source: Path, whole: Path, tmp_path: Path, seed: int
) -> None:
    out = tmp_path / "out"
    process = dse_process("video", source, "--out", out, *OPTIONS)
    begun(process, out)
    time.sleep(random.Random(seed).uniform(0, 1.5))
    kill(process)
    check_whole(source, out)
    assert dse("video", source, "--out", out, *OPTIONS) == 0
    assert outputs(out) == outputs(whole)


def segments(out: Path) -> list[Path]:
    """Those there are; a folder may go while it is listed."""
    while True:
        with suppress(FileNotFoundError):
            return [*out.rglob("*.segment")]


def test_a_killed_run_keeps_its_segments(
    dse_process: Start, dse: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run inverts nothing and writes only the rest."""
    from dseinvert.encoders.dse import DSEEncoder
    from dseinvert.media.segments import Segments

    out = tmp_path / "out"
    process = dse_process("video", source, "--out", out, "--edit", "age=2", "--segment", "5")
    while process.poll() is None and len(segments(out)) < 2:
        time.sleep(0.002)
    kill(process)
    kept = len(segments(out))
    written: list[int] = []
    real = Segments.write
    monkeypatch.setattr(
        Segments, "write", lambda self, *frame: (written.append(1), real(self, *frame))[1]
    )
    monkeypatch.setattr(DSEEncoder, "encode", None)
    options = ("--edit", "age=2", "--segment", "5", "--backend", "torch", "-q")
    assert dse("video", source, "--out", out, *options) == 0
    if kept:  # else it had finished
        assert len(written) == COUNT - 5 * kept


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_stop_says_so_and_can_go_on(
    dse: Run,
    dse_process: Start,
    source: Path,
    whole: Path,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    out = tmp_path / "out"
    process = dse_process("video", source, "--out", out, *OPTIONS)
    while process.poll() is None and not [*out.rglob("*.safetensors")]:
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert not [*out.glob("*.mp4")]
    assert dse("video", source, "--out", out, *OPTIONS) == 0
    assert outputs(out) == outputs(whole)


@mounts
@pytest.mark.parametrize("size", ["16k", "48k", "80k"])
def test_a_full_disk_ends_the_run_without_a_broken_video(
    tiny_model: Path, source: Path, tmp_path: Path, size: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = (
        f'unshare -rm sh -c \'mount -t tmpfs -o size={size} none {out} && "$0" -c "$@"\' "$0" "$@"'
    )
    told, stderr = shell(script, tiny_model, "video", source, "--out", out, *OPTIONS)
    assert told["code"] == 6, (told, stderr)
    assert stderr.count("\n") == 1 and stderr.startswith("dseinvert: "), stderr
    assert "no space left" in stderr
    left = told["left"]
    assert isinstance(left, list) and not [name for name in left if name.endswith(".mp4")]


def test_two_runs_at_once_do_not_write_over_each_other(
    dse: Run, dse_process: Start, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    process = dse_process("video", source, "--out", out, *OPTIONS)
    while process.poll() is None and not [*out.rglob("*.safetensors")]:
        time.sleep(0.002)
    assert dse("video", source, "--out", out, *OPTIONS) == 6
    assert "another run" in capfd.readouterr().err
    process.communicate()
    assert process.returncode == 0


def test_the_work_of_other_settings_is_cleared_away(
    dse: Run, dse_process: Start, source: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = dse_process("video", source, "--out", out, "--edit", "age=5", "--segment", "5")
    while process.poll() is None and not segments(out):
        time.sleep(0.002)
    kill(process)
    assert dse("video", source, "--out", out, *OPTIONS) == 0
    assert {path.name for path in out.iterdir()} >= {path.name for path in whole.iterdir()}
    assert not [*out.glob(".*")]


def test_what_was_done_when_a_run_was_killed_is_told_as_json(
    dse: Run, source: Path, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dse("video", source, "--out", whole, *OPTIONS, "--json") == 0
    (told,) = json.loads(capfd.readouterr().out)["clips"]
    assert [one["earlier"] for one in told["outputs"]] == [True, True]
    assert told["without_face"] > 0
