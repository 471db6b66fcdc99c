"""`dseinvert train`: an encoder for a generator of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dseinvert.errors import UsageError
from dseinvert.similarity.weights import Perceptual
from dseinvert.training.options import Head, Precision, TrainOptions

Default = TrainOptions


def train(
    gan: Annotated[
        str, typer.Option(help="Model name or folder, or the generator.safetensors in one.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; becomes a model for --model.")],
    strategy: Annotated[
        int, typer.Option(help="1 = latent regression, 2 = full image gradients.")
    ] = Default.strategy,
    iterations: Annotated[int, typer.Option(help="Steps in all.")] = Default.iterations,
    batch: Annotated[
        int | None,
        typer.Option(help="Images a step.", show_default="8 up to 256 px, 4 at 512, 2 at 1024"),
    ] = Default.batch,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam (0, 0.99).")] = Default.lr,
    seed: Annotated[int, typer.Option(help="Of samples, first weights and noise.")] = Default.seed,
    psi: Annotated[float, typer.Option(help="Truncation of the samples.")] = Default.psi,
    cutoff: Annotated[
        int | None, typer.Option(help="Rows of w that are truncated.")
    ] = Default.cutoff,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights.")] = Default.ema,
    real: Annotated[
        Path | None, typer.Option(help="Tar of aligned real images to train on besides.")
    ] = Default.real,
    real_share: Annotated[
        float, typer.Option(help="Their share of each batch.")
    ] = Default.real_share,
    perceptual: Annotated[
        Perceptual, typer.Option(help="Perceptual term; features = EfficientNet-lite0.")
    ] = Default.perceptual,
    without_lpips: Annotated[
        bool, typer.Option("--without-lpips", help="Same as --perceptual none.")
    ] = False,
    precision: Annotated[
        Precision, typer.Option(help="auto = bfloat16 on GPUs that have it.")
    ] = Default.precision,
    widths: Annotated[
        str | None,
        typer.Option(help="Encoder channels, full size first: 64,128,...", show_default="Table I"),
    ] = None,
    head: Annotated[
        Head, typer.Option(help="base = add one FC of the last feature map to every row.")
    ] = Default.head,
    log_every: Annotated[int, typer.Option(help="Steps a row of losses.")] = Default.log_every,
    eval_every: Annotated[int, typer.Option(help="Steps an evaluation.")] = Default.eval_every,
    eval_samples: Annotated[int, typer.Option(help="Held-out samples.")] = Default.eval_samples,
    grid_every: Annotated[
        int, typer.Option(help="Steps a picture grid; 0 = none.")
    ] = Default.grid_every,
    checkpoint_every: Annotated[
        int, typer.Option(help="Steps a checkpoint.")
    ] = Default.checkpoint_every,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Train a DSE encoder for a GAN, or go on with the run in --out."""
    options = TrainOptions(
        strategy=strategy,
        iterations=iterations,
        batch=batch,
        lr=lr,
        seed=seed,
        psi=psi,
        cutoff=cutoff,
        ema=ema,
        real=real,
        real_share=real_share,
        perceptual="none" if without_lpips else perceptual,
        precision=precision,
        widths=_numbers(widths),
        head=head,
        log_every=log_every,
        eval_every=eval_every,
        eval_samples=eval_samples,
        grid_every=grid_every,
        checkpoint_every=checkpoint_every,
    )
    _check_gan(gan)

    from dseinvert.models import open_model, pick_device
    from dseinvert.training.loop import train as run

    folder = str(Path(gan).parent) if Path(gan).is_file() else gan
    outcome = run(open_model(folder, pick_device(device)), options, out, quiet=quiet)
    if outcome.stopped is not None:
        raise typer.Exit(outcome.stopped)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in text.split(",")) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--widths {text}", "give whole numbers with commas between") from error


def _check_gan(gan: str) -> None:
    file = Path(gan)
    if file.is_file() and file.name != "generator.safetensors":
        kind = f"a {file.suffix} file" if file.suffix else "a file"
        raise UsageError(
            f"--gan {gan}: {kind}, which cannot be read as a generator",
            "give a model folder, or the generator.safetensors in one",
        )
