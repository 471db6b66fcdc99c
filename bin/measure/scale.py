"""`images` by one process, by two shards and by two workers of Ray: equal outputs, and the costs.

Seconds of CPU and the most memory are read from /proc, of all processes that a run has started.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dseinvert.media.images import encode_png
from measure import asked
from measure.asked import Verb
from measure.tables import Cell, Table

_LOOK = 0.5  # seconds between looks at the processes
_EARLY = 500
"""Photos after which memory is looked at for the first time."""
_WORKER = "ray::Hands"
"""How the name of its process begins; the cluster does not outlive others of Ray."""


@dataclass
class Seen:
    """What one process took."""

    name: str
    cpu: float = 0.0
    early: float = 0.0
    """MiB at most until `_EARLY` photos were done."""
    most: float = 0.0
    """MiB at most."""


@dataclass
class Taken:
    """What one run took."""

    wall: float = 0.0
    killed: int = 0
    processes: dict[int, Seen] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """Seconds of all processes."""
        return sum(one.cpu for one in self.processes.values())

    def memory(self) -> Iterator[Seen]:
        """Of the processes that did photos both early and at the end."""
        for one in self.processes.values():
            if one.early > 0 and one.most > 100 and not one.name.startswith(("gcs", "raylet")):
                yield one


def scale(given: argparse.Namespace) -> list[Table]:
    """The two tables."""
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        return _measured(Path(folder), given.photos, given.kills, given.ways.split(","))


def _measured(folder: Path, photos: int, kills: int, ways: Sequence[str]) -> list[Table]:
    sources = folder / "photos"
    _draw(sources, photos)
    words = ["images", str(sources), "--no-align", "--edit", "age=+2", "-q", "--out"]
    commands: dict[str, list[list[str]]] = {
        "one process": [[]],
        "2 shards": [["--shard", "1/2"], ["--shard", "2/2"]],
        "2 Ray workers": [["--engine", "ray", "--workers", "2"]],
    }
    rows: list[dict[str, Cell]] = []
    memory: list[dict[str, Cell]] = []
    for way in (name for name in commands if any(one in name for one in ways)):
        out = folder / way.replace(" ", "-")
        load = os.getloadavg()[0]
        deadly = kills if "Ray" in way else 0
        taken = _run([[*words, str(out), *more] for more in commands[way]], out, photos, deadly)
        if "shards" in way:
            subprocess.run([sys.executable, "-m", "dseinvert", "report", str(out)], check=True)
        rows.append(
            {
                "run": way,
                "wall s": round(taken.wall),
                "CPU s": round(taken.cpu),
                "CPU ms a photo": round(1000 * taken.cpu / photos, 1),
                "load before": round(load, 1),
                "workers killed": taken.killed,
                "files": len(_outputs(out)),
                "sha256 of all outputs": _hash(out)[:16],
            }
        )
        memory += [
            {
                "run": way,
                "process": one.name,
                f"MiB at {_EARLY}": round(one.early),
                "MiB at the end": round(one.most),
            }
            for one in taken.memory()
        ]
        print(rows[-1], file=sys.stderr, flush=True)
    note = f"{photos} photos of 64 px, the bundled model, one edit, {os.cpu_count()} cores."
    tables = [Table(note, rows), Table("Peak memory of each process.", memory)]
    return [table for table in tables if table.rows]


def _draw(folder: Path, count: int) -> None:
    """Soft seeded pictures, 64 px."""
    folder.mkdir()
    for seed in range(count):
        small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        pixels = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
        (folder / f"p{seed:05d}.png").write_bytes(encode_png(np.asarray(pixels, np.uint8)))


def _run(commands: Sequence[Sequence[str]], out: Path, photos: int, kills: int) -> Taken:
    """Run them side by side; workers of Ray are killed on the way."""
    taken, began = Taken(), time.perf_counter()
    random.seed(0)
    # Ray's workers are nicer than others, which on a busy machine is to be starved.
    here = {**os.environ, "RAY_worker_niceness": "0"}
    running = [
        subprocess.Popen([sys.executable, "-m", "dseinvert", *words], env=here)
        for words in commands
    ]
    points = [photos * (k + 1) // (kills + 2) for k in range(kills)]
    while any(process.poll() is None for process in running):
        done = _done(out)
        _look(taken, {os.getpid()}, early=done < _EARLY)
        if points and done >= points[0]:
            workers = [p for p, one in taken.processes.items() if one.name.startswith(_WORKER)]
            alive = [p for p in workers if Path(f"/proc/{p}").exists()]
            if alive:
                os.kill(random.choice(alive), signal.SIGKILL)
                taken.killed += 1
                points.pop(0)
        time.sleep(_LOOK)
    taken.wall = time.perf_counter() - began
    if any(process.returncode for process in running):
        raise SystemExit(f"a run failed: {[process.returncode for process in running]}")
    return taken


def _look(taken: Taken, roots: set[int], *, early: bool) -> None:
    """Add what the descendants of `roots` have taken up to now."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            cells = rest.split()
            ticks = int(cells[11]) + int(cells[12])
            parents[int(path.parent.name)] = int(cells[1]), name, ticks
    for pid, (_, name, ticks) in parents.items():
        if _descends(pid, roots, {one: up[0] for one, up in parents.items()}):
            seen = taken.processes.setdefault(pid, Seen(name))
            seen.name, seen.cpu = name, ticks / os.sysconf("SC_CLK_TCK")
            seen.most = max(seen.most, _peak(pid))
            seen.early = seen.most if early else seen.early


def _descends(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    pid = parents.get(pid, 0)
    while pid > 1:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False


def _peak(pid: int) -> float:
    """MiB."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _done(out: Path) -> int:
    """Lines of all journals."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("journal*.jsonl"))


def _outputs(out: Path) -> list[Path]:
    return sorted(p for p in out.iterdir() if not p.name.startswith(("journal", ".journal")))


def _hash(out: Path) -> str:
    """Of names and bytes of all outputs, pages and tables too."""
    whole = hashlib.sha256()
    for path in _outputs(out):
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--ways", default="process,shards,Ray")
    asked.out(parser)
    parser.add_argument("--scratch", type=Path, help="None = the system's")


VERB = Verb("`images` by several processes beside one", options, scale)
