"""`dseinvert train`: an encoder for a generator of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.errors import UsageError
from dseinvert.training.options import TrainOptions


@offer(TrainOptions, {"widths": str | None, "weights": None})
def train(
    gan: Annotated[str, typer.Option(help="Model name or folder, or a checkpoint file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; becomes a model for --model.")],
    without_lpips: Annotated[
        bool, typer.Option("--without-lpips", help="Same as --perceptual none.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    **given: Any,
) -> None:
    """Train a DSE encoder for a GAN, or go on with the run in --out."""
    if without_lpips:
        given["perceptual"] = "none"
    options = TrainOptions(**{**given, "widths": _numbers(given.get("widths"))})

    from dseinvert.models import open_model, pick_device
    from dseinvert.run.flow.progress import watching
    from dseinvert.training.loop import train as run

    with watching(quiet) as watcher:
        outcome = run(open_model(gan, pick_device(device)), options, out, watcher)
    if outcome.stopped is not None:
        raise typer.Exit(outcome.stopped)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in text.split(",")) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--widths {text}", "give whole numbers with commas between") from error
