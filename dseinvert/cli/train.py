"""`dseinvert train`: an encoder for a generator of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.checks import check_train
from dseinvert.cli.told_by_file import read_config, weights_in
from dseinvert.cli.verb import Done, verb
from dseinvert.errors import UsageError
from dseinvert.progress import SILENT, Watcher
from dseinvert.similarity.weights import FIELDS, weighted
from dseinvert.training.options import TrainOptions

WEIGHT = f"How much a term of the loss counts ({', '.join(FIELDS)}); may be repeated."
CONFIG = "TOML file with options, or training.json of a run; what is typed goes before it."


@verb(TrainOptions, json=None, quiet="No progress bar.", without={"weights"})
def train(
    gan: Annotated[str, typer.Option(help="Model name or folder, or a checkpoint file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; becomes a model for --model.")],
    options: TrainOptions,
    watcher: Watcher,
    weight: Annotated[
        list[str] | None,
        typer.Option(help=WEIGHT, metavar="TERM=NUMBER", show_default="as published"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help=CONFIG, is_eager=True, callback=read_config, show_default="none"),
    ] = None,
    without_lpips: Annotated[
        bool, typer.Option("--without-lpips", help="Same as --perceptual none.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> Done:
    """Train a DSE encoder for a GAN, or go on with the run in --out.

    dseinvert train --gan ./my-gan --out runs/my-encoder

    dseinvert train --gan my-gan.pth --method e4e --out runs/my-e4e
    """
    check_train(gan, device, out, options)
    if without_lpips:
        options = replace(options, perceptual="none")
    _check_terms(options, weight or ())
    options = replace(
        options, weights=weighted([*weights_in(config), *(weight or ())], options.weights)
    )

    from dseinvert.models import open_model, pick_device
    from dseinvert.training.loop import train as run
    from dseinvert.training.team import joined, own_device

    with joined(device) as team:
        model = team.agreed(lambda: open_model(gan, pick_device(own_device(device))))
        heard = watcher if team.leads else SILENT
        outcome = run(model, options, out, heard, team=team)
    return Done(code=outcome.stopped or 0)


def _check_terms(options: TrainOptions, weights: Sequence[str]) -> None:
    """UsageError for the weight of a term that this run does not have."""
    lacking = {}
    if options.identity is None:
        lacking["identity"] = "name a network with --identity"
    if options.perceptual == "none":
        lacking["perceptual"] = "leave out --without-lpips or --perceptual none"
    for text in weights:
        name, _, number = text.replace(" ", "").partition("=")
        if name in lacking and number.strip("0.") != "":
            raise UsageError(f"--weight {text!r}: there is no such term here", lacking[name])
