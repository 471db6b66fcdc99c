"""`dseinvert train`: an encoder for a generator of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.checks import check_train
from dseinvert.cli.verb import Done, verb
from dseinvert.progress import SILENT, Watcher
from dseinvert.training.options import TrainOptions


@verb(TrainOptions, json=None, quiet="No progress bar.", verbose=False, without={"weights"})
def train(
    gan: Annotated[str, typer.Option(help="Model name or folder, or a checkpoint file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; becomes a model for --model.")],
    options: TrainOptions,
    watcher: Watcher,
    without_lpips: Annotated[
        bool, typer.Option("--without-lpips", help="Same as --perceptual none.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> Done:
    """Train a DSE encoder for a GAN, or go on with the run in --out.

    dseinvert train --gan ./my-gan --out runs/my-encoder

    dseinvert train --gan my-gan.pth --method e4e --out runs/my-e4e
    """
    check_train(gan, device, out, options.real)
    if without_lpips:
        options = replace(options, perceptual="none")

    from dseinvert.models import open_model, pick_device
    from dseinvert.training.loop import train as run
    from dseinvert.training.team import joined, own_device

    with joined(device) as team:
        model = team.agreed(lambda: open_model(gan, pick_device(own_device(device))))
        heard = watcher if team.leads else SILENT
        outcome = run(model, options, out, heard, team=team)
    return Done(code=outcome.stopped or 0)
