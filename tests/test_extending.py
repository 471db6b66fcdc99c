"""docs/extending.md: its option is offered, and decides; its Python is in test_docs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, child_environment

PAGE = ROOT / "docs" / "extending.md"


@pytest.fixture
def patched(tmp_path: Path) -> Path:
    """A copy of the package with the page's change in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dseinvert", tmp_path / "dseinvert", ignore=ignored)
    shutil.copytree(ROOT / "export", tmp_path / "dseinvert" / "export", ignore=ignored)
    (diff,) = re.findall(r"```diff\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    for name, lines in re.findall(r"^--- (\S+)\n((?:[ +].*\n)+)", diff, re.M):
        known = re.sub(r"^\+.*\n", "", lines, flags=re.M).replace("\n ", "\n")[1:]
        added = re.sub(r"^[ +]", "", lines, flags=re.M)
        file = tmp_path / name
        text = file.read_text("utf-8")
        assert text.count(known) == 1, name
        file.write_text(text.replace(known, added), "utf-8")
    return tmp_path


def test_the_option_of_the_page_is_offered_and_decides(patched: Path) -> None:
    script = """
from pathlib import Path
from dseinvert.cli.main import run
from dseinvert.config import ImagesOptions
from dseinvert.models import open_model
from dseinvert.run.images.job import CHANGES_NOTHING, open_job
run(["images", "--help"])
keys = [
    open_job(ImagesOptions(Path("out"), grey=grey, dry_run=True), open_model()).settings
    for grey in (False, True)
]
assert keys[0] != keys[1] and "grey" not in keys[0] and "grey" not in CHANGES_NOTHING
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=patched,
        capture_output=True,
        text=True,
        env={**child_environment(), "COLUMNS": "120", "PYTHONPATH": str(patched)},
    )
    assert done.returncode == 0, done.stderr
    assert "--grey" in done.stdout and "without colour" in done.stdout
