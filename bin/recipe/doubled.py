"""A sharp model's generator at twice its resolution; the encoder for it is trained afterwards."""

from __future__ import annotations

from torch import Tensor

from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.models import Model, save_model
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training.pictures import read_tar
from recipe.gan import finer
from recipe.gan.course import follow
from recipe.gan.finer import FinerOptions, begin
from recipe.gan.team import Team
from recipe.order import HELD_OUT, Order
from recipe.pictures import to_tensor
from recipe.sharp import STORED, critics_pictures, parts_of, watcher


def double(model: Model, options: FinerOptions, order: Order, team: Team) -> None:
    """A block for twice the size of a sharpened model; goes on where it stopped.

    Raises:
        UsageError: a model of another family, or whose encoder has no DSE with a base head.
    """
    small, trunk = parts_of(model)
    side, pace = 2 * small.resolution, options.pace
    pictures = read_tar(order.sources.faces, int(side * STORED))
    known, unseen = pictures[:-HELD_OUT], to_tensor(pictures[-HELD_OUT:], side)
    varied = critics_pictures(known, side, pace.batch, pace.seed + 1000 * team.rank)
    distance = FeatureDistance().requires_grad_(False)
    watch = watcher(unseen, distance)

    def look(large: StyleGAN2) -> tuple[dict[str, float], list[Tensor]]:
        return watch(large, trunk)

    trunk.requires_grad_(False)
    stage = begin(small, trunk, options, distance, look)
    follow(stage, pace, varied.from_step, order.work / finer.FILE, team)
    if team.leads:
        save_model(
            order.out,
            stage.smooth,
            name=order.name,
            description=f"Faces at {side} px, trained on pictures of no real person",
            licence="MIT",
            half=True,
        )
