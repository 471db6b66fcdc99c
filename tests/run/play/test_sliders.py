"""`edit --sweep` and `edit --sliders`: directions that move."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dseinvert.run.play.sliders import Slider, slider_page

Run = Callable[..., int]


@pytest.fixture
def latent(dse: Run, pictures: Path, tmp_path: Path) -> Path:
    out = tmp_path / "latents"
    assert dse("images", pictures / "p0.png", "--out", out, "--no-align", "-q") == 0
    return out / "p0.safetensors"


def frames_of(page: str) -> list[list[str]]:
    found = re.search(r'id="frames">(.*?)</script>', page)
    assert found
    frames: list[list[str]] = json.loads(found[1])
    return frames


def test_a_sweep_goes_there_and_back(dse: Run, latent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--edit", "age@0-2", "--strengths", "-2:2:5", "--sweep", "gif")
    assert dse("edit", latent, *given, "--out", out) == 0
    assert [path.name for path in out.iterdir()] == ["p0.age-2to+2@0-2.gif"]
    with Image.open(out / "p0.age-2to+2@0-2.gif") as moving:
        assert getattr(moving, "n_frames", 1) == 8 and moving.size == (192, 192)
        shown = []
        for k in range(8):
            moving.seek(k)
            shown.append(np.asarray(moving.convert("RGB"), np.float32))
    gaps = [np.abs(shown[k] - shown[8 - k]).mean() for k in (1, 2, 3)]
    assert max(gaps) < 4 < np.abs(shown[0] - shown[4]).mean()


def test_sliders_are_of_all_directions_unless_some_are_named(
    dse: Run, latent: Path, tmp_path: Path
) -> None:
    assert dse("edit", latent, "--sliders", "--out", tmp_path / "all") == 0
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["p0.sliders.html"]
    page = (tmp_path / "all" / "p0.sliders.html").read_text()
    assert re.findall(r'type="range" name="(\w+)"', page) == ["age", "smile"]
    assert [len(row) for row in frames_of(page)] == [13, 13]
    given = ("--sliders", "--edit", "smile", "--strengths", "0:2:3", "--sweep", "webp")
    assert dse("edit", latent, *given, "--out", tmp_path / "one") == 0
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {"p0.sliders.html", "p0.smile+0to+2.webp"}
    page = (tmp_path / "one" / "p0.sliders.html").read_text()
    assert 'value="0" data-strengths="0 +1 +2"' in page


def test_a_kind_that_cannot_move_is_refused(
    dse: Run, latent: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for kind, said in (("png", "mp4"), ("../a.gif", "mp4"), ("", "--sweep is empty")):
        assert dse("edit", latent, "--sweep", kind, "--out", tmp_path / "out") == 2
        assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ten_directions_of_thirteen_detailed_pictures_stay_below_five_megabytes() -> None:
    y, x = np.mgrid[:256, :256]
    waves = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)], -1)
    grain = np.random.default_rng(0).normal(0, 4, (256, 256, 3))
    picture = (127 + 60 * waves + grain).clip(0, 255).astype(np.uint8)
    sliders = [Slider(f"d{k}", "one", np.linspace(-3, 3, 13), [picture] * 13) for k in range(10)]
    page = slider_page("face", sliders, {})
    assert len(page) < 5e6
    assert b"http" not in page.replace(b"http-equiv", b"")
