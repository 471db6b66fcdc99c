"""The share of a run that one process does: which items are its own, and where it keeps its books.

An item belongs to a shard by a hash of its name, so that neither its place in the listing nor what
other processes do decides; the name is that of its outputs, computed from the whole listing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dseinvert.errors import UsageError
from dseinvert.run.flow.names import folded

_WANTED = "K/N, such as 2/8, or auto"
_MOST = 100_000


@dataclass(frozen=True)
class Shard:
    """Number `number` of `count`, from 1; one of one is the whole run."""

    number: int = 1
    count: int = 1
    hand: int | None = None
    """The number of a worker that is handed its items one by one. None = it has a share."""

    @property
    def whole(self) -> bool:
        """Whether it is a run by itself, which also makes page and tables."""
        return self.count == 1 and self.hand is None

    @property
    def journal(self) -> str:
        """The name of its journal."""
        return f"journal{self._mark}.jsonl"

    @property
    def mark(self) -> str:
        """What its temporary files have in their names; no two processes share one."""
        return "" if self.whole else f"{self._mark[1:]}-{os.getpid():x}-{os.urandom(3).hex()}"

    @property
    def prefix(self) -> str:
        """What the names of its shards of outputs begin with."""
        return f"{self._mark[1:]}-" if self._mark else ""

    @property
    def _mark(self) -> str:
        if self.hand is not None:
            return f"-worker-{self.hand}"
        return "" if self.whole else f"-{self.number}-of-{self.count}"

    def has(self, name: str) -> bool:
        """Whether an item is its own, by the name of its outputs."""
        digest = hashlib.sha256(folded(name).encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


WHOLE = Shard()


@dataclass(frozen=True)
class Part:
    """What of a run a process does."""

    shard: Shard = WHOLE
    retry: bool = False
    """Only what failed before, item by item."""


ALL = Part()


def parse_shard(text: str | None, environment: Mapping[str, str] | None = None) -> Shard:
    """`2/8`, or `auto` from what a scheduler set; None = the whole.

    `environment` None = that of the process.

    Raises:
        UsageError: no shard, or `auto` where no scheduler says anything.
    """
    if text is None:
        return WHOLE
    if text == "auto":
        return _scheduled(os.environ if environment is None else environment)
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= _MOST:
        raise UsageError(f"--shard {text!r}", _WANTED)
    return Shard(int(found[1]), int(found[2]))


def _scheduled(environment: Mapping[str, str]) -> Shard:
    """Tasks of an array, and ranks within each of them."""
    try:
        places = [*_places(environment)]
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"--shard auto: the scheduler's variables make no sense: {error.args[0]}", _WANTED
        ) from None
    if not places:
        raise UsageError(
            "--shard auto: no SLURM_ARRAY_TASK_ID, RANK or JOB_COMPLETION_INDEX is set", _WANTED
        )
    number, count = 0, 1
    for index, size in places:
        if not 0 <= index < size:
            raise UsageError(f"--shard auto: index {index} of {size}", _WANTED)
        number, count = number * size + index, count * size
    if count > _MOST:
        raise UsageError(f"--shard auto: {count:,} shares, of at most {_MOST:,}", _WANTED)
    return Shard(number + 1, count)


def _places(environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Index from 0 and count, of each scheduler that says something."""

    def number(name: str, default: str | None = None) -> int:
        if name not in environment and default is None:
            raise KeyError(f"{name} is not set")
        text = environment.get(name, default or "")
        if not re.fullmatch(r"-?[0-9]{1,18}", text.strip()):
            raise ValueError(f"{name} is {text!r}")
        return int(text)

    if "SLURM_ARRAY_TASK_ID" in environment:
        first, step = number("SLURM_ARRAY_TASK_MIN", "0"), number("SLURM_ARRAY_TASK_STEP", "1")
        size = number("SLURM_ARRAY_TASK_COUNT")
        regular = first + (size - 1) * step
        last = number("SLURM_ARRAY_TASK_MAX", str(regular))
        _check_array(first, last, gaps=not regular <= last < regular + step)
        index, between = divmod(number("SLURM_ARRAY_TASK_ID") - first, step)
        if between:
            raise ValueError(f"SLURM_ARRAY_TASK_ID is between steps of {step} from {first}")
        yield index, size
    if "JOB_COMPLETION_INDEX" in environment:
        yield number("JOB_COMPLETION_INDEX"), number("JOB_COMPLETIONS")
    if "RANK" in environment:
        yield number("RANK"), number("WORLD_SIZE")


def _check_array(first: int, last: int, *, gaps: bool) -> None:
    """UsageError for an array that may be some tasks of another one, submitted again.

    Slurm tells a task of its own array only: of `--array=3`, that it is alone. What begins at 0 or
    1 and has no gap is taken for whole; of a lone task, what begins at 0.
    """
    if gaps:
        what = f"the array from {first} to {last} has gaps"
    elif first not in (0, 1):
        what = f"the array begins at {first}, not at 0 or 1"
    elif first == last == 1:
        what = "the array is task 1 alone"
    else:
        return
    raise UsageError(
        f"--shard auto: {what}: whose shares these are, Slurm does not tell",
        "submit all of it again, which goes on, or name the share of the task: --shard K/N",
    )
