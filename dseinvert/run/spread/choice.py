"""Which processes a run gets: this one, several of this machine, or those of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dseinvert.config import SpreadOptions
from dseinvert.errors import UsageError
from dseinvert.run.spread.shard import Part, Shard, parse_shard

_CORES = 8
"""Of a CPU, that one process keeps busy: see `flow.batchsize.share`."""
_LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID")


@dataclass(frozen=True)
class Crew:
    """Processes of this machine, a shard each."""

    parts: tuple[Part, ...]
    devices: tuple[str, ...]
    """Of each."""


def part_of(spread: SpreadOptions) -> Part:
    """What of a run this process does, where it works by itself."""
    return Part(parse_shard(spread.shard), spread.retry_failed)


def crew_of(
    spread: SpreadOptions, device: str, inputs: Callable[[], int] = lambda: _CORES
) -> Crew | None:
    """The processes that share what this one was asked for; None = it does it itself.

    `inputs` counts them, where that decides: GPUs without one stay idle.

    Raises:
        UsageError: a number that makes no sense here.
    """
    part = part_of(spread)
    count = _count(spread, device)
    if spread.workers is None and count > 1:
        count = max(1, min(count, inputs()))
    if count == 1:
        return None
    parts = (Part(inner(part.shard, number, count), part.retry) for number in range(count))
    return Crew(tuple(parts), tuple(_devices(device, count)))


def inner(shard: Shard, number: int, count: int) -> Shard:
    """Share `number` of `count`, from 0, of a shard: a shard of a larger count."""
    return Shard(shard.number + shard.count * number, shard.count * count)


def device_here(device: str, spread: SpreadOptions, environment: Mapping[str, str]) -> str:
    """The GPU of this process among those that a launcher started on the machine."""
    if device != "cuda" or spread.shard is None:
        return device
    ranks = [environment[name] for name in _LOCAL_RANKS if name in environment]
    gpus = gpu_count()
    if not ranks or not ranks[0].isdecimal() or gpus < 2:
        return device
    return f"cuda:{int(ranks[0]) % gpus}"


def gpu_count() -> int:
    """How many GPUs this process sees."""
    import torch

    return torch.cuda.device_count()


def _count(spread: SpreadOptions, device: str) -> int:
    if spread.workers is None:
        all_gpus = device == "cuda" and spread.shard is None
        return max(1, gpu_count()) if all_gpus else 1
    if spread.workers != "auto":
        if ".." in spread.workers:
            raise UsageError(f"--workers {spread.workers}: of --engine ray", "a number, or auto")
        return int(spread.workers)
    gpus = 0 if device == "cpu" else gpu_count()
    return gpus or max(1, (os.cpu_count() or 1) // _CORES)


def _devices(device: str, count: int) -> list[str]:
    """A GPU each, in turns, where any will do."""
    gpus = gpu_count() if device in ("auto", "cuda") else 0
    return [f"cuda:{number % gpus}" if gpus else device for number in range(count)]
