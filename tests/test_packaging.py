"""What is installed is what the tree holds, and nothing else becomes importable."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel built from a copy of the tracked tree."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("dseinvert", "export", "bin", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, copy / name], check=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "out"]
    subprocess.run([*map(str, command), str(copy)], check=True, capture_output=True)
    (file,) = (copy / "out").glob("*.whl")
    return zipfile.ZipFile(file).namelist()


def test_the_wheel_holds_every_file_of_the_package(wheel: list[str]) -> None:
    ours = {name for name in wheel if ".dist-info/" not in name}
    tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dseinvert").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    exported = {f"dseinvert/export/{path.name}" for path in (ROOT / "export").glob("*.py")}
    assert ours == tree | exported


def test_the_wheel_makes_no_other_name_importable(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == {"dseinvert"}


@pytest.mark.parametrize("name", ["export", "bin", "recipe", "measure", "tests"])
def test_what_else_the_checkout_holds_is_not_importable(name: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "ModuleNotFoundError" in result.stderr


def test_export_is_part_of_the_package(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", "import dseinvert.export"], cwd=tmp_path, check=True)
