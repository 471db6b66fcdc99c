"""What a training run tells: CSV tables, TensorBoard where it is installed, and picture grids."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.generators.pixels import to_pixels
from dseinvert.media.atomic import open_in_place, write_bytes
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.names import read_regular


class Record:
    """Tables in a folder, one row a step; a run that goes on drops rows it will write again."""

    def __init__(self, folder: Path, step: int, wandb: str | None = None) -> None:
        """`wandb`: the project of Weights & Biases that hears of it too; None = none."""
        self.folder, self.step = folder, step
        self.board = _tensorboard(folder / "tensorboard", step)
        self.wandb = None if wandb is None else _wandb(folder, wandb)
        self.ready: set[str] = set()

    def add(self, table: str, step: int, figures: Mapping[str, float]) -> None:
        """Append a row to `table`.csv, and the same figures to TensorBoard."""
        file = self.folder / f"{table}.csv"
        if table not in self.ready:
            _start(file, ("step", *figures), self.step)
            self.ready.add(table)
        try:
            with os.fdopen(open_in_place(file), "a", newline="\n") as out:
                out.write(",".join([str(step), *(f"{v:.6g}" for v in figures.values())]) + "\n")
        except OSError as error:
            raise OutputError(f"{file}: cannot write: {error.strerror}") from error
        for name, value in figures.items() if self.board else ():
            self.board.add_scalar(f"{table}/{name}", value, step)
        if self.wandb:
            told = {f"{table}/{name}": value for name, value in figures.items()}
            self.wandb.log({"step": step, **told})

    def picture(self, step: int, rows: Sequence[Tensor]) -> None:
        """Write rows of images, each [N, 3, R, R] in [-1, 1], as grid-STEP.png."""
        write_bytes(self.folder / f"grid-{step:07d}.png", encode_png(grid(rows)))

    def close(self) -> None:
        """Flush TensorBoard, and Weights & Biases."""
        if self.board:
            self.board.close()
        if self.wandb:
            self.wandb.finish()


def grid(rows: Sequence[Tensor]) -> Pixels:
    """Rows of images [N, 3, R, R] in [-1, 1] -> one picture uint8 [rows R, N R, 3].

    N is that of the longest row; shorter ones end in black.
    """
    lines = [torch.cat(list(row.float().cpu()), dim=2) for row in rows]
    width = max(line.shape[2] for line in lines)
    padded = [F.pad(line, (0, width - line.shape[2]), value=-1) for line in lines]
    sheet = torch.cat(padded, dim=1)
    return to_pixels(sheet[None])[0]


def _start(file: Path, header: Sequence[str], step: int) -> None:
    """Keep the rows up to `step` of an earlier part of the run, under its header."""
    held = read_regular(file) if step and file.exists() else b""
    rows = held.decode(errors="replace").splitlines()[1:]
    whole = [row for row in rows if row.count(",") == len(header) - 1]
    lines = [",".join(header), *(row for row in whole if _step(row) <= step)]
    write_bytes(file, ("\n".join(lines) + "\n").encode())


def _step(row: str) -> float:
    """Infinity for a row that is not ours."""
    number = row.partition(",")[0]
    return int(number) if number.isdecimal() and len(number) < 16 else math.inf


def _wandb(folder: Path, project: str) -> Any:
    """A run of that project, the same one where this folder's run goes on.

    Raises:
        MissingError: the optional package wandb is not installed.
        UsageError: it takes no such project, or knows no account.
    """
    try:
        import wandb
    except ImportError as error:
        what = "--wandb needs the package wandb"
        raise MissingError(what, "pip install 'dseinvert[wandb]'") from error
    known = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    quiet = wandb.Settings(silent=True, console="off")
    try:
        run = wandb.init(
            project=project,
            dir=str(folder),
            name=folder.resolve().name,
            id=known,
            resume="allow",
            settings=quiet,
        )
        run.define_metric("*", step_metric="step")
    except (wandb.errors.Error, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--wandb {project}: {said}", "`wandb login`, or WANDB_MODE=offline"
        ) from error
    return run


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer, or None where the optional package tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    try:
        return SummaryWriter(str(folder), purge_step=step + 1)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror}") from error
