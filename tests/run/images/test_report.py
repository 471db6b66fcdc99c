from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.run.images import page
from dseinvert.similarity.metrics import PROTOCOL

Run = Callable[..., int]


def invert(dse: Run, pictures: Path, out: Path, *more: object) -> str:
    dse("images", pictures, "--out", out, "--no-align", "--edit", "age=2", "-q", *more)
    return (out / "index.html").read_text()


def test_the_table_says_how_its_numbers_were_made(dse: Run, pictures: Path, tmp_path: Path) -> None:
    invert(dse, pictures, tmp_path / "out")
    lines = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert f"# protocol: {PROTOCOL}" in header
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [row["name"] for row in rows] == [f"p{n}" for n in range(7)]
    assert all(5 < float(row["psnr"]) < 60 for row in rows)


def test_the_page_shows_every_face_with_its_pictures_and_numbers(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    html = invert(dse, pictures, tmp_path / "out")
    assert html.count("<article") == 7
    assert html.count('src="data:image/png;base64,') == 7 * 3
    assert re.search(r'data-psnr="[\d.]+" data-ssim="[-\d.]+" data-mse="[\d.]+"', html)


def test_the_page_asks_nothing_of_the_network(dse: Run, pictures: Path, tmp_path: Path) -> None:
    html = invert(dse, pictures, tmp_path / "out")
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"?(https?:)?//|@import|url\(", html)


def test_a_long_page_links_to_the_pictures_instead_of_holding_them(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "EMBEDDED_FACES", 3)
    html = invert(dse, pictures, tmp_path / "out")
    assert "data:image" not in html.replace("img-src data:", "")
    links = re.findall(r'<img src="([^"]+)"', html)
    assert len(links) == 21
    assert 'loading="lazy"' in html
    assert {"p0.age%2B2.png", "p6.recon.png"} <= set(links)


def test_a_large_picture_is_embedded_smaller(tmp_path: Path) -> None:
    import numpy as np

    from dseinvert.media.images import encode_png

    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    (tmp_path / "large.png").write_bytes(encode_png(noise))
    uri = page._data_uri(tmp_path / "large.png")
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 200_000


@pytest.mark.parametrize(("format", "kind"), [("png", "png"), ("jpg", "jpeg"), ("webp", "webp")])
def test_a_small_picture_is_embedded_as_what_it_is(
    dse: Run, pictures: Path, tmp_path: Path, format: str, kind: str
) -> None:
    out = tmp_path / "out"
    assert dse("images", pictures, "--out", out, "--no-align", "--format", format, "-q") == 0
    kinds = re.findall(r'src="data:image/(\w+);base64,', (out / "index.html").read_text())
    assert len(kinds) == 14 and {*kinds} == {kind}


def test_names_cannot_break_the_page(dse: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "p0.png").rename(pictures / "<b onload=alert(1)>&'\".png")
    (pictures / "p1.png").write_bytes(b"no picture")
    (pictures / "p1.png").rename(pictures / "<script>x.png")
    html = invert(dse, pictures, tmp_path / "out")
    assert "<b onload" not in html
    assert "<script>x" not in html
    assert "&lt;script&gt;x.png" in html


def test_what_was_not_done_is_listed_with_its_reason(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "p1.png").write_bytes(b"")
    html = invert(dse, pictures, tmp_path / "out", tmp_path / "nowhere.jpg")
    assert "2 inputs were not done" in html
    assert re.search(r"p1\.png</b><span>is empty", html)
    assert re.search(r"nowhere\.jpg</b><span>no such file", html)


def test_a_picture_that_vanished_does_not_stop_the_page(
    dse: Run, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    invert(dse, pictures, out)
    (out / "p3.recon.png").unlink()
    dse("images", pictures / "p0.png", "--out", out, "--no-align", "--edit", "age=2", "-q")
    assert ">missing</a>" in (out / "index.html").read_text()


def test_the_same_results_give_the_same_page(dse: Run, pictures: Path, tmp_path: Path) -> None:
    whole = invert(dse, pictures, tmp_path / "one")
    for name in ("p4.png", "p2.png"):
        invert(dse, pictures / name, tmp_path / "two")
    assert invert(dse, pictures, tmp_path / "two") == whole
