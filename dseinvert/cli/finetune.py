"""`dseinvert finetune`: the encoder of a model adapted to a folder of real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dseinvert.cli.options import offer
from dseinvert.training.options import FinetuneOptions


@offer(FinetuneOptions, {})
def finetune(
    on: Annotated[Path, typer.Option(help="Folder of the images.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; is a model for --model.")],
    model: Annotated[str, typer.Option(help="Name or folder of the model.")] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    **given: Any,
) -> None:
    """Adapt an encoder to a folder of images, as a new model, or go on with the run in --out.

    dseinvert finetune --on my-photos --out my-model
    """
    options = FinetuneOptions(**given)

    from dseinvert.run.finetune import run_finetune
    from dseinvert.run.flow.progress import watching

    with watching(quiet) as watcher:
        done = run_finetune(on, model, options, out, watcher, device=device)
    print(f"{out}: step {done.best} of {done.step} kept; {done.held_out} held-out pictures:")
    for name, unit in (("psnr", " dB"), ("ssim", "")):
        print(f"{name}: {done.before[name]:.4g}{unit} before, {done.after[name]:.4g}{unit} after")
    if done.stopped is not None:
        raise typer.Exit(done.stopped)
