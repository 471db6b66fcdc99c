"""Saved latents of one generator, and pictures of latents in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from dseinvert.errors import InputError, NoInputError
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent, concat, load_latent
from dseinvert.media.atomic import shown
from dseinvert.media.pixels import Pixels
from dseinvert.media.scan import scan
from dseinvert.models import Model
from dseinvert.run.flow.batchsize import BatchSize, auto_size, in_batches
from dseinvert.run.flow.names import assign


@dataclass(frozen=True)
class Named:
    """One latent [1, L, D] and the name that its pictures get."""

    name: str
    latent: Latent


def read_latents(patterns: Sequence[str], model: Model) -> list[Named]:
    """All samples of the latent files that `patterns` mean, in order.

    Raises:
        NoInputError: there are none.
        InputError: one cannot be read, or belongs to another generator.
    """
    found = scan(patterns, wanted=lambda path: path.suffix == ".safetensors")
    for problem in found.problems:
        raise InputError(f"{shown(problem.path)}: {problem.reason}")
    if not found.files:
        raise NoInputError("no latent files found", "name files that `dseinvert images` wrote")
    every = []
    for path, name in assign(found.files, {}, ()).items():
        latent = read_latent(path, model)
        count = len(latent)
        for k in range(count):
            every.append(Named(name if count == 1 else f"{name}-{k + 1}", latent[k : k + 1]))
    return every


def read_latent(path: Path, model: Model) -> Latent:
    """The latents in a file; InputError names `path` where they are none of this model's."""
    latent = load_latent(path)
    try:
        model.check_latent(latent)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error.what}", error.advice) from error
    return latent


def draw(model: Model, latents: Sequence[Latent], batch: int | None) -> list[Pixels]:
    """Pictures uint8 [R, R, 3] of latents of one kind; `batch` at once, None = as many as suit."""
    size = batch or auto_size(model.generator.resolution, model.generator.device)
    return in_batches(partial(_draw, model), latents, BatchSize(size))


@torch.inference_mode()
def _draw(model: Model, latents: Sequence[Latent]) -> list[Pixels]:
    return to_pixels(synthesize(model.generator, concat(latents).to(model.generator.device)))
