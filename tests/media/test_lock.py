"""Locks: one holder at a time, by what the system has, and nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from dseinvert.errors import OutputError
from dseinvert.media.lock import lock, locked
from dseinvert.run.images.journal import NAME, open_journal


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[set[int]]:
    """No fcntl, folders that cannot be opened, and byte locks; gives the descriptors that hold."""
    held: set[int] = set()

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) > os.fstat(descriptor).st_size
        own = os.fstat(descriptor)
        if any(os.path.samestat(own, os.fstat(one)) for one in held if is_open(one)):
            raise PermissionError(errno.EACCES, "locked")
        held.add(descriptor)

    def opened(path: Path | str, flags: int, mode: int = 0o777) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "is a folder")
        return plain(path, flags, mode)

    plain = os.open
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    monkeypatch.setattr(os, "open", opened)
    yield held


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_folder_is_held_by_one_and_free_again_afterwards(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with locked(tmp_path) as first, locked(tmp_path) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path) as again:
        assert again
    assert [*tmp_path.iterdir()] == []


def test_a_lock_ends_with_the_process_that_was_killed_holding_it(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    code = (
        "import os, sys, pathlib; from dseinvert.media.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])) as alone:\n"
        "    print(alone, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with locked(tmp_path) as alone:
            assert not alone
        other.kill()
        other.wait()
        with locked(tmp_path) as alone:
            assert alone


def test_windows_locks_a_byte_that_nobody_reads(windows: set[int], tmp_path: Path) -> None:
    file = tmp_path / "journal"
    file.write_bytes(b"abc\n")
    with file.open("r+b", buffering=0) as one, file.open("rb") as other:
        one.seek(2)
        assert lock(one.fileno())
        assert not lock(other.fileno())
        assert one.tell() == 2
    assert file.read_bytes() == b"abc\n"


def test_windows_refuses_a_second_run_and_keeps_the_journal(
    windows: set[int], tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(b'{"name": "torn')
    with open_journal(tmp_path), pytest.raises(OutputError, match="another run"):
        open_journal(tmp_path).__enter__()
    assert (tmp_path / NAME).read_bytes() == b'{"name": "torn\n'


def test_windows_locks_a_folder_by_a_file_elsewhere_that_goes(
    windows: set[int], tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with locked(folder) as first, locked(folder) as second:
        assert (first, second) == (True, False)
        assert [*folder.iterdir()] == []
    assert [*(tmp_path / "temp").iterdir()] == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_where_there_are_no_locks_nobody_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path) as first, locked(tmp_path) as second:
        assert (first, second) == (True, True)


def test_neither_without_modules_for_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    with locked(tmp_path) as first, locked(tmp_path) as second:
        assert (first, second) == (True, True)


def test_an_error_of_the_work_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), locked(tmp_path):
        raise BlockingIOError
