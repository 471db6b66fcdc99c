"""Training the DSE encoder of a frozen generator of any family (DSE, Algorithm 1)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dseinvert.encoders.parts import computing
from dseinvert.errors import DeviceError, ExitCode
from dseinvert.models import Model
from dseinvert.progress import SILENT, Watcher
from dseinvert.stop import Stop, stoppable
from dseinvert.training.average import average, share_kept
from dseinvert.training.checkpoints import State
from dseinvert.training.desk import open_desk
from dseinvert.training.options import TrainOptions
from dseinvert.training.prepare import Run, prepare
from dseinvert.training.samples import Batch
from dseinvert.training.team import ALONE, Team


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    figures: dict[str, float]
    """Medians of the last held-out evaluation; empty = there was none."""
    stopped: ExitCode | None = None
    """What cut it short; None = nothing did."""


def train(
    gan: Model,
    options: TrainOptions,
    out: Path,
    watcher: Watcher = SILENT,
    *,
    ends: float = math.inf,
    team: Team = ALONE,
) -> Outcome:
    """Train an encoder for `gan` in folder `out`, or go on with the run that lies there.

    `out` is a model folder from the first checkpoint on. SIGINT or SIGTERM ends the run with a
    checkpoint after the step in hand; on a CPU a run that goes on ends with the very same weights.
    So does reaching `ends`, a value of time.monotonic(). The random numbers of the caller's torch
    stay where they are.

    Args:
        team: the processes that do this call together; the one that leads writes. Their number
            changes no sample of any step, and may be another when the run goes on.

    Raises:
        UsageError: options that do not fit the generator, or `out` holds another run.
        MissingError, InputError, OutputError, DeviceError.
        LeftError: another process has ended, or tells the error.
    """
    with random_numbers(gan.generator.device):
        return _train(gan, options, out, watcher, ends, team)


def _train(
    gan: Model, options: TrainOptions, out: Path, watcher: Watcher, ends: float, team: Team
) -> Outcome:
    run, state = prepare(gan, options, out, team)
    desk = open_desk(run, state, watcher)
    figures: dict[str, float] = {}
    with (
        stoppable(watcher.problem, "step") as stop,
        watcher.within("training", options.iterations) as told,
    ):
        told(state.step)
        steps = range(state.step, options.iterations)
        for _, batch in zip(steps, run.batches(state.step), strict=False):
            if state.step == 0:
                figures = desk.evaluated(state)
            last = state.step + 1 == options.iterations
            log = last or (state.step + 1) % options.log_every == 0
            terms = descend(run, state, batch, measure=log)
            if log:
                told(state.step, desk.logged(state, terms))
            if last or state.step % options.eval_every == 0:
                figures = desk.evaluated(state)
            if options.grid_every and (last or state.step % options.grid_every == 0):
                desk.draw(state)
            over = _over(stop, ends, team)
            if last or over or state.step % options.checkpoint_every == 0:
                desk.keep(state, terms)
            told(state.step)
            if over:
                break
    desk.renew(state)
    desk.close()
    return Outcome(state.step, figures, stop.code)


def _over(stop: Stop, ends: float, team: Team) -> bool:
    """Whether any process was asked to stop, or is out of time; they all do then."""
    if stop.agreed(team.most) is not None:
        return True
    return ends < math.inf and bool(team.most(time.monotonic() >= ends))


def descend(run: Run, state: State, batch: Iterable[Batch], *, measure: bool) -> dict[str, Tensor]:
    """One step of Algorithm 1; returns what the loss was made of.

    Args:
        batch: the pieces of it that are this process's.

    Raises:
        DeviceError: the GPU's memory does not hold a piece.
        LeftError: another process has ended.
    """
    state.optimiser.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    try:
        for piece in batch:
            for name, term in _learn(run, state, piece, measure=measure).items():
                sums[name] = sums[name] + term if name in sums else term
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"out of GPU memory at batch {run.batch}", "--accumulate 2, or a lower --batch"
        ) from error
    terms = run.team.add_up(state.encoder, sums)
    state.optimiser.step()
    state.step += 1
    average(state.smooth, state.encoder, share_kept(run.options.ema, state.step))
    return terms


def _learn(run: Run, state: State, piece: Batch, *, measure: bool) -> dict[str, Tensor]:
    """The gradients of a piece, added to those that are there; its share of the terms."""
    # The encoder's noise, like the samples, follows from the seed and the step alone.
    torch.manual_seed(run.options.seed * 0x9E3779B1 + state.step)
    progress = state.step / run.options.iterations
    with computing(piece.part):
        loss, terms = run.objective(state.learner, piece, progress, measure=measure)
    loss.backward()
    return {name: term.detach() for name, term in terms.items()}


def random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Inside, random numbers are the training's own; what the caller draws is not changed."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
