"""Training a DSE encoder for a frozen generator (DSE, Algorithm 1)."""

from __future__ import annotations

import copy
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEConfig, DSEEncoder, published_config
from dseinvert.errors import DeviceError, DseInvertError, ExitCode, OutputError, UsageError
from dseinvert.media.atomic import write_bytes
from dseinvert.models import Model, save_model
from dseinvert.similarity.metrics import PROTOCOL
from dseinvert.similarity.perceptual import open_distance
from dseinvert.stop import stoppable
from dseinvert.training.checkpoints import State, resume, save_checkpoint
from dseinvert.training.evaluation import evaluate, pictures
from dseinvert.training.objective import Objective
from dseinvert.training.optimiser import build_optimiser
from dseinvert.training.options import TrainOptions
from dseinvert.training.pictures import Variations
from dseinvert.training.record import Record
from dseinvert.training.samples import Batch, Source, batches, real_pictures


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    figures: dict[str, float]
    """Medians of the last held-out evaluation; empty = there was none."""
    stopped: ExitCode | None = None
    """What cut it short; None = nothing did."""


@dataclass(frozen=True)
class Run:
    """What stays the same from the first step to the last."""

    gan: Model
    options: TrainOptions
    out: Path
    source: Source
    objective: Objective
    real: Variations | None

    @property
    def batch(self) -> int:
        """Images a step."""
        return self.options.batch_at(self.gan.generator.resolution)

    def batches(self, step: int) -> Iterator[Batch]:
        """Training batches from `step` on."""
        synthetic = self.batch - self.options.real_at(self.gan.generator.resolution)
        return batches(self.source, self.options.seed, synthetic, self.real, step)


def train(
    gan: Model, options: TrainOptions, out: Path, *, quiet: bool = False, ends: float = math.inf
) -> Outcome:
    """Train an encoder for `gan` in folder `out`, or go on with the run that lies there.

    `out` is a model folder from the first checkpoint on. SIGINT or SIGTERM ends the run with a
    checkpoint after the step in hand; on a CPU a run that goes on ends with the very same weights.
    So does reaching `ends`, a value of time.monotonic().

    Raises:
        UsageError: options that do not fit the generator, or `out` holds another run.
        MissingError, InputError, OutputError, DeviceError.
    """
    run, state = prepare(gan, options, out)
    record = Record(out, state.step)
    figures: dict[str, float] = {}
    with stoppable() as stop, _progress(quiet) as bar:
        task = bar.add_task("training", total=options.iterations, completed=state.step, note="")
        steps = range(state.step, options.iterations)
        for _, batch in zip(steps, run.batches(state.step), strict=False):
            if state.step == 0:
                figures = _evaluate(run, state, record, bar)
            last = state.step + 1 == options.iterations
            log = last or (state.step + 1) % options.log_every == 0
            terms = descend(run, state, batch, measure=log)
            if log:
                record.add("training", state.step, finite(terms, state.step))
                bar.update(task, note=f"loss {float(terms['loss']):.4g}")
            if last or state.step % options.eval_every == 0:
                figures = _evaluate(run, state, record, bar)
            if options.grid_every and (last or state.step % options.grid_every == 0):
                record.picture(state.step, pictures(run.source, state.smooth, run.real))
            over = stop.code is not None or time.monotonic() >= ends
            if last or over or state.step % options.checkpoint_every == 0:
                finite(terms, state.step)
                save(run, state)
            bar.update(task, completed=state.step)
            if over:
                break
    record.close()
    return Outcome(state.step, figures, stop.code)


def prepare(gan: Model, options: TrainOptions, out: Path) -> tuple[Run, State]:
    """Refuse what can be refused, then build, or read, all that training needs.

    Nothing is written before everything else has gone well.
    """
    generator = gan.generator
    assert isinstance(generator, nn.Module)
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = encoder_config(gan, options)
    real_batch = options.real_at(generator.resolution)
    if out.resolve() == gan.folder.resolve():
        raise UsageError(f"--out {out} is the model given as --gan", "choose another folder")
    state = new_state(config, gan, options)
    resume(out, state, identity(gan, options))
    distance = open_distance(options.perceptual, generator.device)
    objective = Objective(generator, options, distance, bfloat16(options, generator.device))
    real = None
    if options.real is not None:
        real = real_pictures(options.real, generator.resolution, real_batch, options.seed)
    source = Source(generator, options.psi, options.cutoff)
    _make_folder(out)
    settings = options.asdict() | {"gan": str(gan.folder), "metrics": PROTOCOL}
    write_bytes(out / "training.json", (json.dumps(settings, indent=2) + "\n").encode())
    return Run(gan, options, out, source, objective, real), state


def encoder_config(gan: Model, options: TrainOptions) -> DSEConfig:
    """The encoder that mirrors a generator.

    Raises:
        UsageError: widths that do not fit its resolution.
    """
    spec, resolution = gan.generator.spec, gan.generator.resolution
    widths = options.widths or published_config(resolution).widths
    try:
        return DSEConfig(resolution, spec.layers, spec.dim, widths, options.head)
    except ValueError as error:
        raise UsageError(f"--widths {','.join(map(str, widths))}: {error}") from error


def new_state(config: DSEConfig, gan: Model, options: TrainOptions) -> State:
    """An untrained encoder on the generator's device."""
    torch.manual_seed(options.seed)
    encoder = DSEEncoder(config, gan.generator.mean_latent().code[0, 0].cpu())
    encoder.to(gan.generator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    smooth = copy.deepcopy(encoder).requires_grad_(False)
    return State(encoder, smooth, build_optimiser(encoder, options.lr))


def descend(run: Run, state: State, batch: Batch, *, measure: bool) -> dict[str, Tensor]:
    """One step of Algorithm 1; returns what the loss was made of.

    Raises:
        DeviceError: the GPU's memory does not hold the batch.
    """
    # The encoder's noise, like the samples, follows from the seed and the step alone.
    torch.manual_seed(run.options.seed * 0x9E3779B1 + state.step)
    state.optimiser.zero_grad(set_to_none=True)
    try:
        loss, terms = run.objective(state.encoder.train(), batch, measure=measure)
        loss.backward()
    except torch.OutOfMemoryError as error:
        raise DeviceError(f"out of GPU memory at batch {run.batch}", "lower --batch") from error
    state.optimiser.step()
    state.step += 1
    # A young average leans on its newest weights.
    keep = min(run.options.ema, state.step / (state.step + 9))
    _average(state.smooth, state.encoder, keep)
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
        state.smooth,
        run.gan.directions,
        name=re.sub(r"[^\w.-]+|^\W+", "-", run.out.resolve().name, flags=re.ASCII).strip("-._")
        or "trained",
        description=f"DSE encoder for {run.gan.name}, strategy {run.options.strategy}, "
        f"step {state.step}",
        licence=run.gan.card.get("licence", ""),
        alignment=run.gan.alignment,
    )
    # The generator byte for byte: directions and latents know it by its hash.
    weights = "generator.safetensors"
    write_bytes(run.out / weights, (run.gan.folder / weights).read_bytes())


def identity(gan: Model, options: TrainOptions) -> dict[str, Any]:
    """What a run that goes on must have in common with its beginning."""
    batch = options.batch_at(gan.generator.resolution)
    return options.asdict() | {"batch": batch, "generator": gan.sha256}


def bfloat16(options: TrainOptions, device: torch.device) -> bool:
    """Whether the networks run in bfloat16, whose range needs no loss scaling."""
    if options.precision != "auto":
        return options.precision == "bfloat16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@torch.no_grad()
def _average(smooth: DSEEncoder, encoder: DSEEncoder, keep: float) -> None:
    for kept, new in zip(smooth.parameters(), encoder.parameters(), strict=True):
        kept.lerp_(new, 1 - keep)


def _evaluate(run: Run, state: State, record: Record, bar: Progress) -> dict[str, float]:
    figures = evaluate(run.source, state.smooth, run.options.eval_samples, run.batch)
    record.add("evaluation", state.step, figures)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    bar.console.print(f"step {state.step}: held-out median {shown}", highlight=False)
    return figures


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot make this folder: {error.strerror}") from error


def _progress(quiet: bool) -> Progress:
    console = Console(stderr=True, quiet=quiet)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
