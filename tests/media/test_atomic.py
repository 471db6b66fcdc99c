from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dseinvert.errors import OutputError
from dseinvert.media import atomic
from dseinvert.media.atomic import (
    part_path,
    remove_stale_parts,
    replace_folder,
    replacing,
    restore_folder,
    write_bytes,
)

# A child process that tries to write two million bytes and says how that ended.
WRITE = """
import sys
from pathlib import Path
from dseinvert.errors import OutputError
from dseinvert.media.atomic import write_bytes
try:
    write_bytes(Path(sys.argv[1]), b"x" * 2_000_000)
except OutputError as error:
    sys.exit(str(error))
"""

# A child process that rewrites a file for ever, each time with one letter repeated.
REWRITE = """
import itertools, sys
from pathlib import Path
from dseinvert.media.atomic import write_bytes
for letter in itertools.cycle(b"abcdefgh"):
    write_bytes(Path(sys.argv[1]), bytes([letter]) * 3_000_000)
"""


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def can_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for data in (b"one", b"", b"three"):
        write_bytes(path, data)
        assert path.read_bytes() == data
    assert left_in(tmp_path) == ["a.png"]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_part_is_hidden_and_no_picture(tmp_path: Path) -> None:
    assert part_path(tmp_path / "a.png") == tmp_path / ".a.png.dse-part"


def test_the_longest_name_a_file_can_have_works(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + "x.png")
    write_bytes(path, b"data")
    assert left_in(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/a.png", "no such file"),
        ("file/a.png", "not a directory"),
        ("folder", "is a directory"),
        ("x" * 256, "name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_an_output_error(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    before = left_in(tmp_path)
    with pytest.raises(OutputError, match=reason):
        write_bytes(tmp_path / name, b"data")
    assert left_in(tmp_path) == before


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_late_failure_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str, code: int
) -> None:
    path = tmp_path / "a.png"
    write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(owner, call, fail)
    with pytest.raises(OutputError, match=os.strerror(code).lower()):
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["a.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_body_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), replacing(tmp_path / "a.mp4") as part:
        part.write_bytes(b"half")
        raise error
    assert left_in(tmp_path) == []


def test_a_link_at_the_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    part_path(tmp_path / "a").symlink_to("victim")
    write_bytes(tmp_path / "a", b"data")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "a").read_bytes() == b"data"


def test_stale_parts_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.png.dse-part", ".b.mp4.dse-part", "c.dse-part", ".hidden", "a.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".folder.dse-part").mkdir()
    assert remove_stale_parts(tmp_path) == 2
    assert left_in(tmp_path) == [".folder.dse-part", ".hidden", "a.png", "c.dse-part"]
    assert remove_stale_parts(tmp_path / "missing") == 0


@pytest.mark.skipif(not can_mount(), reason="user namespaces are off")
def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=1m none "$1" && printf old > "$1/a.png"; '
        '"$2" -c "$3" "$1/a.png"; echo "exit $?"; ls -A "$1"; cat "$1/a.png"'
    )
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, WRITE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no space left on device" in done.stderr
    assert "free some space" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == "exit 1\na.png\nold"


def test_a_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_bytes(path, b"old")
    script = 'ulimit -f 512; exec "$0" -c "$1" "$2"'
    command = ["sh", "-c", script, sys.executable, WRITE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "file too large" in done.stderr
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["a.png"]


def test_a_killed_process_never_leaves_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    chance = random.Random(0)
    parts = 0
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-c", REWRITE, str(path)]) as child:
            while not path.exists():
                time.sleep(0.001)
            time.sleep(chance.random() * 0.02)
            child.send_signal(signal.SIGKILL)
        data = path.read_bytes()
        assert len(data) == 3_000_000
        assert len(set(data)) == 1
        path.unlink()
        parts += remove_stale_parts(tmp_path)
        assert left_in(tmp_path) == []
    assert parts > 0, "no kill fell into a write"


def folder_of(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "a.png").write_text(content)
    return path


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a folder be replaced up to a step: the first rename, the second, the end."""
    real, steps = Path.rename, iter(range(9))

    def rename(self: Path, target: Path) -> Path:
        if next(steps) == step:
            raise KeyboardInterrupt
        return real(self, target)

    def remove(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(atomic, "_remove", remove)


@pytest.mark.parametrize(("step", "content"), [(0, "old"), (1, "old"), (2, "new")])
def test_of_a_folder_old_or_new_is_there_whenever_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, content: str
) -> None:
    path, aside = folder_of(tmp_path / "out", "old"), tmp_path / "aside"
    new = folder_of(tmp_path / "new", "new")
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(new, path, aside)
    restore_folder(path, aside)
    assert (path / "a.png").read_text() == content
    assert left_in(tmp_path) == (["new", "out"] if content == "old" else ["out"])


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "out", "old")
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "none", path, tmp_path / "aside")
    assert left_in(tmp_path) == ["out"] and (path / "a.png").read_text() == "old"


def test_a_folder_takes_a_name_that_is_free_or_that_of_a_file(tmp_path: Path) -> None:
    for content in ("first", "second"):
        new = folder_of(tmp_path / "new", content)
        replace_folder(new, tmp_path / "out", tmp_path / "aside")
        assert (tmp_path / "out" / "a.png").read_text() == content
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").write_text("a file")
    assert left_in(tmp_path) == ["out"]
