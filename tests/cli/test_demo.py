"""`dseinvert demo` again, after the bundled model has changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.cli import demo
from dseinvert.cli.main import run
from dseinvert.models import open_model
from tests.conftest import ROOT
from tests.moving_face import clip

Bundled = Callable[[Path], None]


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundled:
    """Makes a model the bundled one; the examples are a photo and a short clip."""
    faces = tmp_path / "faces"
    faces.mkdir()
    shutil.copy(ROOT / "examples" / "faces" / "portrait-1.jpg", faces)
    monkeypatch.setattr(demo, "FACES", faces)
    monkeypatch.setattr(demo, "CLIP", clip(tmp_path / "clip.mp4", 3))

    def choose(model: Path) -> None:
        for verb in ("images", "video"):
            place = f"dseinvert.run.{verb}.run.open_model"
            monkeypatch.setattr(place, lambda name, device: open_model(str(model), device))

    return choose


def made(out: Path) -> dict[str, bytes]:
    pictures = [*out.glob("*.age+2*.png"), *out.glob("clip/*.safetensors")]
    return {path.name: path.read_bytes() for path in pictures}


def test_a_demo_with_another_model_is_done_anew(
    bundled: Bundled,
    tiny_model: Path,
    other_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    bundled(tiny_model)
    assert run(["demo", "--out", str(out)]) == 0
    first = made(out)
    bundled(other_model)
    capfd.readouterr()
    assert run(["demo", "--out", str(out)]) == 0
    assert "overwrite" not in capfd.readouterr().err
    second = made(out)
    assert {*first} == {*second} and len(first) == 3
    assert all(first[name] != second[name] for name in first)


def test_a_demo_replaces_no_video_of_somebody_else(
    bundled: Bundled, tiny_model: Path, tmp_path: Path
) -> None:
    own = tmp_path / "out" / "clip" / "clip.age+2.mp4"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    bundled(tiny_model)
    assert run(["demo", "--out", str(tmp_path / "out")]) == 6
    assert own.read_bytes() == b"mine"
