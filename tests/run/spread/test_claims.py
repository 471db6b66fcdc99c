"""One process at a time writes the books of a run in a store."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from dseinvert.errors import OutputError
from dseinvert.run.spread.claim import SILENT, Owner, claimed
from tests.run.spread.test_stores import OPTIONS, bucket

__all__ = ["bucket"]
Run = Callable[..., int]
PLACES = ["memory://out/journal", "s3://faces/out/journal"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """A folder of books in a store, of a server too."""
    request.getfixturevalue("memory" if request.param.startswith("memory") else "bucket")
    return str(request.param)


def leave(place: str, name: str, owner: Owner) -> str:
    """The lock of somebody else."""
    files, path = fsspec.core.url_to_fs(place)
    files.pipe_file(f"{path}/{name}.lock-000007.json", owner.dumps())
    return f"{place}/{name}.lock-000007.json"


def locks(place: str) -> list[str]:
    files, path = fsspec.core.url_to_fs(place, use_listings_cache=False)
    return sorted(one.rpartition("/")[2] for one in files.find(path) if ".lock-" in one)


def owner(host: str = "elsewhere", pid: int = 1, ago: float = 5, ended: bool = False) -> Owner:
    return Owner(host, pid, "t", time.time() - ago, ended)


def test_a_lock_is_had_by_one_and_then_by_the_next(place: str) -> None:
    for number in (1, 2):
        with claimed(place, "journal"):
            assert locks(place) == [f"journal.lock-{number:06d}.json"]
    with claimed(place, "journal-1-of-2"):
        assert len(locks(place)) == 2


def test_the_lock_of_one_who_is_alive_is_told_with_what_can_be_done(place: str) -> None:
    url = leave(place, "journal", owner())
    with pytest.raises(OutputError) as raised, claimed(place, "journal"):
        pass
    told = str(raised.value)
    assert "another run, process 1 of elsewhere" in told and f"remove {url}" in told
    assert place.rpartition("/")[0] in told and "10 minutes" in told
    assert locks(place) == ["journal.lock-000007.json"]


@pytest.mark.parametrize(
    "gone",
    [
        owner(ended=True),
        owner(ago=SILENT + 1),
        owner(socket.gethostname(), 2**22 - 1),
        owner(socket.gethostname(), os.getpid()),
    ],
    ids=["ended", "silent", "dead here", "an earlier one of this number"],
)
def test_the_lock_of_one_who_is_gone_is_taken_over(place: str, gone: Owner) -> None:
    leave(place, "journal", gone)
    with claimed(place, "journal"):
        assert locks(place) == ["journal.lock-000008.json"]


def test_a_living_process_of_this_machine_keeps_its_lock(place: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        leave(place, "journal", owner(socket.gethostname(), other.pid))
        with pytest.raises(OutputError, match="wait for it"), claimed(place, "journal"):
            pass
        other.kill()
        other.wait()
        with claimed(place, "journal"):
            pass


def test_a_lock_that_is_no_lock_is_taken_over(place: str) -> None:
    files, path = fsspec.core.url_to_fs(place)
    files.pipe_file(f"{path}/journal.lock-000003.json", b'{"host": ')
    with claimed(place, "journal"):
        assert locks(place) == ["journal.lock-000004.json"]


def test_of_two_who_take_over_at_once_one_does(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the same lock of a dead one; the store lets one make the next."""
    leave(place, "journal", owner(ended=True))
    seen = [(7, f"{place}/journal.lock-000007.json")]
    with claimed(place, "journal"):
        real = "dseinvert.run.spread.claim._locks"
        monkeypatch.setattr(real, lambda *_: seen)
        with pytest.raises(OutputError), claimed(place, "journal"):
            pass


def test_two_runs_into_one_prefix_are_one_line_and_exit_code_6(
    dse: Run,
    pictures: Path,
    bucket: fsspec.AbstractFileSystem,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave("s3://faces/out/journal", "journal", owner())
    assert dse("images", pictures, "--out", "s3://faces/out", *OPTIONS) == 6
    (told,) = capsys.readouterr().err.splitlines()
    assert "s3://faces/out: another run, process 1 of elsewhere, is writing here" in told
    assert dse("images", pictures, "--out", "s3://faces/out", *OPTIONS, "--shard", "1/2") == 0
    bucket.rm_file("faces/out/journal/journal.lock-000007.json")
    assert dse("images", pictures, "--out", "s3://faces/out", *OPTIONS) == 0
    (lock,) = [one for one in bucket.find("faces/out/journal") if "/journal.lock" in one]
    assert json.loads(bucket.cat_file(lock))["ended"] is True
