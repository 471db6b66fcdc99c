"""Training the feature branch of a DSE whose trunk and generator stay as they are."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureConfig, DSEFeatureEncoder
from dseinvert.generators import Generator
from dseinvert.latent import Latent
from dseinvert.media.atomic import write_bytes
from dseinvert.training.average import average, share_kept
from dseinvert.training.checkpoints import Stateful, dumps, load, restore, states

FILE = "branch.pt"


@dataclass(frozen=True)
class BranchOptions:
    """Where the branch enters the generator, and how it is trained."""

    layer: int = 5
    """K: the second convolution at 16 px."""
    steps: int = 2500
    batch: int = 16
    lr: float = 2e-3
    feature_weight: float = 0.1
    small_weight: float = 0.01
    """Of the squared correction, in variances of the feature: what w can say, w shall say."""
    ema: float = 0.995
    wild: float = 0.65
    """Share of wildly varied pictures."""
    seed: int = 23

    def rate(self, step: int) -> float:
        """The learning rate: a short rise, then half a cosine."""
        level = min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))
        return self.lr * max(level, 0.01)


def untrained(generator: Generator, trunk: DSEEncoder, layer: int) -> DSEFeatureEncoder:
    """The trunk with a branch that does nothing yet."""
    _, channels, side, _ = generator.features(generator.mean_latent(), layer).shape
    encoder = DSEFeatureEncoder(DSEFeatureConfig(trunk.config, layer, side, channels))
    encoder.trunk.load_state_dict(trunk.state_dict())
    encoder.attach(generator)
    return encoder.eval().requires_grad_(False)


def train_branch(
    generator: Generator,
    trunk: DSEEncoder,
    options: BranchOptions,
    pictures: Iterator[Tensor],
    distance: nn.Module,
    folder: Path,
    watch: Callable[[DSEFeatureEncoder, int, dict[str, float]], None],
    every: int = 100,
) -> DSEFeatureEncoder:
    """The trunk with a trained branch; goes on from the checkpoint in `folder`.

    Args:
        generator: frozen.
        trunk: frozen.
        options: the numbers.
        pictures: batches [B, 3, R, R] in [-1, 1] from the step in `folder` on (`begun`).
        distance: images, images -> [B].
        folder: for the checkpoint.
        watch: the averaged encoder, the step, and the mean losses since the last call.
        every: steps between checkpoints.
    """
    torch.manual_seed(options.seed)
    encoder = untrained(generator, trunk, options.layer)
    branch = encoder.branch.requires_grad_(True)
    smooth = copy.deepcopy(branch)
    adam = torch.optim.Adam(branch.parameters(), lr=options.lr, betas=(0.9, 0.99))
    parts: dict[str, Stateful] = {"branch": branch, "smooth": smooth, "adam": adam}
    start = _resume(folder / FILE, parts)
    sums: dict[str, float] = {}
    for step, images in zip(range(start, options.steps), pictures, strict=False):
        adam.param_groups[0]["lr"] = options.rate(step)
        loss, terms = objective(generator, encoder, images, options, distance)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        adam.step()
        average(smooth, branch, share_kept(options.ema, step))
        sums = {name: sums.get(name, 0) + float(value) / every for name, value in terms.items()}
        if (step + 1) % every == 0 or step + 1 == options.steps:
            watch(_with(encoder, smooth, generator), step + 1, sums)
            write_bytes(folder / FILE, dumps({**states(parts), "step": step + 1}))
            sums = {}
    return _with(encoder, smooth, generator)


def objective(
    generator: Generator,
    encoder: DSEFeatureEncoder,
    images: Tensor,
    options: BranchOptions,
    distance: nn.Module,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L1 + 4 MSE + the feature distance of every other picture + the size of the correction."""
    with torch.no_grad():
        rows, maps = encoder.trunk.rows_and_maps(images)
        plain = generator.features(Latent(rows, "w+"), options.layer)
    correction = encoder.branch(images, maps[encoder.config.map_index], plain)
    latent = Latent(rows, "w+", feature=plain + correction, layer=options.layer)
    drawn = generator.synthesize(latent)
    terms = {
        "l1": F.l1_loss(drawn, images),
        "mse": 4 * F.mse_loss(drawn, images),
        "features": options.feature_weight * distance(images[::2], drawn[::2]).mean(),
        "small": options.small_weight * (correction / plain.std()).square().mean(),
    }
    return torch.stack([*terms.values()]).sum(), {n: term.detach() for n, term in terms.items()}


def begun(folder: Path) -> int:
    """The step that the checkpoint in `folder` ends at; 0 = there is none."""
    file = folder / FILE
    return int(load(file)["step"]) if file.exists() else 0


def _with(encoder: DSEFeatureEncoder, branch: nn.Module, generator: Generator) -> DSEFeatureEncoder:
    whole = DSEFeatureEncoder(encoder.config)
    whole.trunk.load_state_dict(encoder.trunk.state_dict())
    whole.branch.load_state_dict(branch.state_dict())
    whole.attach(generator)
    return whole.eval().requires_grad_(False)


def _resume(file: Path, parts: Mapping[str, Stateful]) -> int:
    """The step that the checkpoint ends at, `parts` brought there; 0 = there is none."""
    if not file.exists():
        return 0
    content = load(file)
    restore(parts, content)
    return int(content["step"])
