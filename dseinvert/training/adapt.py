"""An encoder adapted to real images of one kind: "Improving GAN inversion via fine-tuning GAN
encoders", Equations 2 to 6, for a folder at once.

It learns from varied real pictures, of which the image loss is known, and from a share of the
generator's samples, of which the latent is known too: those are its w and E(G(w)).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.parts import share_norms
from dseinvert.errors import ExitCode, MissingError, NoInputError, UsageError
from dseinvert.generators.pixels import to_tensor
from dseinvert.inversion.tune_encoder import FINE_TUNING
from dseinvert.media.atomic import write_bytes
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, save_model
from dseinvert.progress import SILENT, Count, Watcher
from dseinvert.similarity.attention import centre_crops
from dseinvert.similarity.losses import image_loss
from dseinvert.similarity.metrics import PROTOCOL, image_metrics
from dseinvert.similarity.perceptual import open_distance, trunk_file
from dseinvert.similarity.weights import Perceptual
from dseinvert.stop import Stop, stoppable
from dseinvert.training.checkpoints import State, resume, save_checkpoint, share
from dseinvert.training.desk import finite, model_name
from dseinvert.training.loop import descend, random_numbers
from dseinvert.training.mirror import Mirror, build
from dseinvert.training.objective import Objective
from dseinvert.training.optimiser import build_optimiser
from dseinvert.training.options import FinetuneOptions, TrainOptions
from dseinvert.training.pictures import Variations
from dseinvert.training.prepare import Run, bfloat16, check_parts, make_folder, truncation
from dseinvert.training.record import Record
from dseinvert.training.samples import Source
from dseinvert.training.team import ALONE, Team

WARM_UP = 25
"""Steps in which the learning rate rises: Adam's first steps are blind."""
LEAST = 8
"""Faces that there must be."""
FIGURES = ("loss", "psnr", "ssim")
CARD, SETTINGS = "model.json", "training.json"


@dataclass(frozen=True)
class Adapted:
    """What became of an encoder: mean loss and medians over the held-out pictures."""

    step: int
    """Where the run ended."""
    best: int
    """The step whose weights were kept; 0 = the model's own."""
    learned: int
    """Pictures learned from, and held out."""
    held_out: int
    before: dict[str, float]
    after: dict[str, float]
    stopped: ExitCode | None = None
    """What cut it short; None = nothing did."""


@dataclass(frozen=True)
class _Adaptation:
    """What stays the same during a run."""

    run: Run
    options: FinetuneOptions
    held: Tensor
    """[N, 3, R, R] in [-1, 1]."""
    learned: int
    identity: dict[str, Any]
    record: Record | None
    """None = another process leads."""
    rates: list[float]
    """The learning rate of each group of weights."""


def picture_side(resolution: int) -> int:
    """The side at which pictures are kept: with a margin that keeps small ones sharp when moved."""
    return resolution * 3 // 2 if resolution <= 128 else resolution


def adapt(
    model: Model,
    files: Sequence[Sequence[Pixels]],
    options: FinetuneOptions,
    out: Path,
    watcher: Watcher = SILENT,
    team: Team = ALONE,
) -> Adapted:
    """Adapt the encoder of `model` in folder `out`, or go on with the run that lies there.

    `out` is a model folder from the beginning, and always holds the best encoder so far. SIGINT
    or SIGTERM ends the run with a checkpoint; on a CPU a run that goes on ends with the very
    same weights.

    Args:
        files: the faces of each file, uint8 [S, S, 3] with S = `picture_side`; those of one file
            are learned from or held out together.
        team: as in `loop.train`.

    Raises:
        UsageError: the model cannot be adapted, or `out` holds something else.
        NoInputError: too few faces. MissingError, OutputError, DeviceError.
    """
    check(model, out)
    learned, held = split(files, options)
    state = _state(model, options, team)
    run = _run(model, learned, options, out, team)
    identity = _identity(model, files, options, run)
    rates = [group["lr"] for group in state.optimiser.param_groups]
    record = team.agreed(lambda: _begun(out, state, identity) if team.leads else None)
    share(state, identity, team)
    images = _small(held, model.generator.resolution).to(model.generator.device)
    task = _Adaptation(run, options, images, len(learned), identity, record, rates)
    with stoppable(watcher.problem, "step") as stop, random_numbers(model.generator.device):
        _follow(task, state, stop, watcher)
    if record is not None:
        record.close()
    return _outcome(task, state, stop.code)


def _begun(out: Path, state: State, identity: dict[str, Any]) -> Record:
    """The folder of the run, and `state` as it was left there."""
    resume(out, state, identity, before={"rotate": "auto"})
    make_folder(out)
    write_bytes(out / SETTINGS, (json.dumps(identity, indent=2) + "\n").encode())
    return Record(out, state.step)


def check(model: Model, out: Path) -> None:
    """Refuse what can be refused before pictures are read.

    Raises:
        MissingError: the model has no encoder.
        UsageError: it needs classes, or `out` holds something else.
    """
    spec = model.generator.spec
    model.require_encoder()
    if spec.classes and spec.space not in ("w", "w+"):
        raise UsageError(f"model {model.name} needs to know the class of each image", "use train")
    if out.resolve() == model.folder.resolve():
        raise UsageError(f"--out {out} is the model that is adapted", "choose another folder")
    if (out / CARD).exists() and not (out / SETTINGS).exists():
        raise UsageError(f"--out {out} holds another model", "choose another folder")


def split(
    files: Sequence[Sequence[Pixels]], options: FinetuneOptions
) -> tuple[list[Pixels], list[Pixels]]:
    """The faces to learn from, and those held out, file by file.

    Raises:
        NoInputError: fewer than LEAST faces, or all in one file.
    """
    full = [faces for faces in files if len(faces)]
    count = sum(map(len, full))
    if count < LEAST or len(full) < 2:
        raise NoInputError(
            f"{count} faces in {len(full)} files: too few to learn from",
            f"give {LEAST} or more, in several files",
        )
    order = np.random.default_rng(options.seed).permutation(len(full))
    out = {*order[: min(len(full) - 1, max(1, round(len(full) * options.held_out)))].tolist()}
    learned = [face for index, faces in enumerate(full) if index not in out for face in faces]
    return learned, [face for index in sorted(out) for face in full[index]]


def _follow(task: _Adaptation, state: State, stop: Stop, watcher: Watcher) -> None:
    """The steps that are left, with an evaluation and a checkpoint every few."""
    if state.step == 0:
        state.best = {}
        _judge(task, state, watcher)
    with watcher.within("adapting", task.options.iterations) as told:
        told(state.step)
        _descend(task, state, stop, watcher, told)


def _descend(task: _Adaptation, state: State, stop: Stop, watcher: Watcher, told: Count) -> None:
    options, asked = task.options, stop.code if task.run.team.size == 1 else None
    batches = task.run.batches(state.step)
    while state.step < options.iterations and not _over(task, state) and asked is None:
        for group, rate in zip(state.optimiser.param_groups, task.rates, strict=True):
            group["lr"] = rate * min(1.0, (state.step + 1) / WARM_UP)
        terms = descend(task.run, state, next(batches), measure=False)
        asked = stop.agreed(task.run.team.most)
        if state.step % options.eval_every == 0 or state.step == options.iterations:
            if task.record is not None:
                task.record.add("training", state.step, finite(terms, state.step))
            _judge(task, state, watcher)
        elif asked is not None and task.record is not None:
            finite(terms, state.step)
            _checkpoint(task, state)
        told(state.step, f"best at {state.best['step']:.0f}")


def _over(task: _Adaptation, state: State) -> bool:
    return state.best["stale"] >= task.options.patience


def _judge(task: _Adaptation, state: State, watcher: Watcher) -> None:
    """Measure the averaged encoder; where it is the best so far, it becomes the model in `out`."""
    if task.record is not None:
        _judged(task, state, task.record, watcher)
    state.best = task.run.team.given(lambda: state.best)


def _judged(task: _Adaptation, state: State, record: Record, watcher: Watcher) -> None:
    figures = _measured(task, state)
    record.add("evaluation", state.step, figures)
    said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    watcher.note(f"step {state.step}: held-out {said}")
    if not state.best:
        state.best = {f"before_{name}": value for name, value in figures.items()}
    if figures["loss"] < state.best.get("loss", float("inf")):
        state.best |= {**figures, "step": state.step, "stale": 0}
        _save(task, state)
    else:
        state.best["stale"] += 1
    _checkpoint(task, state)


@torch.no_grad()
def _measured(task: _Adaptation, state: State) -> dict[str, float]:
    """Mean loss, and medians of the metrics, over the held-out pictures."""
    objective, generator = task.run.objective, task.run.gan.generator
    weights, columns = objective.options.weights, []
    for images in task.held.split(task.run.batch):
        drawn = generator.synthesize(state.result.encode(images)).float()
        loss, _ = image_loss(images, drawn, weights, objective.scales, objective.distance)
        metrics = image_metrics(images, drawn.clamp(-1, 1))
        columns.append(torch.stack([loss, metrics["psnr"], metrics["ssim"]]))
    loss, psnr, ssim = torch.cat(columns, dim=1)
    return {"loss": float(loss.mean()), "psnr": float(psnr.median()), "ssim": float(ssim.median())}


def _checkpoint(task: _Adaptation, state: State) -> None:
    save_checkpoint(task.run.out, state, task.identity)


def _save(task: _Adaptation, state: State) -> None:
    """The averaged encoder with its generator as a model folder."""
    gan, out = task.run.gan, task.run.out
    done = asdict(_outcome(task, state, None))
    adapted = {name: done[name] for name in ("best", "learned", "held_out", "before", "after")}
    save_model(
        out,
        gan.generator,
        state.result,
        gan.directions,
        name=model_name(out),
        description=f"{gan.name} with its encoder adapted to {task.learned} pictures",
        licence=gan.card.get("licence", ""),
        alignment=gan.alignment,
        # Byte for byte: directions and latents know the generator by its hash.
        keep_generator=gan.folder / "generator.safetensors",
        more={key: gan.card[key] for key in ("source", "notes") if key in gan.card}
        | {"adapted": {**adapted, "protocol": PROTOCOL}},
    )


def _outcome(task: _Adaptation, state: State, stopped: ExitCode | None) -> Adapted:
    best = state.best
    return Adapted(
        step=state.step,
        best=int(best["step"]),
        learned=task.learned,
        held_out=len(task.held),
        before={name: best[f"before_{name}"] for name in FIGURES},
        after={name: best[name] for name in FIGURES},
        stopped=stopped,
    )


def _state(model: Model, options: FinetuneOptions, team: Team) -> State:
    """A copy of the model's encoder to learn, and one for the average."""
    assert isinstance(model.encoder, nn.Module)
    kind = Mirror(model.encoder.kind, model.encoder.config)
    encoder, smooth = (build(kind, model.generator) for _ in range(2))
    for copy in (encoder, smooth):
        copy.load_state_dict(model.encoder.state_dict())
    optimiser = build_optimiser(encoder, options.lr)
    if team.size > 1:
        share_norms(encoder)
    return State(encoder, smooth.requires_grad_(False), optimiser)


def _run(
    model: Model, learned: list[Pixels], options: FinetuneOptions, out: Path, team: Team
) -> Run:
    """The run of `training.loop` that makes the steps."""
    generator = model.generator
    name = _perceptual(options)
    same = TrainOptions(
        iterations=options.iterations,
        batch=options.batch,
        accumulate=options.accumulate,
        seed=options.seed,
        ema=options.ema,
        start="model",
        real=out,
        real_share=1 - options.synthetic,
        perceptual=name,
    )
    check_parts(same, generator.resolution, team)
    psi, cutoff = truncation(generator, same)
    distance = open_distance(name, generator.device)
    half = bfloat16(same, generator.device)
    objective = Objective(generator, same, centre_crops(FINE_TUNING), distance, half)
    pictures = np.stack(learned)
    masks = np.full(pictures.shape[:3], 255, np.uint8)  # people stay where they are
    count = same.real_at(generator.resolution)
    varied = Variations(pictures, masks, generator.resolution, count, options.seed)
    return Run(model, same, out, Source(generator, psi, cutoff), objective, varied, team)


def _perceptual(options: FinetuneOptions) -> Perceptual:
    """The term that was asked for, or the best whose weights are here."""
    if options.perceptual != "auto":
        return options.perceptual
    if trunk_file().is_file():  # or it would be downloaded
        return "lpips"
    try:
        open_distance("features")
    except MissingError:
        return "none"
    return "features"


def _identity(
    model: Model, files: Sequence[Sequence[Pixels]], options: FinetuneOptions, run: Run
) -> dict[str, Any]:
    """What a run that goes on must have in common with its beginning."""
    digest = hashlib.sha256()
    for faces in files:
        for face in faces:
            digest.update(face.tobytes())
    return asdict(options) | {
        "batch": run.batch,
        "perceptual": run.options.perceptual,
        "pictures": digest.hexdigest(),
        "generator": model.sha256,
        "encoder": model.encoder_sha256,
        "eval_steps": options.eval_every,  # when an encoder is the best depends on it
    }


def _small(pictures: list[Pixels], side: int) -> Tensor:
    """uint8 [S, S, 3] each -> [N, 3, side, side] in [-1, 1]."""
    images = to_tensor(pictures)
    return images if images.shape[-1] == side else F.interpolate(images, (side, side), mode="area")
