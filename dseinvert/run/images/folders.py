"""`--keep-folders`: a run for each folder below the inputs, into a folder of the same name.

Each has a journal and a page of its own, so that names are told apart by folders, and a second run
knows what is done in each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dseinvert.config import ImagesOptions
from dseinvert.errors import ExitCode, NoInputError
from dseinvert.media.scan import Scan
from dseinvert.names import counted
from dseinvert.progress import Watcher
from dseinvert.run.images.job import ImagesJob
from dseinvert.run.images.journal import read_all
from dseinvert.run.images.kept import check_kept
from dseinvert.run.images.outcome import Outcome
from dseinvert.run.images.plan import named_items
from dseinvert.run.images.run import open_run, run_part
from dseinvert.run.spread.shard import ALL, Part


@dataclass(frozen=True)
class Folders:
    """What came of each folder."""

    out: Path
    parts: tuple[Outcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        codes = [part.exit_code for part in self.parts]
        stopped = [part.stopped for part in self.parts if part.stopped is not None]
        if stopped:
            return stopped[0]
        return codes[0] if len({*codes}) == 1 else ExitCode.SOME_FAILED

    def summary(self) -> str:
        """One line for people."""
        faces = sum(len(entry.faces) for part in self.parts for entry in part.entries)
        done = sum(entry.status == "done" for part in self.parts for entry in part.entries)
        failed = sum(len(part.undone) for part in self.parts)
        where = f"{counted(done, 'image')} in {counted(len(self.parts), 'folder')}"
        told = [f"{counted(faces, 'face')} from {where}"]
        return ", ".join(told + [f"{failed} not done"] * bool(failed))

    def preview(self) -> list[str]:
        """What a dry run says: a line for each input, under the name of its folder."""
        return [line for part in self.parts for line in (f"{part.out}:", *part.preview())]

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        folders = [part.asdict() for part in self.parts]
        return {"out": str(self.out), "exit_code": int(self.exit_code), "folders": folders}


def run_folders(
    patterns: Sequence[str], options: ImagesOptions, watcher: Watcher, part: Part = ALL
) -> Folders:
    """`run_images`, with the folders below the inputs kept below --out.

    Raises:
        DseInvertError: what stops a whole run; what stops one input only is in the outcome.
    """
    parts: list[Outcome] = []
    with open_run(patterns, options, watcher) as (job, found):
        folders = _by_folder(patterns, found, options.out)
        if not options.overwrite:
            for folder, own in folders.items():
                _check_kept(job, options.out / folder, own, part)
        for folder, own in folders.items():
            here = replace(job, options=replace(options, out=options.out / folder))
            with suppress(NoInputError):  # a folder of nothing but our own pictures
                parts.append(run_part(here, own, watcher, part))
            if parts and parts[-1].stopped is not None:
                break
    if not parts:
        raise NoInputError("all images found are outputs of this program", "name other inputs")
    return Folders(options.out, tuple(parts))


def _check_kept(job: ImagesJob, out: Path, found: Scan, part: Part) -> None:
    """Before anything is done in any of them; see `check_kept`."""
    known = {} if part.retry else read_all(out)
    items = named_items(found, out, known, job.settings).items
    check_kept(out, (item for item in items if part.shard.has(item.name)), known, job.settings)


def _by_folder(patterns: Sequence[str], found: Scan, out: Path) -> dict[Path, Scan]:
    """The files by the folder that they have below an input; problems are told of the first."""
    bases = [*_bases(patterns)]
    groups: dict[Path, list[Path]] = {}
    for file in found.files:
        folder = _below(file, bases)
        ours = (
            any(file.parent.glob("journal*.jsonl"))
            and file.parent.resolve() != (out / folder).resolve()
        )
        if not ours:
            groups.setdefault(folder, []).append(file)
    held = found.contents
    scans = {folder: Scan(tuple(files), (), contents=held) for folder, files in groups.items()}
    for first in list(scans)[:1]:
        scans[first] = replace(scans[first], problems=found.problems)
    return scans


def _bases(patterns: Sequence[str]) -> Iterator[Path]:
    """The folders that inputs are below: those named, and what stands before a star."""
    for pattern in patterns:
        path = Path(pattern)
        if path.exists():
            yield path if path.is_dir() else path.parent
            continue
        parts = path.parts
        star = next((k for k, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts))
        yield Path(*parts[:star])


def _below(file: Path, bases: Sequence[Path]) -> Path:
    base = next((base for base in bases if file.is_relative_to(base)), file.parent)
    return file.relative_to(base).parent
