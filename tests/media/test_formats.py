"""The table of formats in the documentation is that of what is read, and each of them is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dseinvert.errors import InputError
from dseinvert.media.formats import READ, Format
from dseinvert.media.images import read_image
from dseinvert.media.scan import scan

DOCS = Path(__file__).parents[2] / "docs" / "artists.md"
WRITABLE = [one for one in READ if one.kind not in ("HEIF", "SUN")]


def picture(side: int = 32) -> Image.Image:
    ramp = np.arange(side, dtype=np.uint8) * 7
    return Image.fromarray(
        np.dstack([np.tile(ramp, (side, 1)), *[np.tile(ramp[:, None], side)] * 2])
    )


@pytest.mark.parametrize("one", WRITABLE, ids=lambda one: one.kind)
def test_a_file_of_each_format_is_read_from_a_folder(one: Format, tmp_path: Path) -> None:
    options = {"sizes": [(32, 32)]} if one.kind == "ICO" else {}
    picture().save(tmp_path / f"a{one.suffixes[0]}", format=one.kind, **options)
    (path,) = scan([str(tmp_path)]).files
    gap = np.abs(read_image(path).astype(int) - np.asarray(picture()))
    assert gap.mean() < (40 if one.kind == "GIF" else 8)


def test_a_sun_raster_is_read(tmp_path: Path) -> None:
    numbers = (0x59A66A95, 4, 4, 24, 48, 1, 0, 0)
    data = b"".join(number.to_bytes(4, "big") for number in numbers) + bytes(range(48))
    (tmp_path / "a.ras").write_bytes(data)
    assert read_image(tmp_path / "a.ras").shape == (4, 4, 3)


def test_the_documentation_lists_what_is_read() -> None:
    rows = [f"| {one.kind} | {', '.join(f'`{end}`' for end in one.suffixes)} |" for one in READ]
    assert "\n".join(rows) in DOCS.read_text(encoding="utf-8")


def test_pictures_that_are_not_read_are_counted_by_their_kind(tmp_path: Path) -> None:
    for name, data in (("a.psd", b"8BPS\0\1"), ("b.psd", b"8BPS\0\1"), ("c.eps", b"%!PS-Adobe-3")):
        (tmp_path / name).write_bytes(data.ljust(40, b"\0"))
    (tmp_path / "photo.dng").write_bytes(b"II*\0")
    (tmp_path / "notes.txt").write_bytes(b"words")
    found = scan([str(tmp_path)])
    assert found.files == () and found.ignored == 5
    assert [(what.split(",")[0], n) for what, n in found.unread.items()] == [
        ("is a Photoshop document", 2),
        ("is a camera raw file", 1),
        ("is an EPS drawing", 1),
    ]


def test_an_icon_may_not_hold_a_picture_of_another_size(tmp_path: Path) -> None:
    file = io.BytesIO()
    picture().save(file, format="ICO", sizes=[(32, 32)])
    data = file.getvalue()
    at = data.index(b"IHDR") + 4
    (tmp_path / "a.ico").write_bytes(data[:at] + (60_000).to_bytes(4, "big") * 2 + data[at + 8 :])
    with pytest.raises(InputError, match="megapixels"):
        read_image(tmp_path / "a.ico")
