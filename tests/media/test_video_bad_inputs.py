"""Broken and odd clips that others collected: each gets the verdict its index gives, in a child."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "data" / "bad-inputs"
# Copies one clip as video does, and says what it saw: frames, whether partial, notes, differences.
COPY = """
import json, sys
from pathlib import Path
from dseinvert.errors import DseInvertError
from dseinvert.media.clip import probe
from dseinvert.media.encoding import encoding
from dseinvert.media.video_read import read_frames
from dseinvert.media.video_verify import compare
from dseinvert.media.video_write import suffix_for, writing
source = Path(sys.argv[1])
try:
    clip = probe(source)
    settings = encoding(clip)
    output = Path(sys.argv[2]) / f"out{suffix_for(clip, settings)}"
    reading = read_frames(clip)
    with writing(output, settings, clip) as frames:
        for frame in reading:
            frames.write(frame.pixels, frame.pts)
    differences = [] if reading.partial else compare(source, output)
    print(json.dumps({"partial": reading.partial, "notes": clip.notes, "apart": differences}))
except DseInvertError as error:
    print(json.dumps({"refused": str(error)}))
"""


def rows() -> list[tuple[str, str, str]]:
    if not FOLDER.is_dir():
        return []
    with (FOLDER / "index.csv").open(newline="") as file:
        found = [(row["file"], row["verdict"], row["why"]) for row in csv.DictReader(file)]
    return [row for row in found if "/videos/" in row[0]]


@pytest.mark.skipif(not rows(), reason="the collection is not here")
@pytest.mark.parametrize(("name", "verdict", "why"), rows(), ids=lambda text: text[:40])
def test_the_verdict_is_that_of_the_index(
    tmp_path: Path, name: str, verdict: str, why: str
) -> None:
    command = [sys.executable, "-c", COPY, FOLDER / name, tmp_path]
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    told = json.loads(done.stdout)
    if verdict in ("refuse", "policy"):
        assert "\n" not in told["refused"]
        assert ("protected" in told["refused"]) == ("encrypted" in why)
        assert not list(tmp_path.iterdir())
        return
    assert "refused" not in told, told
    assert told["apart"] == []
    assert told["partial"] == ("cut" in why)
    assert told["notes"] or told["partial"] or verdict == "accept"
    assert len(list(tmp_path.iterdir())) == 1
