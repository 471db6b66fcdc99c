"""The sharpening of a finished model: from its weights to a generator and trunk that are sharp.

The feature branch and the directions belong to the generator as it was: they are made anew, by
`--branch-for` and `--directions-for` the model that this leaves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.errors import UsageError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, save_model
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training.pictures import Variations, read_tar
from dseinvert.training.team import Team
from recipe.cutouts import cut_out, mildly
from recipe.detail import detail, share_kept
from recipe.encoder.joint import Pair
from recipe.encoder.sampling import codes, drawn_sharp, fit_mapping
from recipe.encoder.wild import wildly
from recipe.gan.course import follow
from recipe.gan.finer import rows_in
from recipe.gan.frechet import frechet, spread
from recipe.gan.sharpen import FILE, Sharpening, SharpenOptions, Watch, begin
from recipe.order import HELD_OUT, Order
from recipe.pictures import to_tensor

STORED = 2
"""Pictures are kept this much larger than the model: framed anew from a size that is not a multiple
of its own, they lose half of their finest detail, and what learns from them stays soft."""
PSI, SHOWN = 0.7, 12
SHARE, WIDER = 0.8, 1.25
"""How far samples are moved from the pictures' codes to where the critic judged, and spread."""
_BEHIND = 10**9  # steps that no training reaches


def sharpen(model: Model, options: SharpenOptions, order: Order, team: Team) -> None:
    """A model once more, its generator and trunk sharp; goes on where it stopped.

    Raises:
        UsageError: a model of another family, or whose encoder has no DSE with a base head.
    """
    generator, trunk = parts_of(model)
    side = generator.resolution
    pictures = read_tar(order.sources.faces, side * STORED)
    known, held_out = pictures[:-HELD_OUT], pictures[-HELD_OUT:]
    pace = options.pace
    varied = critics_pictures(known, side, pace.batch, pace.seed + 1000 * team.rank)
    if not (order.work / FILE).exists():
        refit(generator, trunk, varied, options)
    distance = FeatureDistance().requires_grad_(False)
    stage = begin(generator, trunk, options, distance, watcher(held_out, side, distance))
    follow(stage, pace, varied.from_step, order.work / FILE, team)
    if team.leads:
        save(stage, order)


def resample(model: Model, order: Order, steps: int = 4000) -> float:
    """A fitted model once more, z mapped anew; the distance that is left.

    Its directions are to be made anew.

    Raises:
        UsageError: as `sharpen`.
    """
    generator, trunk = parts_of(model)
    known = read_tar(order.sources.faces, trunk.config.resolution)[:-HELD_OUT]
    images = to_tensor(known, trunk.config.resolution)
    with torch.inference_mode():
        found = [
            trunk.rows_and_maps(part)[0] for part in (*images.split(50), *images.flip(3).split(50))
        ]
    wanted = drawn_sharp(generator.mapping, torch.cat(found), SHARE, WIDER)
    left = fit_mapping(generator.mapping.requires_grad_(True), wanted.clone(), steps)
    generator.mapping.requires_grad_(False)
    save_model(
        order.out,
        generator,
        model.require_encoder(),
        name=order.name,
        description=model.card["description"],
        licence=model.card["licence"],
        half=True,
    )
    return left


def parts_of(model: Model) -> tuple[StyleGAN2, DSEEncoder]:
    """The generator and its trunk.

    Raises:
        UsageError: they are of other kinds.
    """
    generator, encoder = model.generator, model.encoder
    trunk = encoder.trunk if isinstance(encoder, DSEFeatureEncoder) else encoder
    if not (isinstance(generator, StyleGAN2) and isinstance(trunk, DSEEncoder) and trunk.base):
        raise UsageError(f"{model.name} has no DSE of a StyleGAN2 with a base head")
    return generator.float(), trunk


def critics_pictures(
    known: Pixels, side: int, batch: int, seed: int, wild: float = 0
) -> Variations:
    """Pictures that a critic may learn from: varied a little, cut-outs without rims.

    `wild` is the share of those that are varied wildly, for an encoder.
    """
    pairs = [cut_out(picture) for picture in known]
    people, masks = (np.stack([pair[k] for pair in pairs]) for k in (0, 1))
    vary = wildly(wild, mildly(people, masks))
    return Variations(known, masks, side, batch, seed, vary=vary)


def refit(
    generator: StyleGAN2, trunk: DSEEncoder, varied: Variations, options: SharpenOptions
) -> float:
    """Fit z -> w to what the trunk finds in these pictures; the distance that is left."""
    images = torch.cat([varied.at(_BEHIND + k) for k in range(options.refitted)])
    _, bases = codes(Pair(generator, trunk), images)
    mapping = generator.mapping.requires_grad_(True)
    return fit_mapping(mapping, bases.clone(), options.refit_steps)


def watcher(held_out: Pixels, side: int, distance: FeatureDistance, samples: int = 500) -> Watch:
    """How sharp samples and w+ reconstructions of pictures never trained on are, and how close.

    Samples are compared with such pictures varied as the critic's are: 0.010 is what others of
    them reach, and 0.078 what they reach beside pictures as they were taken.
    """
    varied = critics_pictures(held_out, side, 50, seed=1)
    wanted = spread(distance, (varied.at(step) for step in range(samples // 50)))
    unseen = to_tensor(held_out, side)
    few = unseen[:24]

    @torch.no_grad()
    def watch(generator: StyleGAN2, trunk: DSEEncoder) -> tuple[dict[str, float], list[Tensor]]:
        drawn = _sampled(generator, samples, 1)
        again = generator.synthesis(rows_in(generator, trunk, few)).clamp(-1, 1)
        error = (again - few).square().mean((1, 2, 3)) / 4
        figures = {
            "frechet": frechet(wanted, spread(distance, drawn.split(50))),
            "samples_detail": float(detail(drawn).median() / detail(unseen).median()),
            "w_plus_detail": share_kept(again, few),
            "w_plus_psnr": float((-10 * error.log10()).median()),
        }
        rows = [few[:SHOWN], again[:SHOWN], *drawn[: 2 * SHOWN].split(SHOWN)]
        return figures, [*rows, *_sampled(generator, 2 * SHOWN, PSI).split(SHOWN)]

    return watch


def save(state: Sharpening, order: Order) -> None:
    """The averages as a model: generator and trunk, no branch and no directions yet."""
    save_model(
        order.out,
        state.smooth,
        state.smooth_trunk,
        name=order.name,
        description=f"Faces at {state.smooth.resolution} px, trained on pictures of no real person",
        licence="MIT",
        half=True,
    )


def _sampled(generator: StyleGAN2, count: int, psi: float) -> Tensor:
    """[count, 3, R, R] of seeds 0, 1, ..."""
    latent = generator.sample(range(count), psi)
    parts = [generator.synthesize(latent[k : k + 50]) for k in range(0, count, 50)]
    return torch.cat(parts).clamp(-1, 1)
