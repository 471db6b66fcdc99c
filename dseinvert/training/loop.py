"""Training the DSE encoder of a frozen generator of any family (DSE, Algorithm 1)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dseinvert.cards import CARD, DIRECTIONS
from dseinvert.editing.directions import Direction, load_directions
from dseinvert.encoders.parts import computing
from dseinvert.errors import DeviceError, DseInvertError, ExitCode
from dseinvert.models import Model, save_model
from dseinvert.progress import SILENT, Watcher
from dseinvert.stop import Stop, stoppable
from dseinvert.training.average import average, share_kept
from dseinvert.training.checkpoints import State, save_checkpoint
from dseinvert.training.evaluation import evaluate, pictures
from dseinvert.training.options import TrainOptions
from dseinvert.training.prepare import Run, identity, prepare
from dseinvert.training.record import Record
from dseinvert.training.samples import Batch
from dseinvert.training.team import ALONE, Team

TITLES = {
    "dse": "DSE",
    "dse-feature": "DSE feature",
    "feature-style": "Feature-Style",
    "psp": "pSp",
    "e4e": "e4e",
    "restyle": "ReStyle",
}


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
    desk = _Desk(run, watcher, _record(run, state))
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


def _record(run: Run, state: State) -> Record | None:
    return Record(run.out, state.step, run.options.wandb) if run.team.leads else None


def _over(stop: Stop, ends: float, team: Team) -> bool:
    """Whether any process was asked to stop, or is out of time; they all do then."""
    asked = stop.agreed(team.most)
    return asked is not None or bool(team.most(time.monotonic() >= ends))


@dataclass(frozen=True)
class _Desk:
    """What is told and kept of a run, by the process that leads."""

    run: Run
    watcher: Watcher
    record: Record | None
    """None = another process leads."""

    def logged(self, state: State, terms: Mapping[str, Tensor]) -> str:
        """A row of losses; a few words about it."""
        if self.record is None:
            return ""
        figures = finite(terms, state.step)
        self.record.add("training", state.step, figures)
        return f"loss {figures['loss']:.4g}"

    def evaluated(self, state: State) -> dict[str, float]:
        """The figures of held-out samples; none where another process leads."""
        if self.record is None:
            return {}
        run = self.run
        figures = evaluate(run.source, state.result, run.options.eval_samples, run.batch)
        self.record.add("evaluation", state.step, figures)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.watcher.note(f"step {state.step}: held-out median {shown}")
        return figures

    def draw(self, state: State) -> None:
        """A picture grid."""
        if self.record is not None:
            rows = pictures(self.run.source, state.result, self.run.real)
            self.record.picture(state.step, rows)

    def keep(self, state: State, terms: Mapping[str, Tensor]) -> None:
        """A checkpoint and a model."""
        if self.record is not None:
            finite(terms, state.step)
            save(self.run, state)

    def renew(self, state: State) -> None:
        """Give a run that has ended the directions that its GAN was given since."""
        out = self.run.out
        if self.record is None or not (out / CARD).is_file():
            return
        if _held(out).keys() != directions_of(self.run).keys():
            save(self.run, state)

    def close(self) -> None:
        """Nothing more comes."""
        if self.record is not None:
            self.record.close()


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


def finite(terms: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """The terms as numbers; a run that has diverged ends here and keeps its last checkpoint."""
    figures = {name: float(term) for name, term in terms.items()}
    if not math.isfinite(figures["loss"]):
        raise DseInvertError(f"step {step}: the loss is {figures['loss']}", "lower --lr")
    return figures


def save(run: Run, state: State) -> None:
    """Write the checkpoint, and the averaged encoder with its generator as a model folder."""
    save_checkpoint(run.out, state, identity(run.gan, run.options))
    save_model(
        run.out,
        run.gan.generator,
        state.result,
        directions_of(run),
        name=model_name(run.out),
        description=f"{TITLES[run.options.method]} encoder for {run.gan.name}, "
        f"strategy {run.options.strategy}, step {state.step}",
        licence=run.gan.card.get("licence", ""),
        alignment=run.gan.alignment,
        # Byte for byte: directions and latents know the generator by its hash.
        keep_generator=run.gan.folder / "generator.safetensors",
        more={key: run.gan.card[key] for key in ("source", "notes") if key in run.gan.card},
    )


def directions_of(run: Run) -> dict[str, Direction]:
    """Those that the GAN has by now, and what was learned on the run itself besides."""
    found = _held(run.out) | run.gan.directions | _held(run.gan.folder)
    return {name: one for name, one in found.items() if one.generator in ("", run.gan.sha256)}


def _held(folder: Path) -> dict[str, Direction]:
    file = folder / DIRECTIONS
    return load_directions(file) if file.is_file() else {}


def model_name(out: Path) -> str:
    """The name of the model in a folder, made from the folder's."""
    plain = re.sub(r"[^\w.-]+|^\W+", "-", out.resolve().name, flags=re.ASCII).strip("-._")
    return plain or "trained"


def random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Inside, random numbers are the training's own; what the caller draws is not changed."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
