"""The way of a stage of training: steps, checkpoints, looks; it goes on after a stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from dseinvert.media.atomic import write_bytes
from dseinvert.training.checkpoints import Stateful, dumps, load, restore, states
from dseinvert.training.record import Record
from dseinvert.training.team import Team


@dataclass(frozen=True)
class Pace:
    """For how long, and how often it is looked after."""

    images: int = 300_000
    """Real images shown in all."""
    batch: int = 16
    """Of each process."""
    seed: int = 0
    log_every: int = 25
    keep_every: int = 200
    watch_every: int = 400

    def steps(self, team: Team) -> int:
        """Steps in all."""
        return self.images // (self.batch * team.size)

    def kept(self, step: int, team: Team, half_life: int = 10_000) -> float:
        """The average's share of what it was: it forgets half in 10,000 images, sooner at first."""
        whole = self.batch * team.size
        return float(0.5 ** (whole / min(half_life, 0.05 * step * whole + 1)))


class Stage(Protocol):
    """What is trained."""

    step: int

    @property
    def parts(self) -> dict[str, Stateful]:
        """What is kept of it, by the names in a checkpoint."""

    def descend(self, images: Tensor, team: Team) -> dict[str, Tensor]:
        """One step of every network on [B, 3, R, R] in [-1, 1]; counts it; what there is to log."""

    def watch(self) -> tuple[dict[str, float], list[Tensor]]:
        """Figures and rows of pictures of how far it is; asked of the process that leads."""


def follow(
    stage: Stage,
    pace: Pace,
    real: Callable[[int], Iterator[Tensor]],
    file: Path,
    team: Team,
) -> None:
    """Train to the end, or go on from the checkpoint `file`; tables and pictures stand beside it.

    Args:
        real: step -> batches [B, 3, R, R] in [-1, 1] from that step on, of this process alone.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        content = load(file)
        restore(stage.parts, content)
        stage.step = int(content["step"])
    record = Record(file.parent, stage.step) if team.leads else None
    steps, began, first = pace.steps(team), time.monotonic(), stage.step
    for images in real(stage.step) if stage.step < steps else ():
        torch.manual_seed((pace.seed * 0x9E3779B1 + stage.step) * team.size + team.rank)
        figures = stage.descend(images, team)
        last = stage.step >= steps
        if record is not None:
            rate = (stage.step - first) * len(images) * team.size / (time.monotonic() - began)
            _tell(stage, pace, record, figures, rate)
            _keep(stage, pace, record, file, last=last)
        if last:
            break


def _set_aside(file: Path, stage: Stage) -> None:
    """A checkpoint that is not written over, to go back to; of these the last two stay."""
    content = dumps({**states(stage.parts), "step": stage.step})
    write_bytes(file.with_stem(f"{file.stem}-{stage.step:07d}"), content)
    for old in sorted(file.parent.glob(f"{file.stem}-*{file.suffix}"))[:-2]:
        old.unlink()


def _tell(
    stage: Stage, pace: Pace, record: Record, figures: dict[str, Tensor], rate: float
) -> None:
    if stage.step % pace.log_every == 0:
        told = {name: float(value.detach()) for name, value in figures.items()}
        record.add("losses", stage.step, {"images_s": rate, **told})


def _keep(stage: Stage, pace: Pace, record: Record, file: Path, *, last: bool) -> None:
    if last or stage.step % pace.keep_every == 0:
        write_bytes(file, dumps({**states(stage.parts), "step": stage.step}))
    if last or stage.step % pace.watch_every == 0:
        _set_aside(file, stage)
        found, rows = stage.watch()
        record.add("watch", stage.step, found)
        record.picture(stage.step, rows)
