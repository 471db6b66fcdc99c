"""A new kind of picture is a row of one table, and all that names pictures follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dseinvert.media.images import read_image
from dseinvert.run.images.journal import NAME, read
from dseinvert.run.images.roles import ROLES, Role, caption, is_picture

Run = Callable[..., int]


@pytest.fixture
def difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more row: how far the reconstruction is from the input."""
    row = Role(
        "how far the reconstruction is from the input",
        lambda face: {
            "difference": np.abs(face.crop.pixels.astype(int) - face.recon).astype(np.uint8)
        },
        names="difference",
        caption="what is lost",
    )
    monkeypatch.setitem(ROLES, "difference", row)


@pytest.mark.usefixtures("difference")
def test_a_row_is_written_listed_shown_and_no_input_of_the_next_run(
    dse: Run, pictures: Path
) -> None:
    arguments = ("images", pictures, "--out", pictures, "--no-align", "--edit", "age=2", "-q")
    assert dse(*arguments) == 0
    own, recon, lost = (
        read_image(pictures / f"p0.{name}.png").astype(int)
        for name in ("input", "recon", "difference")
    )
    assert np.array_equal(lost, np.abs(own - recon))
    entry = read(pictures / NAME)["p0"]
    assert [*entry.faces[0].pictures] == ["input", "recon", "age+2", "difference"]
    assert "p0.difference.png" in entry.files
    html = (pictures / "index.html").read_text()
    assert html.count("<figcaption>what is lost</figcaption>") == 7
    (pictures / NAME).unlink()  # as a killed run leaves it
    assert dse(*arguments) == 0
    assert len(read(pictures / NAME)) == 7


def test_a_row_that_is_pasted_is_put_into_the_whole_photo(
    dse: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Role("black", lambda face: {"dark": 0 * face.recon}, "dark", "the dark", pasted=True)
    monkeypatch.setitem(ROLES, "dark", row)
    out = tmp_path / "out"
    arguments = ("--no-align", "--edit", "age=2", "--paste", "-q")
    assert dse("images", pictures / "p0.png", "--out", out, *arguments) == 0
    assert read(out / NAME)["p0"].photos == {
        "age+2": "p0.age+2.photo.png",
        "dark": "p0.dark.photo.png",
    }
    photos = [read_image(out / f"p0.{name}.photo.png").mean() for name in ("dark", "age+2")]
    assert photos[0] < photos[1]
    assert "the dark in the photo</figcaption>" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("ending", "ours"),
    [
        ("input.png", True),
        ("recon.png", True),
        ("age+2,smile-1.5.png", True),
        ("age+2.photo.png", True),
        ("age=auto+.png", True),
        ("smile+1,age=auto@0-4.png", True),
        ("recon.jpg", False),
        ("holiday.png", False),
        ("difference.png", False),
    ],
)
def test_a_picture_is_known_again_by_its_name(ending: str, ours: bool) -> None:
    assert is_picture(ending) is ours


def test_a_picture_of_another_version_is_captioned_by_its_name() -> None:
    assert [caption(name) for name in ("input", "recon", "age+2", "age=auto", "depth")] == [
        *("input", "reconstruction", "age+2", "age=auto", "depth")
    ]


def test_a_picture_may_be_of_the_format_that_is_asked_for() -> None:
    assert is_picture("recon.jpg", "jpg") and is_picture("recon.png", "jpg")
    assert not is_picture("recon.webp", "jpg")
