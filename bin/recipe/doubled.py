"""A sharp model at twice its resolution: a block for the generator, then an encoder for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.errors import UsageError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.latent import Latent
from dseinvert.models import Model, save_model
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training.pictures import read_tar
from dseinvert.training.team import Team
from recipe.detail import share_kept
from recipe.encoder import fine, keener
from recipe.encoder.fine import FineOptions
from recipe.encoder.joint import grow_encoder
from recipe.encoder.keener import KeenerOptions
from recipe.gan import finer
from recipe.gan.course import follow
from recipe.gan.finer import FinerOptions, begin, doubled
from recipe.order import HELD_OUT, Order
from recipe.pictures import to_tensor
from recipe.sharp import SHOWN, STORED, critics_pictures, parts_of, watcher


def double(model: Model, options: FinerOptions, order: Order, team: Team) -> None:
    """A block for twice the size of a sharpened model; goes on where it stopped.

    The encoder of the model that it leaves is the trunk as it was, for larger pictures.

    Raises:
        UsageError: a model of another family, or whose encoder has no DSE with a base head.
    """
    small, trunk = parts_of(model)
    large = refined(doubled(small, options.width), trunk, options, order, team)
    description = f"Faces at {large.resolution} px, trained on pictures of no real person"
    if team.leads:
        save_model(
            order.out,
            large,
            widened(trunk),
            name=order.name,
            description=description,
            licence="MIT",
            half=True,
        )


def polish(model: Model, options: FinerOptions, order: Order, team: Team) -> None:
    """The last block of a fitted model, once more; goes on where it stopped.

    The encoder stays as it is; `sharpen_branch` then brings it to what the block draws.

    Raises:
        UsageError: as `double`.
    """
    generator, trunk = parts_of(model)
    polished = refined(generator, trunk, options, order, team)
    if team.leads:
        save_model(
            order.out,
            polished,
            model.require_encoder(),
            name=order.name,
            description=model.card["description"],
            licence=model.card["licence"],
            half=True,
        )


def refined(
    generator: StyleGAN2, trunk: DSEEncoder, options: FinerOptions, order: Order, team: Team
) -> StyleGAN2:
    """The average of a generator whose last block is trained against a critic."""
    side, pace = generator.resolution, options.pace
    pictures = read_tar(order.sources.faces, side * STORED)
    known, held_out = pictures[:-HELD_OUT], pictures[-HELD_OUT:]
    varied = critics_pictures(known, side, pace.batch, pace.seed + 1000 * team.rank)
    distance = FeatureDistance().requires_grad_(False)
    watch = watcher(held_out, side, distance)

    def look(large: StyleGAN2) -> tuple[dict[str, float], list[Tensor]]:
        return watch(large, trunk)

    trunk.requires_grad_(False)
    stage = begin(generator, trunk, options, distance, look)
    follow(stage, pace, varied.from_step, order.work / finer.FILE, team)
    return stage.smooth


def widened(trunk: DSEEncoder) -> DSEEncoder:
    """A trunk that finds in pictures of twice the size what `trunk` finds in them halved."""
    old = trunk.config
    widths = (max(4, old.widths[0] * 2 // 3), *old.widths)
    large = DSEEncoder(
        replace(old, resolution=2 * old.resolution, layers=old.layers + 2, widths=widths)
    )
    grow_encoder(trunk, large)
    for name in ("tap_a", "tap_b"):  # the new rows begin as the base code
        for parameter in large.blocks[0].get_submodule(name).parameters():
            nn.init.zeros_(parameter)
    return large.eval().requires_grad_(False)


def fit(model: Model, options: FineOptions, order: Order, team: Team) -> None:
    """The encoder of a doubled model, with F; goes on where it stopped.

    Raises:
        UsageError: as `double`.
    """
    generator, trunk = parts_of(model)
    side, pace = generator.resolution, options.pace
    pictures = read_tar(order.sources.faces, side * STORED)
    known, unseen = pictures[:-HELD_OUT], to_tensor(pictures[-HELD_OUT:], side)
    varied = critics_pictures(known, side, pace.batch, pace.seed + 1000 * team.rank, options.wild)
    distance = FeatureDistance().requires_grad_(False)
    stage = fine.begin(generator, trunk, options, distance, fits(unseen, generator))
    follow(stage, pace, varied.from_step, order.work / fine.FILE, team)
    if team.leads:
        _save_with(stage.smooth, model, order)


def sharpen_branch(model: Model, options: KeenerOptions, order: Order, team: Team) -> None:
    """The feature branch of a fitted model, once more; goes on where it stopped.

    Raises:
        UsageError: a model of another family, or whose encoder has no feature branch.
    """
    generator, _ = parts_of(model)
    encoder = model.require_encoder()
    if not isinstance(encoder, DSEFeatureEncoder):
        raise UsageError(f"{model.name} has no feature branch")
    side, pace = generator.resolution, options.pace
    pictures = read_tar(order.sources.faces, side * STORED)
    known, unseen = pictures[:-HELD_OUT], to_tensor(pictures[-HELD_OUT:], side)
    varied = critics_pictures(known, side, pace.batch, pace.seed + 1000 * team.rank, options.wild)
    distance = FeatureDistance().requires_grad_(False)
    stage = keener.begin(generator, encoder, options, distance, fits(unseen, generator))
    follow(stage, pace, varied.from_step, order.work / keener.FILE, team)
    if team.leads:
        _save_with(stage.smooth, model, order)


def _save_with(encoder: DSEFeatureEncoder, model: Model, order: Order) -> None:
    """A model with another encoder, its generator byte for byte."""
    save_model(
        order.out,
        model.generator,
        encoder,
        name=model.name,
        description=model.card["description"],
        licence=model.card["licence"],
        half=True,
        keep_generator=model.folder / "generator.safetensors",
    )


def fits(unseen: Tensor, generator: StyleGAN2) -> fine.Watch:
    """How close and how sharp reconstructions of pictures never trained on are."""
    few = unseen[: 2 * SHOWN]

    @torch.no_grad()
    def watch(encoder: DSEFeatureEncoder) -> tuple[dict[str, float], list[Tensor]]:
        latent = encoder.encode(few)
        plain = Latent(latent.code, "w+")
        figures, rows = {}, [few[:SHOWN]]
        for name, one in (("f", latent), ("w_plus", plain)):
            drawn = generator.synthesize(one).clamp(-1, 1)
            error = (drawn - few).square().mean((1, 2, 3)) / 4
            figures[f"{name}_psnr"] = float((-10 * error.log10()).median())
            figures[f"{name}_detail"] = share_kept(drawn, few)
            rows.append(drawn[:SHOWN])
        return figures, rows

    return watch
