"""Bad input gets one line, the rest is done, and nothing is left behind."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.run.images.journal import NAME, read

Run = Callable[..., int]
ASSETS = Path(__file__).parents[1] / "assets"
BAD = Path(__file__).parents[3] / "shared" / "data" / "bad-inputs"


def spoil(folder: Path, kind: str) -> Path:
    """Make one bad input."""
    path = folder / "bad.jpg"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a picture at all " * 9)
    elif kind == "cut":
        path.write_bytes((folder / "p0.png").read_bytes()[:60])
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        return Path("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(folder / "nowhere.jpg")
    elif kind == "no glob match":
        return folder / "*.xyz"
    elif kind == "long":
        return folder / ("x" * 5000 + ".jpg")
    return path


KINDS = (
    *("empty", "text", "cut", "fifo", "device", "loop", "dangling"),
    *("absent", "no glob match", "long"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_input_is_one_line_and_the_rest_is_done(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    bad = spoil(pictures, kind)
    out = tmp_path / "out"
    arguments = ("--out", out, "--no-align", "-q")
    assert dse("images", *pictures.glob("p*.png"), bad, *arguments) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("dseinvert: ") and "unexpected" not in line
    assert sum(entry.status == "done" for entry in read(out / NAME).values()) == 7
    assert not list(out.glob("bad*")) and not list(out.glob(".*"))
    assert dse("images", bad, "--out", tmp_path / "alone", "--no-align", "-q") == 3


def test_a_folder_with_loops_is_read_once(dse: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "again").symlink_to(pictures)
    (pictures / "copy.png").symlink_to(pictures / "p0.png")
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align", "-q") == 0
    assert len(read(tmp_path / "out" / NAME)) == 7


def test_every_picture_of_the_assets_ends_done_or_refused(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert dse("images", *ASSETS.iterdir(), "--out", out, "--no-align", "-q") == 1
    entries = read(out / NAME).values()
    assert {entry.status for entry in entries} == {"done", "refused"}
    refused = [entry for entry in entries if entry.status == "refused"]
    assert len(capfd.readouterr().err.splitlines()) == len(refused)


@pytest.mark.skipif(not BAD.is_dir(), reason="the shared broken files are not here")
def test_the_shared_broken_pictures_get_their_verdicts(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (BAD / "index.csv").open(newline="") as table:
        verdicts = {row["file"]: row["verdict"] for row in csv.DictReader(table)}
    pictures = [BAD / file for file in verdicts if "/images/" in file]
    arguments = ("--out", tmp_path / "out", "--no-align", "-q", "--json")
    assert dse("images", *pictures, *arguments) == 1
    told = capfd.readouterr()
    statuses = {item["source"]: item["status"] for item in json.loads(told.out)["items"]}
    assert len(statuses) == len(pictures)
    assert len(told.err.splitlines()) == list(statuses.values()).count("refused")
    for path in pictures:
        verdict = verdicts[str(path.relative_to(BAD))]
        if verdict != "policy":
            expected = "done" if verdict.startswith("accept") else "refused"
            assert statuses[str(path)] == expected, path.name


@pytest.mark.skipif(not BAD.is_dir(), reason="the shared broken files are not here")
def test_the_shared_broken_latents_are_refused_in_one_line_each(
    dse: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    latents = sorted((BAD / "made" / "latents").iterdir())
    assert dse("edit", *latents, "--out", tmp_path / "out") == 3
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("dseinvert: ")]
    assert len(lines) == len(latents)
    assert not any("unexpected" in line for line in lines)
