"""What a training run needs before its first step, refused here where it makes no sense."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dseinvert.encoders.blocks import published_widths
from dseinvert.encoders.parts import share_norms
from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.generators import Generator
from dseinvert.media.atomic import write_bytes
from dseinvert.models import Model
from dseinvert.names import json_value, read_regular
from dseinvert.similarity.attention import Scales, centre_crops, whole
from dseinvert.similarity.gradcam import gradcam_scales, open_gradcam
from dseinvert.similarity.identity import open_identity
from dseinvert.similarity.metrics import PROTOCOL
from dseinvert.similarity.perceptual import open_distance
from dseinvert.training.checkpoints import FILE, State, resume, share
from dseinvert.training.lessons import SCHEDULED
from dseinvert.training.mirror import (
    Mirror,
    Wishes,
    build,
    continued,
    mirror,
    usual_psi,
    widest,
)
from dseinvert.training.objective import Objective
from dseinvert.training.optimiser import build_optimiser
from dseinvert.training.options import TrainOptions
from dseinvert.training.pictures import Variations
from dseinvert.training.samples import Batch, Cut, Source, batches, real_pictures
from dseinvert.training.team import ALONE, Team

SETTINGS = "training.json"


@dataclass(frozen=True)
class Run:
    """What stays the same from the first step to the last."""

    gan: Model
    options: TrainOptions
    out: Path
    source: Source
    objective: Objective
    real: Variations | None
    team: Team = ALONE

    @property
    def batch(self) -> int:
        """Images a step."""
        return self.options.batch_at(self.gan.generator.resolution)

    def batches(self, step: int) -> Iterator[Iterable[Batch]]:
        """Training batches from `step` on: of each the pieces that are this process's to do."""
        count, options = self.options.accumulate, self.options
        synthetic = self.batch - options.real_at(self.gan.generator.resolution)
        first, parts = self.team.rank * count, self.team.size * count
        total = self.team.total if self.team.size > 1 else None
        pieces = [
            batches(
                *(self.source, options.seed, synthetic, self.real, step, options.mixing),
                *(Cut(first + index, parts), total),
            )
            for index in range(count)
        ]
        while True:
            yield (next(piece) for piece in pieces)  # each is drawn when its turn comes


def prepare(gan: Model, options: TrainOptions, out: Path, team: Team = ALONE) -> tuple[Run, State]:
    """Refuse what can be refused, then build, or read, all that training needs.

    Nothing is written before everything else has gone well, in all processes.
    """
    run, state = team.agreed(lambda: _prepared(gan, options, out, team))
    same = identity(gan, options)
    share(state, same, team)
    if team.leads:
        make_folder(out)
        settings = same | {"gan": str(gan.folder), "metrics": PROTOCOL}
        if not (out / FILE).exists() or _follows(out / SETTINGS):
            settings["encoder_widths"] = "as the generator, at most as published"
        write_bytes(out / SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())
    return run, state


def _prepared(gan: Model, options: TrainOptions, out: Path, team: Team) -> tuple[Run, State]:
    generator = gan.generator
    generator.plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    check(gan, options, out)
    real_batch = options.real_at(generator.resolution)
    check_parts(options, generator.resolution, team)
    state = new_state(gan, options, out, team)
    if team.leads:
        # Runs from before an option was there had its default.
        resume(out, state, identity(gan, options), before=identity(gan, TrainOptions()))
    distance = open_distance(options.perceptual, generator.device, options.lpips_weights)
    who = None
    if options.identity is not None:
        who = open_identity(options.identity, generator.device)
    scales = open_scales(options, generator.device)
    half = bfloat16(options, generator.device)
    objective = Objective(generator, options, scales, distance, half, who)
    real = None
    if options.real is not None:
        real = real_pictures(options.real, generator.resolution, real_batch, options.seed)
    psi, cutoff = truncation(generator, options)
    source = Source(generator, psi, cutoff)
    return Run(gan, options, out, source, objective, real, team), state


def check_parts(options: TrainOptions, resolution: int, team: Team) -> None:
    """UsageError where a batch cannot be cut into a part for each process and piece."""
    batch, parts = options.batch_at(resolution), team.size * options.accumulate
    samples = batch - options.real_at(resolution)
    if samples < parts:
        what = f"{samples} samples of the generator" if options.real else f"a batch of {batch}"
        raise UsageError(
            f"--batch {batch}: {what} for {team.size} x {options.accumulate} parts",
            "a larger --batch, which is that of all processes, or fewer of them",
        )


def check(gan: Model, options: TrainOptions, out: Path) -> None:
    """Refuse options that do not fit the generator.

    Raises:
        UsageError: they do not.
    """
    family, spec = gan.generator.family, gan.generator.spec
    if out.resolve() == gan.folder.resolve():
        raise UsageError(f"--out {out} is the model given as --gan", "choose another folder")
    if options.mixing and spec.space != "w+":
        raise UsageError(
            f"--mixing {options.mixing}: a {family}'s latent is not in rows", "leave it out"
        )
    if options.real is not None and spec.classes and spec.space != "w+":
        raise UsageError(
            f"--real: a {family} needs to know the class of each image, and a set names none",
            "leave it out",
        )


def truncation(generator: Generator, options: TrainOptions) -> tuple[float, int | None]:
    """psi of a generator's samples, and the rows of w that it applies to; None = all there are.

    Raises:
        UsageError: options that do not fit the generator.
    """
    psi = options.psi_for(generator.truncates, usual_psi(generator))
    cutoff = options.cutoff_for(generator.spec.layers)
    return psi, cutoff if psi != 1 else None


def planned(gan: Model, options: TrainOptions, out: Path | None = None) -> Mirror:
    """The encoder that a run is about.

    Args:
        out: the folder of the run; None = there is none yet.

    Raises:
        UsageError: none fits both the generator and the options.
    """
    psi, _ = truncation(gan.generator, options)
    widths = options.widths
    if widths is None and options.method.startswith("dse") and options.start == "scratch":
        widths = _usual_widths(gan.generator, out)
    wishes = Wishes(widths, options.head, options.method, options.layer)
    if options.start == "model":
        return continued(gan.generator, psi, gan.encoder, wishes)
    return mirror(gan.generator, psi, wishes)


def _usual_widths(generator: Generator, out: Path | None) -> tuple[int, ...]:
    """As published, and no wider than the generator; a run from before that was so stays as wide.

    Raises:
        MissingError: the description of a run is damaged.
    """
    published = published_widths(generator.resolution)
    if out is not None and (out / FILE).exists() and not _follows(out / SETTINGS):
        return published
    return tuple(min(width, widest(generator)) for width in published)


def _follows(settings: Path) -> bool:
    """Whether the run that wrote these has an encoder as wide as its generator."""
    try:
        return "encoder_widths" in json_value(read_regular(settings))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError) as error:
        raise MissingError(f"{settings}: damaged", "choose another --out") from error


def open_scales(options: TrainOptions, device: torch.device) -> Scales:
    """The attentions of a run.

    Raises:
        MissingError: the classifier of Grad-CAM is not here.
    """
    if options.attention == "none":
        return whole
    if options.attention == "crops":
        return centre_crops(options.mu)
    maps = open_gradcam(options.gradcam_weights, device)
    return gradcam_scales(maps, options.mu, options.gradcam_gradients)


def new_state(gan: Model, options: TrainOptions, out: Path, team: Team = ALONE) -> State:
    """An untrained encoder on the generator's device, or the one that the model has."""
    torch.manual_seed(options.seed)
    encoder = build(planned(gan, options, out), gan.generator)
    if options.start == "model":
        assert isinstance(gan.encoder, nn.Module)
        encoder.load_state_dict(gan.encoder.state_dict())
    smooth = copy.deepcopy(encoder).requires_grad_(False)
    optimiser = optimiser_for(encoder, options)
    if team.size > 1:
        share_norms(encoder)
    return State(encoder, smooth, optimiser)


def optimiser_for(encoder: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """DSE's equalised Adam, or plain Adam for encoders that start as others do."""
    if options.method.startswith("dse"):
        return build_optimiser(encoder, options.rate)
    return torch.optim.Adam(encoder.parameters(), options.rate, betas=(0.9, 0.99))


def identity(gan: Model, options: TrainOptions) -> dict[str, Any]:
    """What a run that goes on must have in common with its beginning."""
    psi, cutoff = truncation(gan.generator, options)
    return options.asdict() | {
        "batch": options.batch_at(gan.generator.resolution),
        "psi": psi,
        "cutoff": cutoff,
        "head": options.head or "taps",
        "lr": options.rate,
        "schedule": options.iterations if options.method in SCHEDULED else 0,
        "generator": gan.sha256,
        "encoder": gan.encoder_sha256 if options.start == "model" else "",
    }


def bfloat16(options: TrainOptions, device: torch.device) -> bool:
    """Whether the networks run in bfloat16, whose range needs no loss scaling."""
    if options.precision != "auto":
        return options.precision == "bfloat16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def make_folder(out: Path) -> None:
    """Make the folder of a run; OutputError where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot make this folder: {error.strerror}") from error
