"""Only the run that holds the lock of a work folder may remove it, or anything in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.media.lock import locked
from tests.given_clips import given
from tests.moving_face import clip

Run = Callable[..., int]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 6)


@pytest.mark.parametrize("holds", [False, True])
def test_a_run_that_is_refused_removes_nothing(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], holds: bool
) -> None:
    kept = tmp_path / "out" / ".talking.dse-work"
    kept.mkdir(parents=True)
    if holds:
        (kept / "tracks-of-others").write_bytes(b"1")
    about = kept.stat()
    with locked(kept) as alone:
        assert alone
        assert dse("video", talking, "--edit", "age=1", "--out", kept.parent, "-q") == 6
        assert "another run" in capfd.readouterr().err
        assert os.path.samestat(about, kept.stat()) and len([*kept.iterdir()]) == holds
    assert dse("video", talking, "--edit", "age=1", "--out", kept.parent, "-q") == 0
    assert not kept.exists()


def test_a_given_clip_whose_run_is_refused_keeps_the_folder(dse: Run, tmp_path: Path) -> None:
    source = given("apple.mov")
    kept = tmp_path / ".apple.dse-work"
    kept.mkdir()
    with locked(kept):
        assert dse("video", source, "--edit", "age=1", "--out", tmp_path, "-q") == 6
        assert kept.is_dir()


def test_a_folder_that_was_removed_while_it_was_locked_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opened = tmp_path / "work", os.open
    folder.mkdir()

    def open_late(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        folder.rmdir()
        folder.mkdir()
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    with locked(folder) as alone:
        assert not alone
    monkeypatch.setattr(os, "open", opened)
    folder.rmdir()
    with locked(folder) as alone:
        assert not alone
