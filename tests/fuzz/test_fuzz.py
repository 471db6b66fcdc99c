"""No file, however damaged, is more than refused in a line; `bin/fuzz` goes on for longer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dseinvert.errors import DseInvertError
from tests.fuzz.mutators import mutated
from tests.fuzz.readers import Reader, readers
from tests.fuzz.running import CORPUS, SECONDS, armed, fuzz, outcome, replay

SHORT = 60  # of each reader
COUNT = int(os.environ.get("DSEINVERT_FUZZ", "0"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def every(place: Path) -> dict[str, Reader]:
    return readers(place)


@pytest.fixture(autouse=True)
def _armed() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    armed()
    yield
    signal.signal(signal.SIGALRM, before)


def test_each_good_file_is_read(every: dict[str, Reader], place: Path) -> None:
    for name, reader in every.items():
        outcomes = [outcome(reader, data, place) for data in reader.seeds]
        assert any(what == "read" for what, _ in outcomes), (name, outcomes)
        assert all(what != "RAW" for what, _ in outcomes), (name, outcomes)


def test_no_mutation_of_a_good_file_is_more_than_refused(
    every: dict[str, Reader], place: Path
) -> None:
    count = max(SHORT, COUNT // len(every))
    found = {name: fuzz(name, reader, 0, count, place) for name, reader in every.items()}
    assert {name: mistakes for name, (_, mistakes) in found.items() if mistakes} == {}
    assert all(seen.total() == count for seen, _ in found.values())
    refused = {name for name, (seen, _) in found.items() if seen["refused"]}
    assert len(refused) > len(every) // 2


def test_what_once_found_a_mistake_finds_none(every: dict[str, Reader], place: Path) -> None:
    replayed = [*replay(every, place)]
    assert len(replayed) == len([*CORPUS.glob("*.bin")])
    assert [one for one in replayed if one[1] == "RAW"] == []


def test_every_reader_tells_a_good_file_from_none(every: dict[str, Reader], place: Path) -> None:
    for name, reader in every.items():
        told = outcome(reader, b"\x00 no such file \xff", place)
        assert told[0] == "refused", (name, told)


def test_a_mutation_is_the_same_each_time(every: dict[str, Reader]) -> None:
    for name, reader in every.items():
        first, again = (
            [mutated(name, k, reader.seeds, reader.mutators) for k in range(20)] for _ in range(2)
        )
        assert first == again
        assert len({*first}) > 10


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_reader_waits_for_what_never_ends(
    kind: str, every: dict[str, Reader], tmp_path: Path
) -> None:
    armed()
    for name, reader in every.items():
        path = tmp_path / reader.file
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(os.devnull)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            reader.read(path)
        except DseInvertError as error:
            assert str(error).isprintable() and "a bug" not in str(error), name
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        path.unlink(missing_ok=True)
