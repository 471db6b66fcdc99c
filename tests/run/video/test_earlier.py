"""Work and latents of versions that knew no covers and no casts: finished, or told in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.errors import InputError
from dseinvert.latent.clip import Chunks
from dseinvert.media.rows import Rows, write_rows
from dseinvert.run.video.keys import PASTING
from tests.moving_face import clip

Run = Callable[..., int]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "talking.mp4", 12)


def without(path: Path, *columns: str) -> None:
    """Rewrite a file of rows as a version that did not know these columns wrote it."""
    with Rows(path) as rows:
        header = dict(rows.header)
        arrays = {name: rows.read(name) for name in rows.names}
    kept = {k: a for k, a in arrays.items() if not any(word in k for word in columns)}
    assert len(kept) < len(arrays)
    write_rows(path, kept, header)


def stopped_at_joining(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(*_: object) -> None:
        raise InputError("the machine was switched off")

    monkeypatch.setattr(Chunks, "join", join)


def test_work_that_an_earlier_version_left_is_finished_rightly(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("video", talking, "--edit", "age=2", "--segment", "4", "-q", "--out")
    assert dse(*words, tmp_path / "whole") == 0
    with monkeypatch.context() as patched:
        stopped_at_joining(patched)
        assert dse(*words, tmp_path / "old") != 0
    kept = tmp_path / "old" / ".talking.dse-work"
    (folder,) = kept.glob("latents-*-2-4")
    for chunk in folder.iterdir():
        without(chunk, "seen")
    folder.rename(folder.with_name(folder.name.replace("-2-4", "-4")))
    (kept / "source.txt").unlink()
    assert dse(*words, tmp_path / "old") == 0
    for name in ("talking.age+2.mp4", "talking.safetensors"):
        assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not kept.exists()


def test_what_an_earlier_version_began_to_paste_is_not_gone_on_with(
    dse: Run, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise InputError("the machine was switched off")

    words = ("video", talking, "--edit", "age=2", "--segment", "4", "-q", "--out")
    assert dse(*words, tmp_path / "whole") == 0
    with monkeypatch.context() as patched:
        patched.setattr("dseinvert.media.video_write._mux", killed)
        assert dse(*words, tmp_path / "old") != 0
    kept = tmp_path / "old" / ".talking.dse-work"
    for begun in ([*kept.glob(f"age+2-p{PASTING}-*")], [*kept.glob(f"steady-p{PASTING}-*")]):
        (folder,) = begun
        before = [path for path in folder.rglob("*") if path.is_file()]
        assert before
        for path in before:
            path.write_bytes(b"pasted otherwise")
        folder.rename(folder.with_name(folder.name.replace(f"-p{PASTING}-", "-")))
    assert dse(*words, tmp_path / "old") == 0
    name = "talking.age+2.mp4"
    assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not kept.exists()


def test_new_edits_of_latents_without_covers_say_so(
    dse: Run, talking: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("video", talking, "--out", tmp_path)
    assert dse(*words, "--edit", "age=2") == 0
    without(tmp_path / "talking.safetensors", "seen")
    assert "earlier version" not in capfd.readouterr().err
    assert dse(*words, "--edit", "age=2") == 0  # all is there: nothing to say
    assert "earlier version" not in capfd.readouterr().err
    assert dse(*words, "--edit", "smile=2") == 0
    (line,) = [one for one in capfd.readouterr().err.splitlines() if "earlier version" in one]
    assert "--overwrite" in line and "covers a face" in line
    assert dse(*words, "--edit", "smile=3", "--overwrite") == 0
    with Rows(tmp_path / "talking.safetensors") as rows:
        assert "seen" in rows.names
