"""SIGKILL of parts of a Ray run: what comes of it is that of one process, nothing less or more."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from dseinvert.run.images.journal import read_all
from tests.forked import KILLS, Forked
from tests.run.spread.test_crew import Run, Start, ended, many
from tests.run.spread.test_crew import start as start
from tests.run.spread.test_shards import OPTIONS, outputs

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="no Ray here")
COUNT = 24
Cluster = Callable[[], Forked]


@pytest.fixture
def expected(dse: Run, tmp_path: Path, blobs: Callable[..., object]) -> Iterator[dict[str, bytes]]:
    """What one process makes of `sources`, pictures that take a while to read."""
    sources = many(tmp_path / "sources", COUNT, blobs)
    for path in [*sources.iterdir()]:
        path.rename(path.with_name(f"slow{path.name}"))
    assert dse("images", sources, "--out", tmp_path / "whole", *OPTIONS) == 0
    yield outputs(tmp_path / "whole")


@pytest.fixture
def cluster(start: Start, tmp_path: Path) -> Cluster:
    """Starts a run of two workers of Ray over `sources` into `out`."""
    words = ("images", tmp_path / "sources", "--out", tmp_path / "out", *OPTIONS)
    return lambda: start(*words, "--engine", "ray", "--workers", "2")


def below(process: Forked) -> dict[int, str]:
    """The commands of all processes that it started, and that they did, by their ids."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {process.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: command(pid) for pid in found - {process.pid}}


def command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def under_way(process: Forked, out: Path, most: float = 0.5) -> bool:
    """Wait until it has done one more, and then up to `most` seconds; False = it has ended."""
    before = entries(out)
    while process.poll() is None and entries(out) <= before:
        time.sleep(0.02)
    time.sleep(random.uniform(0, most))
    return process.poll() is None


def entries(out: Path) -> int:
    """Lines of all journals: what is done again counts again."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("journal*.jsonl"))


def workers(process: Forked) -> list[int]:
    return [pid for pid, name in below(process).items() if name.startswith("ray::Hands")]


def undo(out: Path, expected: dict[str, bytes]) -> None:
    """Half of what is there goes, so that the next run has something to do.

    And what is known of deaths: who is in flight at five of them, and is not done between, is put
    aside.
    """
    for name in random.sample([*expected], len(expected) // 2):
        (out / name).unlink(missing_ok=True)
    for notes in out.glob(".journal*.notes"):
        notes.unlink()


def finished(cluster: Cluster, out: Path, expected: dict[str, bytes]) -> None:
    """The same command once more: all is there, once, and equal to what one process makes."""
    code, told = ended(cluster())
    assert code == 0, told
    assert len(read_all(out)) == COUNT
    assert outputs(out) == expected


def kill_workers(kills: int, cluster: Cluster, out: Path, expected: dict[str, bytes]) -> None:
    random.seed(kills)
    killed = 0
    for _ in range(kills):
        process = cluster()
        while under_way(process, out) and not (alive := workers(process)):
            pass
        if process.poll() is None:
            kill(random.choice(alive))
            killed += 1
        code, told = ended(process)
        assert code == 0, told
        undo(out, expected)
    assert 2 * killed >= kills, "most of them had ended before one was killed"
    print(f"{killed} of {kills} killed")
    finished(cluster, out, expected)


def test_a_killed_worker_costs_its_batch(
    cluster: Cluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    kill_workers(1, cluster, tmp_path / "out", expected)


@pytest.mark.slow
def test_many_killed_workers_lose_nothing(
    cluster: Cluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    kill_workers(KILLS, cluster, tmp_path / "out", expected)


def kill_drivers(kills: int, cluster: Cluster, out: Path, expected: dict[str, bytes]) -> None:
    """What the user started, or what that started to hand out the work, in turns."""
    random.seed(kills)
    codes: Counter[int] = Counter()
    for number in range(kills):
        process = cluster()
        if under_way(process, out):
            drivers = [pid for pid, name in below(process).items() if "spread.worker" in name]
            kill(*([process.pid] if number % 2 else drivers))
        code, told = ended(process)
        assert code in (0, -signal.SIGKILL if number % 2 else 5), told
        assert code != 5 or "died of SIGKILL" in told, told
        codes[code] += 1
        undo(out, expected)
    assert codes[0] <= kills // 2, "most of them had ended before they were killed"
    print(dict(codes))
    finished(cluster, out, expected)


def kill_all(kills: int, cluster: Cluster, out: Path, expected: dict[str, bytes]) -> None:
    random.seed(kills)
    codes: Counter[int] = Counter()
    for _ in range(kills):
        process = cluster()
        if under_way(process, out):
            kill(process.pid, *below(process))
        code, told = ended(process)
        assert code in (0, -signal.SIGKILL), told
        codes[code] += 1
        undo(out, expected)
    assert codes[0] <= kills // 2, "most of them had ended before they were killed"
    print(dict(codes))
    finished(cluster, out, expected)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [kill_drivers, kill_all])
def test_a_cluster_killed_at_random_moments_loses_nothing(
    killed: Callable[..., None], cluster: Cluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    killed(KILLS, cluster, tmp_path / "out", expected)


def test_a_lost_node_is_one_line_or_costs_nothing(
    cluster: Cluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Its workers go on for a while, and may do all there is."""
    out, process = tmp_path / "out", cluster()
    assert under_way(process, out, most=0)
    kill(*(pid for pid, name in below(process).items() if "/raylet/raylet " in name))
    code, told = ended(process)
    assert code in (0, 5) and "Traceback" not in told, told
    assert told.count("goes on where it stopped") == (code == 5)
    finished(cluster, out, expected)
