"""`images` by one process, by two shards and by two workers of Ray: equal outputs, and the costs.

With --scratch everything is kept there: a run that was cut short goes on, and what is done is only
told. So each part can be run by itself: --ways photos, then process, shards and Ray.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from dseinvert.generators.pixels import to_pixels
from dseinvert.media.atomic import write_bytes
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, open_model
from measure import asked
from measure.asked import Verb
from measure.processes import Taken
from measure.tables import Cell, Table

_LOOK = 0.2  # seconds between looks at the processes
_KEPT = 10  # seconds between times that what was seen is kept
_AT_ONCE = 32
_FACE, _SIDE = 128, 160  # pixels of a face, and of its photo
_PSI = 0.7
_WORKER = "ray::Hand"
"""How the name of its process begins, as /proc tells it."""
_WAYS: dict[str, list[list[str]]] = {
    "one process": [[]],
    "2 shards": [["--shard", "1/2"], ["--shard", "2/2"]],
    "2 Ray workers": [["--engine", "ray", "--workers", "2"]],
}


@dataclass(frozen=True)
class Place:
    """Where the photos and what comes of them lie."""

    folder: Path
    photos: int
    kills: int
    early: int
    model: str
    align: bool

    @property
    def sources(self) -> Path:
        """The folder of the photos."""
        return self.folder / "photos"

    @property
    def marks(self) -> tuple[int, ...]:
        """Photos of a process at which its memory is kept."""
        return self.early, 2 * self.early, 4 * self.early

    def out(self, way: str) -> Path:
        """The outputs of a way."""
        return self.folder / way.replace(" ", "-")

    def kept(self, way: str) -> Path:
        """What a way took, when it is done."""
        return self.folder / f"{way.replace(' ', '-')}.json"

    def begun(self, way: str) -> Path:
        """The same, while it is not."""
        return self.folder / f"{way.replace(' ', '-')}.begun.json"


def scale(given: argparse.Namespace) -> list[Table]:
    """The two tables, of all ways that are done."""
    if given.scratch is None:
        with tempfile.TemporaryDirectory() as folder:
            return _measured(Path(folder), given)
    return _measured(given.scratch, given)


def _measured(folder: Path, given: argparse.Namespace) -> list[Table]:
    place = Place(folder, given.photos, given.kills, given.early, given.model, given.align)
    _draw(place)
    asked_for = given.ways.split(",")
    for way in (way for way in _WAYS if any(one in way for one in asked_for)):
        if not place.kept(way).exists():
            _done(place, way)
    done = {way: Taken.load_from(place.kept(way)) for way in _WAYS if place.kept(way).exists()}
    note = f"{place.photos} photos of {_SIDE} px, one edit, {os.cpu_count()} cores."
    memory = [row for way, taken in done.items() for row in _memory(place, way, taken)]
    tables = [Table(note, _rows(place, done)), Table("Peak memory, MiB, by its photos.", memory)]
    return [table for table in tables if table.rows]


def _draw(place: Place) -> None:
    """Faces of the model before soft backgrounds; those that are there stay."""
    place.sources.mkdir(parents=True, exist_ok=True)
    paths = [place.sources / f"p{seed:05d}.png" for seed in range(place.photos)]
    todo = [seed for seed, path in enumerate(paths) if not path.exists()]
    model = open_model(place.model) if todo else None
    for start in range(0, len(todo), _AT_ONCE):
        assert model is not None
        seeds = todo[start : start + _AT_ONCE]
        for seed, face in zip(seeds, _faces(model, seeds), strict=True):
            write_bytes(paths[seed], encode_png(_photo(seed, face)), sync=False)


@torch.inference_mode()
def _faces(model: Model, seeds: Sequence[int]) -> list[Pixels]:
    generator = model.generator
    return to_pixels(generator.synthesize(generator.sample(seeds, _PSI)))


def _photo(seed: int, face: Pixels) -> Pixels:
    """[_SIDE, _SIDE, 3]: the face, and what a few grey blocks come to when they are enlarged."""
    small = np.random.default_rng(seed).integers(90, 166, (3, 3, 3)).astype(np.uint8)
    photo = np.asarray(cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
    edge = (_SIDE - _FACE) // 2
    large = cv2.resize(face, (_FACE, _FACE), interpolation=cv2.INTER_CUBIC)
    photo[edge : edge + _FACE, edge : edge + _FACE] = large
    return photo


def _done(place: Place, way: str) -> None:
    """Run a way to its end, and keep what it took."""
    out, kills = place.out(way), place.kills if "Ray" in way else 0
    taken = Taken.load_from(place.begun(way))
    taken.resumed += place.begun(way).exists()
    taken.load = taken.load or os.getloadavg()[0]
    words = ["images", str(place.sources), "--edit", "age=+2", "--model", place.model, "-q"]
    words += ["--backend", "torch"]  # what `auto` is depends on what there was before
    words += [] if place.align else ["--no-align"]
    _run([[*words, "--out", str(out), *more] for more in _WAYS[way]], place, way, taken, kills)
    if "shards" in way:
        _run([["report", str(out)]], place, way, taken, 0)
    taken.save(place.kept(way))
    place.begun(way).unlink()


def _run(
    commands: Sequence[Sequence[str]], place: Place, way: str, taken: Taken, kills: int
) -> None:
    """Run them side by side; workers of Ray are killed on the way."""
    random.seed(taken.killed)
    # Ray's workers are nicer than others, which on a busy machine is to be starved.
    here = {"RAY_worker_niceness": "0", **os.environ}
    program, first = [sys.executable, "-m", "dseinvert"], _lines(place.out(way))
    running = [subprocess.Popen([*program, *words], env=here) for words in commands]
    before, began, kept = taken.wall, time.perf_counter(), 0.0
    points = [place.photos * (k + 1) // (kills + 2) for k in range(kills)][taken.killed :]
    while any(process.poll() is None for process in running):
        counts = _lines(place.out(way))
        taken.look(os.getpid(), first, counts, place.marks)
        taken.wall = before + time.perf_counter() - began
        if points and sum(counts.values()) >= points[0] and (alive := taken.alive(_WORKER)):
            os.kill(random.choice(alive), signal.SIGKILL)
            taken.killed += 1
            points.pop(0)
        if taken.wall - kept > _KEPT:
            kept = taken.wall
            taken.save(place.begun(way))
        time.sleep(_LOOK)
    taken.end(_lines(place.out(way)))
    taken.save(place.begun(way))
    if any(process.returncode for process in running):
        raise SystemExit(f"a run failed: {[process.returncode for process in running]}")


def _lines(out: Path) -> dict[str, int]:
    return {path.name: path.read_bytes().count(b"\n") for path in out.glob("journal*.jsonl")}


def _rows(place: Place, done: dict[str, Taken]) -> list[dict[str, Cell]]:
    one = done.get("one process")
    alone = None if one is None else _hashes(place.out("one process"))
    return [
        {
            "run": way,
            "wall s": round(taken.wall),
            "CPU s": round(taken.cpu),
            "CPU ms a photo": round(1000 * taken.cpu / place.photos, 1),
            "times as fast": None if one is None else round(one.wall / taken.wall, 2),
            "CPU efficiency, %": None if one is None else round(100 * one.cpu / taken.cpu),
            "load before": round(taken.load, 1),
            "killed": taken.killed,
            "gone on with": taken.resumed,
            **_counts(place, way),
            "files": len(_hashes(place.out(way))),
            "files unlike one process": None if alone is None else _unlike(place, way, alone),
            "sha256 of all outputs": _whole(_hashes(place.out(way)))[:16],
        }
        for way, taken in done.items()
    ]


def _counts(place: Place, way: str) -> dict[str, Cell]:
    """Photos without a line in metrics.csv, and lines of one face that are there twice."""
    with (place.out(way) / "metrics.csv").open(newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        rows = [(row["source"], row["face"]) for row in csv.DictReader(lines)]
    photos = {source for source, _ in rows}
    return {"missing": place.photos - len(photos), "twice": len(rows) - len({*rows})}


def _unlike(place: Place, way: str, alone: dict[str, str]) -> int:
    return len({*alone.items()} ^ {*_hashes(place.out(way)).items()})


def _memory(place: Place, way: str, taken: Taken) -> list[dict[str, Cell]]:
    """A row for each process that did photos; None = it did not do so many."""
    return [
        {
            "run": way,
            "process": f"{one.name}, {one.journal}",
            "photos": one.photos,
            **{
                f"at {mark}": round(one.peaks[str(mark)]) if one.photos >= mark else None
                for mark in place.marks
            },
            "at the end": round(one.peak),
            "growth from the first, %": (
                round(100 * (one.peak / one.peaks[str(place.early)] - 1), 1)
                if one.photos >= place.early
                else None
            ),
        }
        for one in taken.workers()
    ]


@cache
def _hashes(out: Path) -> dict[str, str]:
    """Of all outputs by name, page and tables too; not what the processes wrote down."""
    paths = sorted(p for p in out.iterdir() if not p.name.startswith(("journal", ".journal")))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _whole(hashes: dict[str, str]) -> str:
    """Of names and hashes."""
    whole = hashlib.sha256()
    for name, digest in hashes.items():
        whole.update(name.encode() + b"\0" + bytes.fromhex(digest))
    return whole.hexdigest()


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=3, help="workers of Ray killed on the way")
    ways = "which of photos, process, shards, Ray; photos are made whatever it says"
    parser.add_argument("--ways", default="process,shards,Ray", help=ways)
    parser.add_argument("--early", type=int, default=500, help="photos until memory is looked at")
    parser.add_argument("--no-align", dest="align", action="store_false", help="find no faces")
    asked.model(parser)
    asked.out(parser)
    kept = "folder where all is kept, and gone on with; None = the system's, for this run"
    parser.add_argument("--scratch", type=Path, help=kept)


VERB = Verb("`images` by several processes beside one", options, scale)
