"""`dseinvert finetune`: the encoder of a model adapted to a folder of real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dseinvert.cli.checks import check_finetune
from dseinvert.cli.verb import Done, verb
from dseinvert.progress import SILENT, Watcher
from dseinvert.training.options import FinetuneOptions


@verb(FinetuneOptions, json=None, quiet="No progress bar.")
def finetune(
    on: Annotated[Path, typer.Option(help="Folder, zip, tar, LMDB or data set of the images.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; is a model for --model.")],
    options: FinetuneOptions,
    watcher: Watcher,
    model: Annotated[str, typer.Option(help="Name or folder of the model.")] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> Done:
    """Adapt an encoder to a folder of images, as a new model, or go on with the run in --out.

    dseinvert finetune --on my-photos --out my-model

    dseinvert finetune --on my-photos --model ./my-gan --out my-second-model
    """
    check_finetune(on, model, device, out)
    from dseinvert.run.finetune import run_finetune
    from dseinvert.training.team import joined

    with joined(device) as team:
        heard = watcher if team.leads else SILENT
        done = run_finetune(on, model, options, out, heard, device=device, team=team)
    if not team.leads:
        return Done(code=done.stopped or 0)
    lines = [f"{out}: step {done.best} of {done.step} kept; {done.held_out} held-out pictures:"]
    for name, unit in (("psnr", " dB"), ("ssim", "")):
        before, after = done.before[name], done.after[name]
        lines.append(f"{name}: {before:.4g}{unit} before, {after:.4g}{unit} after")
    return Done(lines=lines, code=done.stopped or 0)
