"""What it gains that the parts of `video` run beside each other: the same run, part after part."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from dseinvert.config import VideoOptions
from dseinvert.errors import NoInputError
from dseinvert.run.flow.alone import one_at_a_time
from dseinvert.run.flow.progress import watching
from dseinvert.run.video.run import run_video
from measure import asked
from measure.asked import Verb
from measure.tables import Cell, Table, watched

NOTE = (
    "Wall seconds of the whole verb without start-up, medians of {rounds} rounds by turns. alone: "
    "the same work, one part at a time, PyTorch with 1 thread, or with {cores}; beside: as it is. "
    "cores: CPU seconds over wall seconds."
)


def overlap(given: argparse.Namespace) -> list[Table]:
    """Each clip both ways, by turns."""
    clips = asked.clips_of(given)
    cores = os.cpu_count() or 1
    ways = {"alone": 1, f"alone, {cores} threads": cores, "beside": None}
    rows: list[dict[str, Cell]] = []
    for clip in watched("clips", clips):
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        frames = 0
        for _ in range(given.rounds):
            for way, times in found.items():
                frames, spent = timed(clip, given, ways[way])
                times.append(spent)
        rows.append(row(clip, frames, found))
    note = NOTE.format(rounds=given.rounds, cores=cores)
    return [Table(f"`video` with its parts alone and beside each other, {given.edit}", rows, note)]


def row(clip: Path, frames: int, found: dict[str, list[tuple[float, float]]]) -> dict[str, Cell]:
    """A clip's line of the table."""
    walls = {way: median(wall for wall, _ in times) for way, times in found.items()}
    beside = walls.pop("beside")
    return {
        "clip": clip.stem,
        "frames": frames,
        **{f"{way}, s": wall for way, wall in walls.items()},
        "beside, s": beside,
        "frames/s": frames / beside,
        **{f"times {way}": wall / beside for way, wall in walls.items()},
        "cores": median(cpu / wall for wall, cpu in found["beside"]),
    }


def timed(
    clip: Path, given: argparse.Namespace, alone: int | None
) -> tuple[int, tuple[float, float]]:
    """Frames of a clip, and wall and CPU seconds that it took.

    alone: threads of each part while it is the only one; None = they run beside each other.
    """
    torch.set_num_threads(alone or os.cpu_count() or 1)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        if alone is not None:
            stack.enter_context(one_at_a_time())
        watcher = stack.enter_context(watching(quiet=True))
        options = VideoOptions(
            out=Path(folder),
            edits=(given.edit,),
            end=given.seconds,
            model=given.model,
            device=given.device,
            backend=given.backend,
        )
        began = time.perf_counter(), time.process_time()
        (result,) = run_video([str(clip)], options, watcher).results
        ended = time.perf_counter(), time.process_time()
    if not result.outputs:
        raise NoInputError(f"{clip}: {result.reason}")
    return result.frames, (ended[0] - began[0], ended[1] - began[1])


def options(parser: argparse.ArgumentParser) -> None:
    """What it can be told."""
    asked.clips(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="torch")
    asked.ends(parser)


VERB = Verb("`video` with its parts beside each other, and one after another", options, overlap)
