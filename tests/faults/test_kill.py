"""SIGKILL at any moment loses nothing that was done and leaves nothing half-written."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.media.images import encode_png, read_image
from dseinvert.run.images.journal import NAME, read
from tests.forked import KILLS, Forked

Run = Callable[..., int]
Start = Callable[..., Forked]
OPTIONS = ("--no-align", "--edit", "age=2", "--batch", "4", "-q")


def many(folder: Path, count: int, picture: Callable[..., object]) -> Path:
    folder.mkdir()
    for seed in range(count):
        (folder / f"p{seed}.png").write_bytes(encode_png(picture(seed)))  # type: ignore[arg-type]
    return folder


def kill_at(start: Start, sources: Path, out: Path, delay_s: float) -> None:
    """Kill a run `delay_s` after it opened its journal."""
    process = start("images", sources, "--out", out, *OPTIONS)
    while not (out / NAME).exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check_whole(out: Path) -> None:
    """Every file under a final name is whole, and what the journal lists is there."""
    for path in out.glob("*.png"):
        if not path.name.startswith("."):
            read_image(path)
    for entry in read(out / NAME).values():
        assert all((out / name).exists() for name in entry.files)


def outputs(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.name != NAME}


def kills(
    count: int, items: int, dse: Run, start: Start, tmp_path: Path, picture: Callable[..., object]
) -> None:
    random.seed(count)
    sources = many(tmp_path / "sources", items, picture)
    assert dse("images", sources, "--out", tmp_path / "whole", *OPTIONS) == 0
    expected = outputs(tmp_path / "whole")
    for number in range(count):
        out = tmp_path / f"out{number // 3}"  # three kills in a row for each folder
        kill_at(start, sources, out, random.uniform(0, 0.4))
        check_whole(out)
        done = len(read(out / NAME))
        if number % 3 == 2 or number == count - 1:
            assert dse("images", sources, "--out", out, *OPTIONS) == 0
            lines = (out / NAME).read_bytes().count(b"\n")
            assert lines <= items + 3, "what was done was done again"
            assert done <= items
            assert outputs(out) == expected


def test_a_killed_run_resumes_to_the_same_bytes(
    dse: Run, dse_process: Start, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    kills(3, 60, dse, dse_process, tmp_path, blobs)


@pytest.mark.slow
def test_many_kills_lose_nothing(
    dse: Run, dse_process: Start, tmp_path: Path, blobs: Callable[..., object]
) -> None:
    kills(KILLS, 60, dse, dse_process, tmp_path, blobs)


@pytest.mark.parametrize("stop_at", range(0, 40, 3))
def test_a_crash_at_any_rename_resumes_to_the_same_bytes(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    import os

    real, calls = os.replace, iter(range(10_000))

    class Crash(BaseException):
        """Not an Exception: nothing may handle it."""

    def crash(*paths: object) -> None:
        if next(calls) >= stop_at:
            raise Crash
        real(*paths)  # type: ignore[arg-type]

    assert dse("images", pictures, "--out", tmp_path / "whole", *OPTIONS) == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        try:
            dse("images", pictures, "--out", out, *OPTIONS)
        except Crash:
            check_whole(out)
    assert dse("images", pictures, "--out", out, *OPTIONS) == 0
    assert outputs(out) == outputs(tmp_path / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_asked_to_stop_ends_cleanly_with_all_it_did_in_the_journal(
    dse: Run,
    dse_process: Start,
    tmp_path: Path,
    blobs: Callable[..., object],
    number: signal.Signals,
    code: int,
) -> None:
    sources = many(tmp_path / "sources", 400, blobs)
    out = tmp_path / "out"
    process = dse_process("images", sources, "--out", out, *OPTIONS[:-1])
    while process.poll() is None and len(read(out / NAME)) < 5:
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in told
    entries = read(out / NAME)
    assert 5 <= len(entries) < 400
    assert f"{400 - len(entries)} to do" in told
    listed = {name for entry in entries.values() for name in entry.files}
    found = {path.name for path in out.iterdir()}
    assert found - listed == {NAME, "index.html", "metrics.csv"}
    check_whole(out)
