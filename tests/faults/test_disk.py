"""Outputs that cannot be written: exit 6, one line, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., int]
ROOT = Path(__file__).parents[2]
# Runs the command line, then says how it ended and what it left.
INSIDE = """
import json, sys
from pathlib import Path
from dseinvert.cli.main import run
from dseinvert.media.images import read_image
out = Path(sys.argv[sys.argv.index("--out") + 1])
code = run(sys.argv[1:])
left = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
for name in left:
    if name.endswith(".png"):
        read_image(out / name)
print(json.dumps({"code": code, "left": left}))
"""


def shell(script: str, model: Path, *arguments: object) -> tuple[dict[str, object], str]:
    command = ["sh", "-c", script, sys.executable, INSIDE, *arguments, "--model", model]
    ended = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout), ended.stderr


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


mounts = pytest.mark.skipif(not can_mount(), reason="no mounts without root here")


def check(told: dict[str, object], stderr: str) -> None:
    assert told["code"] == 6
    assert stderr.count("\n") == 1 and stderr.startswith("dseinvert: "), stderr
    left = told["left"]
    assert isinstance(left, list)
    assert not [name for name in left if name.startswith(".")]
    stems = {name.split(".")[0] for name in left if name.startswith("p")}
    for stem in stems:  # an input has all of its files or none
        assert {f"{stem}.input.png", f"{stem}.recon.png", f"{stem}.safetensors"} <= {*left}


@mounts
@pytest.mark.parametrize("size", ["4k", "16k", "28k", "48k"])
def test_a_full_disk_ends_the_run_with_whole_files_only(
    tiny_model: Path, pictures: Path, tmp_path: Path, size: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = (
        f'unshare -rm sh -c \'mount -t tmpfs -o size={size} none {out} && "$0" -c "$@"\' "$0" "$@"'
    )
    told, stderr = shell(script, tiny_model, "images", pictures, "--out", out, "--no-align", "-q")
    check(told, stderr)
    assert "no space left" in stderr


@mounts
def test_a_read_only_disk_is_refused_in_one_line(
    tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = f'unshare -rm sh -c \'mount -t tmpfs -o ro none {out} && "$0" -c "$@"\' "$0" "$@"'
    told, stderr = shell(script, tiny_model, "images", pictures, "--out", out, "--no-align", "-q")
    check(told, stderr)
    assert "read-only disk" in stderr


def test_a_file_size_limit_ends_the_run_with_whole_files_only(
    tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = 'ulimit -f 8 && exec "$0" -c "$@"'
    told, stderr = shell(script, tiny_model, "images", pictures, "--out", out, "--no-align", "-q")
    check(told, stderr)
    assert "file too large" in stderr


@pytest.mark.parametrize("place", ["file", "file/below", "dangling"])
def test_an_output_folder_that_cannot_be_is_refused_in_one_line(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    assert dse("images", pictures, "--out", tmp_path / place, "--no-align") == 6
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_way_of_an_output_is_named(
    dse: Run, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "p2.recon.png").mkdir(parents=True)
    assert dse("images", pictures, "--out", tmp_path / "out", "--no-align", "-q") == 6
    assert "p2.recon.png" in capfd.readouterr().err
    assert not list((tmp_path / "out").glob("p2.*g*s"))
    assert not list((tmp_path / "out").glob(".*"))


def test_parts_of_a_killed_run_are_cleared_away(dse: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".p0.recon.png.dse-part").write_bytes(b"half")
    assert dse("images", pictures, "--out", out, "--no-align", "-q") == 0
    assert not list(out.glob(".*"))
