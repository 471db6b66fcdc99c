"""Mutations of good files, read: each is read, refused in a line, or has found a mistake."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

from dseinvert.errors import DseInvertError
from tests.fuzz.mutators import mutated
from tests.fuzz.readers import Reader, readers

Outcome = Literal["read", "refused", "RAW"]
CORPUS = Path(__file__).with_name("corpus")
SECONDS = 10
_MEMORY = 6 << 30


def outcome(reader: Reader, data: bytes, place: Path) -> tuple[Outcome, str]:
    """What comes of a file, and what is said of it; `place` is a folder for it."""
    path = place / reader.file
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        reader.read(path)
    except DseInvertError as error:
        told = str(error)
        is_line = told.isprintable() and len(told) < 2000 and "a bug" not in told
        return ("refused" if is_line else "RAW"), told
    except Exception as error:
        return "RAW", f"{_place(error)}: {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "read", ""


def replay(every: dict[str, Reader], place: Path) -> Iterator[tuple[str, Outcome, str]]:
    """The files that once found a mistake, named READER-K."""
    for file in sorted(CORPUS.glob("*.bin")):
        reader = every[file.stem.rpartition("-")[0]]
        yield (file.name, *outcome(reader, file.read_bytes(), place))


def fuzz(
    name: str, reader: Reader, first: int, count: int, place: Path
) -> tuple[Counter[str], list[tuple[int, str]]]:
    """How often what came of mutations `first` and on; those that found mistakes."""
    seen: Counter[str] = Counter()
    found = []
    for k in range(first, first + count):
        data = mutated(name, k, reader.seeds, reader.mutators)
        what, said = outcome(reader, data, place)
        seen[what] += 1
        if what == "RAW":
            found.append((k, said))
    return seen, found


def armed() -> None:
    """A read that takes too long is an error, and so is one that takes all memory."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)


def main() -> None:
    """`bin/fuzz COUNT [--first K] [READER ...]`: a table of readers, mutations and outcomes."""
    parser = argparse.ArgumentParser(prog="bin/fuzz", description=main.__doc__)
    usual = int(os.environ.get("DSEINVERT_FUZZ", "20000"))
    parser.add_argument("count", nargs="?", type=int, default=usual, help="mutations in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first of each reader")
    parser.add_argument("--only", nargs="*", default=[], help="readers")
    parser.add_argument("--keep", action="store_true", help="add what is found to the corpus")
    asked = parser.parse_args()
    armed()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        code = _table(asked, Path(name))
    sys.exit(code)


def _table(asked: argparse.Namespace, place: Path) -> int:
    every = readers(place)
    chosen = {n: r for n, r in every.items() if not asked.only or n in asked.only}
    print(f"{'reader':<16}{'mutations':>10}{'read':>9}{'refused':>9}{'RAW':>6}{'CPU ms each':>13}")
    total = 0
    for name, reader in chosen.items():
        began = time.process_time()
        seen, found = fuzz(name, reader, asked.first, asked.count // len(chosen), place)
        total += seen["RAW"]
        numbers = f"{seen['read']:>9}{seen['refused']:>9}{seen['RAW']:>6}"
        each = 1000 * (time.process_time() - began) / max(1, seen.total())
        print(f"{name:<16}{seen.total():>10}{numbers}{each:>13.2f}", flush=True)
        kinds: set[str] = set()
        for k, said in found:
            kind = " ".join(said.split()[:2])
            if kind not in kinds:
                kinds.add(kind)
                print(f"    {k}: {' '.join(said.split())[:300]!r}", flush=True)
                if asked.keep:
                    data = mutated(name, k, reader.seeds, reader.mutators)
                    (CORPUS / f"{name}-{k}.bin").write_bytes(data)
    return int(total > 0)


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = [f for f in traceback.extract_tb(error.__traceback__) if "dseinvert" in f.filename]
    place = own[-1] if own else last
    return f"{Path(place.filename).name}:{place.lineno}"


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


if __name__ == "__main__":
    main()
