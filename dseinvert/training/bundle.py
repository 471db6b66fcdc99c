"""The recipe of the bundled model: generator and encoder, then sampling, then directions."""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.editing.directions import Direction
from dseinvert.editing.discover import calibrate, regress
from dseinvert.encoders import Encoder
from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder
from dseinvert.errors import UsageError
from dseinvert.generators.stylegan2 import StyleGAN2
from dseinvert.latent import Latent, concat
from dseinvert.media.atomic import write_bytes
from dseinvert.models import Model, generator_sha256, save_model
from dseinvert.similarity.features import FeatureDistance
from dseinvert.training import branch
from dseinvert.training.branch import BranchOptions
from dseinvert.training.joint import JointOptions, Pair, encode, fit_mapping, train
from dseinvert.training.pictures import Pixels, Variations, foreground, read_tar
from dseinvert.training.scorers import FACE, FaceFeatures, Scorer, appearance, fit_scorer, relit

HELD_OUT = 250
"""The last pictures of the tar are never trained on."""
STORED = 1.5
"""Pictures are kept this much larger than the model, so that framing can vary."""
CELEBA_TO_FFHQ = (3, 30, 175, 202)
"""Left, top, right, bottom of the FFHQ framing in CelebA's 178x218 crop."""
RELIT = 2
"""Copies of the aged pictures in other light, for the scorer of age."""
CALIBRATION_SEEDS = range(20_000_000, 20_000_300)
CALIBRATION_PICTURES = 300
"""The first ones, inverted, show how far an edit moves a score."""


@dataclass(frozen=True)
class Sources:
    """The tars the bundled model is made from."""

    faces: Path
    """Aligned pictures; the only ones whose pixels the networks learn."""
    labelled: Path
    """CelebA's aligned pictures with attributes.csv: teaches the scorers of directions."""
    aged: Path
    """Tight face crops with ages.csv: teaches the scorer of age."""


def make_bundle(options: JointOptions, sources: Sources, work: Path, out: Path, name: str) -> None:
    """Everything, from the tars to the model folder `out`; goes on where `work` stopped."""
    work.mkdir(parents=True, exist_ok=True)
    pictures, masks = _pictures(sources.faces, int(options.resolution * STORED), work)
    known, unseen = pictures[:-HELD_OUT], to_tensor(pictures[-HELD_OUT:], options.resolution)

    def vary(batch: int, seed: int, wild: float = 0) -> Variations:
        return Variations(known, masks, options.resolution, batch, seed, wild=wild)

    def watch(pair: Pair, step: int) -> dict[str, float]:
        return watch_pair(pair, unseen, work, step)

    pair = train(options, vary, work, FeatureDistance(), watch)
    pair.modules().eval().requires_grad_(False)
    images = to_tensor(known, options.resolution)
    rows, bases = codes(pair, torch.cat([images, images.flip(3)]))
    report: dict[str, object] = {"options": asdict(options)}
    report["mapping_distance"] = set_sampling(pair, bases, options.seed)
    numbers = BranchOptions()
    report["branch"] = asdict(numbers)
    encoder = branched(pair.generator, pair.encoder, numbers, known, masks, work)
    finish(pair.generator, encoder, images, rows[: len(images)], sources, work, out, name, report)


def branch_bundle(
    model: Model, sources: Sources, options: BranchOptions, work: Path, out: Path
) -> None:
    """A finished model once more in `out`, its DSE with a feature branch; goes on where it stopped.

    Raises:
        UsageError: a model of another family, or whose encoder is no DSE.
    """
    generator, trunk = model.generator, model.encoder
    if not (isinstance(generator, StyleGAN2) and isinstance(trunk, DSEEncoder)):
        raise UsageError(f"{model.name} has no DSE for a StyleGAN2", "name such a model")
    work.mkdir(parents=True, exist_ok=True)
    pictures, masks = _pictures(sources.faces, int(generator.resolution * STORED), work)
    known = pictures[:-HELD_OUT]
    encoder = branched(generator, trunk, options, known, masks, work)
    directions = recalibrated(model, encoder, to_tensor(known, generator.resolution), sources)
    save_model(
        out,
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
    varied = Variations(pictures, masks, side, options.batch, options.seed, wild=options.wild)

    def watch(encoder: DSEFeatureEncoder, step: int, losses: dict[str, float]) -> None:
        told = " ".join(f"{name} {value:.5f}" for name, value in losses.items())
        with (work / "branch.log").open("a") as log:
            log.write(f"step {step}: {told}\n")

    return branch.train(
        generator,
        trunk,
        options,
        varied.from_step(branch.begun(work)),
        FeatureDistance().requires_grad_(False),
        work,
        watch,
    )


def finish(
    generator: StyleGAN2,
    encoder: Encoder,
    images: Tensor,
    rows: Tensor,
    sources: Sources,
    work: Path,
    out: Path,
    name: str,
    report: dict[str, object],
) -> None:
    """Find the directions and write the model folder `out`, and `report` into `work`.

    Args:
        images: [N, 3, R, R] that the generator has learned from.
        rows: [N, L, D], their codes.
        report: what is known of the model so far; the directions' quality is added.
    """
    directions, report["directions"] = find_directions(generator, encoder, images, rows, sources)
    write_bytes(work / "report.json", json.dumps(report, indent=2).encode())
    side = generator.resolution
    save_model(
        out,
        generator,
        encoder,
        directions,
        name=name,
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


def to_tensor(pictures: Pixels, side: int) -> Tensor:
    """uint8 [N, S, S, 3] -> [N, 3, side, side] in [-1, 1]."""
    small = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.inference_mode()
def codes(pair: Pair, images: Tensor, batch: int = 64) -> tuple[Tensor, Tensor]:
    """[N, 3, R, R] -> (w+ rows [N, L, D], base codes in w [N, D])."""
    rows, bases = [], []
    for part in images.split(batch):
        full, taps = encode(pair, part, torch.zeros(len(part), dtype=torch.bool), noise=0)
        rows.append(full)
        bases.append((full - taps)[:, 0])
    return torch.cat(rows), torch.cat(bases)


def set_sampling(pair: Pair, bases: Tensor, seed: int, steps: int = 4000) -> float:
    """Fit the mapping network to the base codes and move the encoder's origin to its mean."""
    distance = fit_mapping(pair.generator.mapping.requires_grad_(True), bases.clone(), steps, seed)
    pair.generator.mapping.requires_grad_(False)
    mean, encoder = pair.generator.mapping.w_avg, pair.encoder
    assert encoder.base is not None
    with torch.no_grad():  # the same codes, now as offsets from the generator's mean latent
        encoder.base.bias.add_(encoder.w_avg - mean)
        encoder.w_avg.copy_(mean)
    return distance


def find_directions(
    generator: StyleGAN2, encoder: Encoder, images: Tensor, rows: Tensor, sources: Sources
) -> tuple[dict[str, Direction], dict[str, dict[str, float]]]:
    """Directions from scorers applied to the pictures whose codes are `rows`."""
    features = FaceFeatures(round(images.shape[-1] * (FACE[2] - FACE[0])))
    seen = features(images, FACE)
    scorers, quality = _scorers(features, images, seen, sources)
    inverted = _inverted(encoder, images)
    scores = torch.stack([score.of(seen) for score in scorers.values()], dim=1)
    # Appearance is regressed out: what a light or a pale print does is no part of an attribute.
    vectors = regress(rows, torch.cat([scores, appearance(images)], dim=1))
    sha256 = generator_sha256(generator, half=True)
    directions: dict[str, Direction] = {}
    for (name, score), vector in zip(scorers.items(), vectors, strict=False):
        factor = calibrate(generator, vector, score, CALIBRATION_SEEDS, inverted=inverted)
        quality[name] |= {"calibration": factor, "deviation": float(scores.std(0)[len(directions)])}
        unit = f"one standard deviation of {name} over the generator's samples"
        directions[name] = Direction(name, vector * factor, "w+", unit, sha256)
    return directions, quality


def recalibrated(
    model: Model, encoder: Encoder, images: Tensor, sources: Sources
) -> dict[str, Direction]:
    """The model's directions with the same units for pictures that `encoder` has inverted."""
    features = FaceFeatures(round(images.shape[-1] * (FACE[2] - FACE[0])))
    scorers, _ = _scorers(features, images, features(images, FACE), sources)
    inverted = _inverted(encoder, images)
    directions = {}
    for name, old in model.directions.items():
        score = scorers[name]
        seeds = CALIBRATION_SEEDS
        factor = calibrate(model.generator, old.vector, score, seeds, inverted=inverted)
        directions[name] = replace(old, vector=old.vector * factor)
    return directions


@torch.inference_mode()
def _inverted(encoder: Encoder, images: Tensor) -> Latent:
    return concat([encoder.encode(part) for part in images[:CALIBRATION_PICTURES].split(50)])


def _scorers(
    features: FaceFeatures, images: Tensor, seen: Tensor, sources: Sources
) -> tuple[dict[str, Scorer], dict[str, dict[str, float]]]:
    """Scorers of the five attributes; `seen` are the features of `images`."""
    aged, table = read_labelled(sources.aged, "ages.csv")
    versions = [features(aged), *(features(relit(aged, seed)) for seed in range(RELIT))]
    fits = {"age": fit_scorer(features, versions, table["age_years"])}
    portraits, table = read_labelled(sources.labelled, "attributes.csv", CELEBA_TO_FFHQ)
    versions = [features(p, FACE) for p in (portraits, relit(portraits, RELIT))]
    for name, column in (("smile", "Smiling"), ("gender", "Male"), ("eyeglasses", "Eyeglasses")):
        fits[name] = fit_scorer(features, versions, table[column])
    fits["pose"] = fit_scorer(features, [seen], yaw(images))
    quality = {name: {"scorer_correlation": fit[1]} for name, fit in fits.items()}
    return {name: fit[0] for name, fit in fits.items()}, quality


def read_labelled(
    tar: Path, table: str, crop: Sequence[int] | None = None, side: int = 128
) -> tuple[Tensor, dict[str, NDArray[np.float64]]]:
    """Pictures [N, 3, side, side] of a tar and the columns of the table that lies beside them."""
    with tarfile.open(tar) as file:
        member = next(m for m in file if Path(m.name).name == table)
        stream = file.extractfile(member)
        assert stream is not None
        rows = sorted(
            csv.DictReader(stream.read().decode().splitlines()), key=lambda row: row["file"]
        )
    pictures = read_tar(tar, side, crop)
    if len(rows) != len(pictures):
        raise ValueError(f"{tar}: {len(pictures)} pictures, {len(rows)} rows in {table}")
    names = [name for name in rows[0] if name != "file"]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in names}
    return to_tensor(pictures, side), columns


def yaw(images: Tensor) -> NDArray[np.float64]:
    """How far the face is turned: the nose's offset between the eyes, in eye distances [N].

    Pictures without a detected face score the mean.
    """
    from dseinvert.faces.detect import open_detector

    detector = open_detector("embedded")
    found = []
    for image in images:
        pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        faces = detector.detect(cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_CUBIC))
        points = faces[0].points if faces else np.full((5, 2), np.nan)
        left, right, nose = points[:3]
        found.append((nose[0] - (left[0] + right[0]) / 2) / np.linalg.norm(right - left))
    turned = np.array(found, dtype=np.float64)
    return np.where(np.isnan(turned), np.nanmean(turned), turned)


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
    pixels = ((grid.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    cv2.imwrite(str(work / f"watch-{side}-{step:06d}.png"), pixels[..., ::-1])
    return row
