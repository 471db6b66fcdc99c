"""A small generator and its encoder trained together as an auto-encoder: a model without a GPU.

The encoder's shared base code alone must already draw the face (that is W, which the mapping
network learns to sample afterwards); the style taps add what W cannot say (W+).
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.media.atomic import write_bytes
from dseinvert.training.average import average, share_kept
from dseinvert.training.checkpoints import Stateful, dumps, load, restore, states
from dseinvert.training.pictures import Variations


@dataclass(frozen=True)
class JointOptions:
    """What is trained and for how long; the first half of the work runs at half resolution."""

    resolution: int = 64
    channels: tuple[int, ...] = (192, 192, 160, 96, 40)
    """Generator widths at 4, 8, ... resolution."""
    encoder_channels: tuple[int, ...] = (24, 64, 112, 176, 192)
    """Encoder widths at resolution ... 8, 4."""
    w_dim: int = 256
    mapping_layers: int = 4
    images_half: int = 80_000
    """Training images at half resolution."""
    images_full: int = 56_000
    """Training images at full resolution."""
    batch: int = 20
    lr: float = 1.5e-3
    """At half resolution; at full resolution batches, and so steps, are half as large."""
    base_share: float = 0.3
    """Share of the images drawn from the base code alone."""
    code_noise: float = 0.1
    feature_weight: float = 0.1
    feature_share: float = 0.5
    """Share of each batch that the feature distance looks at."""
    tap_weight: float = 1e-3
    ema: float = 0.998
    mapping_steps: int = 4000
    """In which the mapping network learns to sample the encoder's base codes."""
    seed: int = 0


@dataclass
class Pair:
    """A generator and the encoder that mirrors it."""

    generator: StyleGAN2
    encoder: DSEEncoder

    def modules(self) -> nn.ModuleList:
        """Both, as one module."""
        return nn.ModuleList([self.generator, self.encoder])


def build(options: JointOptions, resolution: int) -> Pair:
    """An untrained pair for `resolution` (at most `options.resolution`)."""
    blocks = int(math.log2(resolution)) - 1
    channels = {2 ** (k + 2): c for k, c in enumerate(options.channels[:blocks])}
    generator = StyleGAN2Config(
        resolution, channels, options.w_dim, options.w_dim, options.mapping_layers
    )
    widths = options.encoder_channels[-blocks:]
    encoder = DSEConfig(resolution, 2 * blocks, options.w_dim, widths, head="base")
    return Pair(StyleGAN2(generator), DSEEncoder(encoder))


@torch.no_grad()
def grow(small: Pair, large: Pair) -> None:
    """Give `large` (twice the resolution) everything that `small` has learned.

    The new ToRGB starts silent, so that `large` begins where `small` ended.
    """
    large.generator.load_state_dict(small.generator.state_dict(), strict=False)
    for parameter in large.generator.synthesis.to_rgbs[-1].parameters():
        parameter.mul_(0.01 if parameter.ndim == 4 else 1)
    grow_encoder(small.encoder, large.encoder)


@torch.no_grad()
def grow_encoder(old: DSEEncoder, new: DSEEncoder) -> None:
    """Give an encoder of twice the resolution everything that `old` has learned.

    Its new block starts as the old FromRGB (by least squares on random colours).
    """
    shifted = {
        key.replace(f"blocks.{i}.", f"blocks.{i + 1}.", 1): value
        for key, value in old.state_dict().items()
        for i in [int(key.split(".")[1]) if key.startswith("blocks.") else -1]
        if not key.startswith("from_rgb")
    }
    new.load_state_dict(shifted, strict=False)
    colours = torch.rand(4096, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = F.leaky_relu(old.from_rgb(colours), 0.2)[..., 0, 0]
    given = F.leaky_relu(new.from_rgb(colours), 0.2)[..., 0, 0] * 0.889
    given = torch.cat([given, torch.ones(len(given), 1)], dim=1)
    # In double precision, whose last bits (they vary from run to run) do not reach the weights.
    solution = torch.linalg.lstsq(given.double(), wanted.double()).solution.float()
    bypass = new.blocks[0].bypass
    assert isinstance(bypass, nn.Conv2d) and bypass.bias is not None
    bypass.weight.copy_(solution[:-1].T[:, :, None, None])
    bypass.bias.copy_(solution[-1])


def encode(pair: Pair, images: Tensor, base_only: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """[B, 3, R, R] -> (rows [B, L, D], taps [B, L, D]); `base_only` [B] drops the taps."""
    encoder = pair.encoder
    taps, z_c = encoder.taps(images)
    assert encoder.base is not None
    base = encoder.w_avg + encoder.base(z_c.flatten(1))
    base = base + noise * torch.randn_like(base)
    return base[:, None] + torch.where(base_only[:, None, None], 0, taps), taps


def train_pair(
    options: JointOptions,
    pictures: Callable[[int, int], Variations],
    folder: Path,
    distance: nn.Module,
    watch: Callable[[Pair, int], dict[str, float]],
    every: int = 1000,
) -> Pair:
    """Train both stages, or go on from the newest checkpoint in `folder`.

    Args:
        pictures: (batch, seed) -> the training pictures.
        distance: images, images -> [B].
        watch: the smoothed pair and the step -> figures for the log.
        every: steps between checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = _stage(options, options.resolution // 2, pictures, folder, None, watch, every)
    large = build(options, options.resolution)
    grow(half, large)
    return _stage(
        options, options.resolution, pictures, folder, distance, watch, every, start=large
    )


def _stage(
    options: JointOptions,
    resolution: int,
    pictures: Callable[[int, int], Variations],
    folder: Path,
    distance: nn.Module | None,
    watch: Callable[[Pair, int], dict[str, float]],
    every: int,
    start: Pair | None = None,
) -> Pair:
    """Train one resolution; the result is the moving average of the weights."""
    torch.manual_seed(options.seed)
    pair = start or build(options, resolution)
    full = resolution == options.resolution
    batch = options.batch if full else 2 * options.batch
    lr = options.lr / 2 if full else options.lr
    steps = (options.images_full if full else options.images_half) // batch
    modules = pair.modules().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(modules.parameters(), lr=lr, betas=(0.9, 0.99))
    smooth = build(options, resolution)
    smooth.modules().load_state_dict(modules.state_dict())
    file = folder / f"joint-{resolution}.pt"
    parts = {"current": modules, "smooth": smooth.modules(), "optimiser": optimiser}
    step = _resume(file, parts)
    began, done = time.monotonic(), step
    batches = pictures(batch, options.seed + resolution).from_step(step)
    for images in batches if step < steps else ():
        for group in optimiser.param_groups:
            group["lr"] = lr * schedule(step, steps)
        images = F.avg_pool2d(images, images.shape[-1] // resolution)
        images = images.to(memory_format=torch.channels_last)
        terms = _losses(options, pair, images, distance)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimiser.step()
        step += 1
        average(smooth.modules(), modules, share_kept(options.ema, step))
        if step % 100 == 0 or step == steps:
            rate = (step - done) * batch / (time.monotonic() - began)
            row = {"resolution": resolution, "step": step, "steps": steps, "images_s": rate}
            row |= {name: float(value.detach()) for name, value in terms.items()}
            _log(folder / f"losses-{resolution}.csv", row)
        if step % every == 0 or step == steps:
            _log(folder / f"joint-{resolution}.csv", {"step": step, **watch(smooth, step)})
            content = {"step": step, **states(parts), "rng": torch.get_rng_state()}
            write_bytes(file, dumps(content))
        if step >= steps:
            break
    return smooth


def _losses(
    options: JointOptions, pair: Pair, images: Tensor, distance: nn.Module | None
) -> dict[str, Tensor]:
    base_only = torch.rand(len(images)) < options.base_share
    rows, taps = encode(pair, images, base_only, options.code_noise)
    drawn = pair.generator.synthesis(rows)
    terms = {
        "l1": F.l1_loss(drawn, images),
        "mse": 2 * F.mse_loss(drawn, images),
        "taps": options.tap_weight * taps.square().mean(),
    }
    if distance is not None:
        some = max(1, int(len(images) * options.feature_share))
        terms["features"] = options.feature_weight * distance(images[:some], drawn[:some]).mean()
    return terms


def schedule(step: int, steps: int, warm_up: int = 200) -> float:
    """Linear warm-up, then a cosine down to 2 %."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _resume(file: Path, parts: Mapping[str, Stateful]) -> int:
    """The step that the checkpoint ends at, `parts` brought there; 0 = there is none."""
    if not file.exists():
        return 0
    content = load(file)
    restore(parts, content)
    torch.set_rng_state(content["rng"])
    return int(content["step"])


def _log(file: Path, row: dict[str, float]) -> None:
    new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, row)
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" for k, v in row.items()})
