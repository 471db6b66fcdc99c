from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.run.play.sliders import Slider, slider_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=3000", "--window-size=1300,900"),
)
SORT_BY_PSNR = """<script>
document.getElementById("sort").value = "psnr";
document.getElementById("sort").dispatchEvent(new Event("change"));
document.getElementById("order").click();
</script>"""


MOVE_TWO_SLIDERS = """<script>
const seen = [];
for (const [which, steps] of [[0, 1], [1, -2]]) {
  steps > 0 ? sliders[which].stepUp(steps) : sliders[which].stepDown(-steps);
  sliders[which].dispatchEvent(new Event("input", { bubbles: true }));
  const place = frames[which].indexOf(picture.src);
  const outputs = [...document.querySelectorAll("output")].map((one) => one.textContent);
  seen.push([place, ...outputs, document.getElementById("now").textContent]);
}
form.querySelector("button").click();
seen.push([frames.flat().indexOf(picture.src), document.getElementById("now").textContent]);
document.body.dataset.width = document.documentElement.scrollWidth;
document.body.dataset.seen = seen.map((one) => one.join(",")).join(";");
</script>"""
DRAG_TO_A_FIFTH = """<script>
document.querySelector("#faces article .picture:nth-of-type(2) img").click();
const before = getComputedStyle($("before")).clipPath;
$("position").value = 20;
$("position").dispatchEvent(new Event("input"));
document.body.dataset.clips = [before, getComputedStyle($("before")).clipPath].join(" | ");
</script>"""


@pytest.fixture
def page(dse: Callable[..., int], pictures: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    dse("images", pictures, "--out", out, "--no-align", "--edit", "age=2", "-q")
    return out / "index.html"


def chromium(tmp_path: Path, url: str, *flags: str) -> str:
    profile = tmp_path / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


def with_script(page: str, script: str) -> str:
    """The page with one more script, which its policy lets run."""
    inside = script.removeprefix("<script>").removesuffix("</script>")
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    allowed = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    return allowed.replace("</body>", script + "</body>")


def test_a_link_opens_the_slider_at_its_face_and_edit(page: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    flags = ("--dump-dom", f"--screenshot={shot}")
    dom = chromium(tmp_path, f"{page.as_uri()}#p2/age+2", *flags)
    assert re.search(r'<dialog id="viewer"[^>]* open', dom)
    assert re.search(r'id="viewer-title">p2<', dom)
    assert re.search(r'id="after-name">age\+2<', dom)
    for which in ("before", "after"):
        assert re.search(rf'id="{which}"[^>]*src="data:image/png', dom)


def test_faces_can_be_sorted_by_a_metric(page: Path, tmp_path: Path) -> None:
    page.write_text(with_script(page.read_text(), SORT_BY_PSNR))
    dom = chromium(tmp_path, page.as_uri(), "--dump-dom")
    values = [float(value) for value in re.findall(r'data-psnr="([\d.]+)"', dom)]
    assert len(values) == 7
    assert values == sorted(values, reverse=True)


def test_a_click_on_a_picture_opens_a_slider_that_cuts_the_input(
    page: Path, tmp_path: Path
) -> None:
    page.write_text(with_script(page.read_text(), DRAG_TO_A_FIFTH))
    dom = chromium(tmp_path, page.as_uri(), "--dump-dom")
    assert re.search(r'<dialog id="viewer"[^>]* open', dom)
    clips = re.search(r'data-clips="([^"|]*) \| ([^"]*)"', dom)
    assert clips
    assert "50%" in clips[1]
    assert "80%" in clips[2] or "20%" in clips[2]


def test_a_moved_slider_shows_its_picture_and_sends_the_others_back(tmp_path: Path) -> None:
    shades = [np.full((64, 64, 3), 20 * k, np.uint8) for k in range(10)]
    sliders = [
        Slider("age", "a year", (-2, -1, 0, 1, 2), shades[:5]),
        Slider("smile@0-2", "a <b>smile</b>", (-3, -1.5, 0, 1.5, 3), shades[5:]),
    ]
    page = tmp_path / "a.sliders.html"
    text = slider_page("a & b", sliders, {"model": "tiny"}).decode()
    page.write_text(with_script(text, MOVE_TWO_SLIDERS))
    dom = chromium(tmp_path, page.as_uri(), "--dump-dom", "--window-size=500,844")
    assert 'data-width="500"' in dom  # nothing sticks out
    seen = re.search(r'data-seen="([^"]*)"', dom)
    assert seen
    assert seen[1].split(";") == ["3,+1,0,age +1", "0,0,-3,smile@0-2 -3", "2,as it is"]
    assert "<h1>a &amp; b</h1>" in dom and "a &lt;b&gt;smile" in dom


def test_a_script_that_is_not_the_pages_own_does_not_run(page: Path, tmp_path: Path) -> None:
    foreign = '<script>document.body.dataset.ran = "yes";</script>'
    handler = '<img src="data:," onerror="document.body.dataset.ran = 1">'
    page.write_text(page.read_text().replace("</body>", foreign + handler + "</body>"))
    dom = chromium(tmp_path, page.as_uri(), "--dump-dom")
    assert "</html>" in dom and "data-ran" not in dom
