"""The recipe of the bundled model: generator and encoder, then sampling, then directions."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dseinvert.encoders import Encoder
from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.errors import UsageError
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.media.atomic import write_bytes
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, generator_sha256, save_model
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training.pictures import Variations, foreground, read_tar
from recipe.encoder.branch import BranchOptions, begun, train_branch
from recipe.encoder.joint import JointOptions, Pair, encode, train_pair
from recipe.encoder.sampling import codes, set_sampling
from recipe.encoder.wild import wildly
from recipe.labels.attributes import find_directions
from recipe.order import HELD_OUT, Order
from recipe.pictures import to_tensor

STORED = 1.5
"""Pictures are kept this much larger than the model, so that framing can vary."""


def make_bundle(options: JointOptions, branch: BranchOptions, order: Order) -> None:
    """Everything, from the tars to the model folder; goes on where it stopped."""
    work = order.work
    work.mkdir(parents=True, exist_ok=True)
    pictures, masks = _pictures(order.sources.faces, int(options.resolution * STORED), work)
    known, unseen = pictures[:-HELD_OUT], to_tensor(pictures[-HELD_OUT:], options.resolution)

    def vary(batch: int, seed: int) -> Variations:
        return Variations(known, masks, options.resolution, batch, seed)

    def watch(pair: Pair, step: int) -> dict[str, float]:
        return watch_pair(pair, unseen, work, step)

    pair = train_pair(options, vary, work, FeatureDistance(), watch)
    pair.modules().eval().requires_grad_(False)
    images = to_tensor(known, options.resolution)
    rows, bases = codes(pair, torch.cat([images, images.flip(3)]))
    report: dict[str, object] = {"options": asdict(options)}
    report["mapping_distance"] = set_sampling(pair, bases, options.seed, options.mapping_steps)
    report["branch"] = asdict(branch)
    encoder = branched(pair.generator, pair.encoder, branch, known, masks, work)
    finish(pair.generator, encoder, images, rows[: len(images)], order, report)


def branch_bundle(model: Model, options: BranchOptions, order: Order) -> None:
    """A finished model once more, its DSE with a feature branch; goes on where it stopped.

    Raises:
        UsageError: a model of another family, or whose encoder is no DSE.
    """
    generator, trunk = model.generator, model.encoder
    if not (isinstance(generator, StyleGAN2) and isinstance(trunk, DSEEncoder)):
        raise UsageError(f"{model.name} has no DSE for a StyleGAN2", "name such a model")
    work = order.work
    work.mkdir(parents=True, exist_ok=True)
    pictures, masks = _pictures(order.sources.faces, int(generator.resolution * STORED), work)
    known = pictures[:-HELD_OUT]
    encoder = branched(generator, trunk, options, known, masks, work)
    directions_for(replace(model, encoder=encoder), order)


def directions_for(model: Model, order: Order) -> None:
    """A finished model once more, with directions found anew.

    Raises:
        UsageError: a model of another family, or without an encoder.
    """
    generator, encoder = model.generator, model.encoder
    if not isinstance(generator, StyleGAN2) or encoder is None:
        raise UsageError(f"{model.name} is no StyleGAN2 with an encoder", "name such a model")
    work, sources = order.work, order.sources
    work.mkdir(parents=True, exist_ok=True)
    pictures, _ = _pictures(sources.faces, int(generator.resolution * STORED), work)
    images = to_tensor(pictures[:-HELD_OUT], generator.resolution)
    with torch.inference_mode():
        rows = torch.cat([encoder.encode(part).code for part in images.split(50)])
    directions, report = find_directions(
        generator, encoder, images, rows, sources.labelled, sources.aged, model.sha256, order.effort
    )
    write_bytes(work / "directions.json", json.dumps(report, indent=2).encode())
    save_model(
        order.out,
        generator,
        encoder,
        directions,
        name=model.name,
        description=model.card["description"],
        licence=model.card["licence"],
        half=True,
        keep_generator=model.folder / "generator.safetensors",
    )


def branched(
    generator: StyleGAN2,
    trunk: DSEEncoder,
    options: BranchOptions,
    pictures: Pixels,
    masks: Pixels,
    work: Path,
) -> DSEFeatureEncoder:
    """The trunk with a trained feature branch; its losses go to `work`/branch.log."""
    side = generator.resolution
    vary = wildly(options.wild)
    varied = Variations(pictures, masks, side, options.batch, options.seed, vary=vary)

    def watch(encoder: DSEFeatureEncoder, step: int, losses: dict[str, float]) -> None:
        told = " ".join(f"{name} {value:.5f}" for name, value in losses.items())
        with (work / "branch.log").open("a") as log:
            log.write(f"step {step}: {told}\n")

    return train_branch(
        generator,
        trunk,
        options,
        varied.from_step(begun(work)),
        FeatureDistance().requires_grad_(False),
        work,
        watch,
    )


def finish(
    generator: StyleGAN2,
    encoder: Encoder,
    images: Tensor,
    rows: Tensor,
    order: Order,
    report: dict[str, object],
) -> None:
    """Find the directions and write the model folder, and `report` into the work folder.

    Args:
        images: [N, 3, R, R] that the generator has learned from.
        rows: [N, L, D], their codes.
        report: what is known of the model so far; the directions' quality is added.
    """
    sha256, sources = generator_sha256(generator, half=True), order.sources
    directions, report["directions"] = find_directions(
        generator, encoder, images, rows, sources.labelled, sources.aged, sha256, order.effort
    )
    write_bytes(order.work / "report.json", json.dumps(report, indent=2).encode())
    side = generator.resolution
    save_model(
        order.out,
        generator,
        encoder,
        directions,
        name=order.name,
        description=f"Faces at {side} px, trained on pictures of no real person",
        licence="MIT",
        half=True,
    )


def _pictures(tar: Path, side: int, work: Path) -> tuple[Pixels, Pixels]:
    cache = work / f"pictures-{side}.npz"
    if cache.exists():
        stored = np.load(cache)
        return stored["pictures"], stored["masks"]
    pictures = read_tar(tar, side)
    masks = np.stack([foreground(picture) for picture in pictures])
    np.savez(cache, pictures=pictures, masks=masks)
    return pictures, masks


@torch.inference_mode()
def watch_pair(pair: Pair, unseen: Tensor, work: Path, step: int) -> dict[str, float]:
    """Median PSNR on pictures never trained on, with W+ and with W alone; and a sheet of them."""
    side = pair.generator.resolution
    images = torch.nn.functional.interpolate(unseen, (side, side), mode="area")
    pair.modules().eval()
    row, sheet = {}, [images[:12]]
    for name, base_only in (("w_plus", False), ("w", True)):
        parts = images.split(50)
        drawn = torch.cat(
            [
                pair.generator.synthesis(
                    encode(pair, part, torch.full((len(part),), base_only), noise=0)[0]
                ).clamp(-1, 1)
                for part in parts
            ]
        )
        error = (drawn - images).square().mean((1, 2, 3)) / 4
        row[f"psnr_{name}"] = float((-10 * error.log10()).median())
        sheet.append(drawn[:12])
    grid = torch.cat([torch.cat(list(line), dim=2) for line in sheet], dim=1)
    (pixels,) = to_pixels(grid[None])
    cv2.imwrite(str(work / f"watch-{side}-{step:06d}.png"), pixels[..., ::-1])
    return row
