"""The folder of a clip's unfinished work: locked, tidied, and gone when the work is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dseinvert.errors import OutputError
from dseinvert.media.atomic import make_folder, output_error, restore_folder, shown, write_bytes
from dseinvert.media.lock import locked
from dseinvert.names import file_name, json_value, read_regular, table, text
from dseinvert.run.video.plan import Output, Task

_INTENT, _SOURCE = "outputs.json", "source.txt"
_ASIDE = ".old"


@contextmanager
def working(task: Task) -> Iterator[None]:
    """The folder for unfinished work, locked; gone when the work is done."""
    if task.kept.is_symlink():
        raise OutputError(f"{shown(task.kept)}: is a link", "remove it")
    made = [f for f in (task.folder, *task.folder.parents) if not f.exists()]
    _take_over(task)
    with _locked(task.kept):
        try:
            write_bytes(task.kept / _SOURCE, task.sha256.encode())
            _restore(task)
            _drop_other_work(task)
            yield
            shutil.rmtree(task.kept, ignore_errors=True)
        finally:
            _forget_source(task)
            for folder in (task.kept, *made):  # where nothing was written, nothing stays
                with suppress(OSError):
                    folder.rmdir()


def aside(task: Task, output: Output) -> Path:
    """Where an output lies while another one takes its place."""
    return task.kept / f"{output.path.name}{_ASIDE}"


def intend(task: Task, outputs: Sequence[Output]) -> None:
    """Note what is going to be written and how, and what lies under those names now."""
    notes = {
        one.path.name: {"key": one.key, "settings": one.settings, "before": identity(one.path)}
        for one in outputs
    }
    write_bytes(task.kept / _INTENT, json.dumps(notes).encode())


def intended(task: Task) -> dict[str, dict[str, Any]]:
    """What `intend` noted in this run or in one that was killed, by file name."""
    try:
        notes = json_value(read_regular(task.kept / _INTENT))
        return table(notes, file_name, lambda note: table(note, text, lambda value: value))
    except (OSError, ValueError):
        return {}


def identity(path: Path) -> list[int] | None:
    """What changes when a file is replaced; None = there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return [about.st_ino, about.st_size, about.st_mtime_ns]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder made and locked; only who holds the lock may remove anything."""
    make_folder(folder)
    with locked(folder) as alone:
        if not alone:
            raise OutputError(f"{shown(folder)}: another run is working here", "wait for it")
        yield


def _take_over(task: Task) -> None:
    """What a killed run left of the same bytes under another name goes on under this one."""
    for folder in task.folder.glob(".*.dse-work") if not task.kept.exists() else ():
        with suppress(OSError, UnicodeDecodeError), locked(folder) as alone:
            if alone and read_regular(folder / _SOURCE).decode("ascii") == task.sha256:
                folder.rename(task.kept)
                return


def _forget_source(task: Task) -> None:
    """Where nothing else is left of a run, so that the folder can go."""
    with suppress(OSError):
        if [path.name for path in task.kept.iterdir()] == [_SOURCE]:
            (task.kept / _SOURCE).unlink()


def _restore(task: Task) -> None:
    """Outputs that a killed run had laid aside are back, whatever this run is going to make."""
    for path in task.kept.glob(f"*{_ASIDE}"):
        output = task.folder / path.name.removesuffix(_ASIDE)
        try:
            restore_folder(output, path)
        except OSError as error:
            raise output_error(output, error) from error


def _drop_other_work(task: Task) -> None:
    """Remove what was left by runs with other settings."""
    ours = (f"tracks-{task.tracks_key}", f"latents-{task.latents_key}", _INTENT, _SOURCE)
    begun = tuple(output.begun for output in task.outputs)
    for path in task.kept.iterdir():
        ours_too = path.name.startswith(ours) or path.name.endswith(begun)
        if ours_too and not path.is_symlink():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
