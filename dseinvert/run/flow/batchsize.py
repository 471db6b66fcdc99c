"""How many faces go through a model at once, in how many threads, and what if memory runs out."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from dseinvert.errors import DeviceError
from dseinvert.export.runtimes import Threads
from dseinvert.run.flow.stream import Workers, threads

P = TypeVar("P")
R = TypeVar("R")
_log = logging.getLogger(__name__)


CORES = "DSEINVERT_CORES"
"""The variable by which one of several processes is told how many cores it has."""


@dataclass
class BatchSize:
    """The present size of a batch; it halves when memory runs out."""

    size: int

    def halve(self, error: BaseException, failed: int) -> None:
        """After memory ran out for `failed` at once; raises DeviceError when one is too many.

        Threads that failed at the same size halve it once.
        """
        if failed == 1:
            raise DeviceError(
                "out of memory with a single face", "free memory, or use --device cpu"
            ) from error
        if self.size > failed // 2:
            self.size = failed // 2
            _log.warning("out of memory: going on with %d faces at once", self.size)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def auto_size(resolution: int, device: torch.device) -> int:
    """A batch that fits: small on a CPU, where more gains little and a last batch is filled up."""
    if device.type == "cpu":
        return max(1, min(8, 512 // resolution))
    return max(4, min(64, 8 * (1024 // resolution) ** 2))


@contextmanager
def computing(resolution: int, device: torch.device) -> Iterator[Workers]:
    """Threads that run a model."""
    shared = share(resolution, device)
    if shared.calls == 1:
        with threads(1) as pool:
            yield Workers(pool, 1)
        return
    with threads(shared.calls, partial(torch.set_num_threads, shared.each)) as pool:
        yield Workers(pool, shared.calls)


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Around a run: threads of the caller that begin after it have as many of torch's as before.

    Not around a part of one, where what begins later would round otherwise.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """Those that this process may keep busy: a part of the machine, where it is one of several."""
    told = os.environ.get(CORES, "")
    return int(told) if told.isdecimal() and int(told) else os.cpu_count() or 1


def share(resolution: int, device: torch.device) -> Threads:
    """How many batches are computed at once, and by how many threads each.

    Small pictures leave most of a core idle when several cores share one batch, so on a CPU each
    core gets batches of its own; large ones fill all cores, and two batches of them much memory.
    """
    here = cores()
    if device.type != "cpu" or resolution > 256:
        return Threads(1, here)
    count = min(here, 8)
    return Threads(count, max(1, here // count))


def in_batches(
    work: Callable[[Sequence[P]], Sequence[R]], parts: Sequence[P], batch: BatchSize
) -> list[R]:
    """`work` on all parts, always `batch.size` at a time.

    A short batch is filled up with its last part, because kernels chosen by the batch's size round
    differently: so the result for a part depends on nothing but the part.
    """
    results: list[R] = []
    while len(results) < len(parts):
        size = batch.size  # another thread may halve it meanwhile
        chunk = parts[len(results) : len(results) + size]
        try:
            done = work([*chunk, *[chunk[-1]] * (size - len(chunk))])
            results.extend(done[: len(chunk)])
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            batch.halve(error, size)
    return results


def in_kinds(
    kind: Callable[[P], Hashable],
    work: Callable[[Sequence[P]], Sequence[R]],
    parts: Sequence[P],
    batch: BatchSize,
) -> list[R]:
    """`in_batches` of the parts of each kind by themselves; the results are in the parts' order."""
    places: dict[Hashable, list[int]] = {}
    for place, part in enumerate(parts):
        places.setdefault(kind(part), []).append(place)
    found: dict[int, R] = {}
    for some in places.values():
        found |= zip(some, in_batches(work, [parts[k] for k in some], batch), strict=True)
    return [found[place] for place in range(len(parts))]


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: CUDA has its own exception, the CPU allocator a RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "can't allocate memory" in str(error) or "out of memory" in str(error)
