from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.media.images import encode_png
from dseinvert.models import open_model
from tests.conftest import picture

SHORT = ["--iterations", "4", "--eval-every", "2", "--batch", "4", "--perceptual", "none", "-q"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(12):
        (folder / f"p{seed:02}.png").write_bytes(encode_png(picture(seed)))
    return folder


@pytest.fixture
def finetune(dse: Callable[..., int], tiny_model: Path) -> Callable[..., int]:
    return lambda *words: dse("finetune", *words, "--model", tiny_model, "--no-align")


def test_a_folder_becomes_a_model_that_images_takes(
    finetune: Callable[..., int],
    dse: Callable[..., int],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert finetune("--on", photos, "--out", tmp_path / "mine", *SHORT) == 0
    said = capsys.readouterr().out
    assert "psnr" in said
    assert "before" in said
    assert open_model(str(tmp_path / "mine")).encoder is not None
    words = ("--out", tmp_path / "latents", "--model", tmp_path / "mine", "--no-align")
    assert dse("images", photos, *words) == 0


def test_what_cannot_be_read_is_told_and_the_rest_is_learned_from(
    finetune: Callable[..., int],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (photos / "broken.png").write_bytes((photos / "p00.png").read_bytes()[:40])
    (photos / "notes.txt").write_text("not a picture")
    assert finetune("--on", photos, "--out", tmp_path / "mine", *SHORT) == 0
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert "notes.txt" not in said.err


@pytest.mark.parametrize("name", ["absent", "empty", "few"])
def test_a_folder_without_enough_pictures_ends_with_one_line(
    finetune: Callable[..., int],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    for folder in ("empty", "few"):
        (tmp_path / folder).mkdir()
    (photos / "p00.png").rename(tmp_path / "few" / "p00.png")
    assert finetune("--on", tmp_path / name, "--out", tmp_path / "mine", *SHORT) == 3
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("dseinvert: ")
    assert not (tmp_path / "mine").exists()


def until_written(path: Path, before: int) -> None:
    """Wait until the file is newer than that, in nanoseconds."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if path.exists() and path.stat().st_mtime_ns > before:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} was not written")


def test_a_killed_run_leaves_a_whole_model_and_goes_on(
    dse_process: Callable[..., object], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    words = ["--on", photos, "--out", out, "--no-align", *SHORT, "--iterations", "100000"]
    process = dse_process("finetune", *words, "--patience", "100000")
    until_written(out / "checkpoint.pt", 0)
    process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
    process.wait()  # type: ignore[attr-defined]
    assert open_model(str(out)).encoder is not None
    before = (out / "checkpoint.pt").stat().st_mtime_ns
    again = dse_process("finetune", *words, "--patience", "100000")
    until_written(out / "checkpoint.pt", before)  # before that a signal may come too early
    again.send_signal(signal.SIGINT)  # type: ignore[attr-defined]
    assert again.wait(60) == 130  # type: ignore[attr-defined]
    assert open_model(str(out)).encoder is not None
