"""The command line of bin/train-bundled.

--size 64 (bundle): generator and encoder together, on a CPU, in one go. --size 128 (stages): on a
GPU, in stages that stop after --minutes, move with --to and --from, and go on.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from dseinvert.errors import DseInvertError
from dseinvert.models import open_model, pick_device
from dseinvert.training.options import TrainOptions
from dseinvert.training.team import join
from recipe import stages
from recipe.bundle import branch_bundle, directions_for, make_bundle
from recipe.doubled import double, fit, polish, sharpen_branch
from recipe.encoder.branch import BranchOptions
from recipe.encoder.fine import FineOptions
from recipe.encoder.joint import JointOptions
from recipe.encoder.keener import KeenerOptions
from recipe.gan.course import Pace
from recipe.gan.finer import FinerOptions
from recipe.gan.gan_state import AdversarialOptions
from recipe.gan.sharpen import SharpenOptions
from recipe.order import Order, Sources
from recipe.sharp import resample, sharpen

JOINT = ("images_half", "images_full", "batch", "lr", "feature_weight", "base_share", "seed")
GAN = ("images", "batch", "lr", "r1", "ada_target", "path_length", "seed")
ENCODER_BATCH = 32
WIDTHS = (48, 96, 160, 224, 256, 256)
"""Encoder channels at 128, 64, ... 4 px: with the generator 23 MB in float16."""


def main() -> None:
    """Read the options and make the bundle; run again to go on after a stop."""
    parser = argparse.ArgumentParser(prog="bin/train-bundled", add_help=False, allow_abbrev=False)
    parser.add_argument("--size", type=int, choices=(64, 128), default=64)
    size, rest = parser.parse_known_args()
    try:
        {64: joint, 128: staged}[size.size](rest)
    except DseInvertError as error:
        print(f"bin/train-bundled: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def joint(words: Sequence[str]) -> None:
    """faces-64."""
    parser = common("faces-64", "runs/bundled")
    numbers(parser, JointOptions, JOINT)
    parser.add_argument(
        "--branch-for", metavar="MODEL", help="train only the feature branch, for this model"
    )
    parser.add_argument("--directions-for", metavar="MODEL", help="only the directions, anew")
    parser.add_argument(
        "--sharpen", metavar="MODEL", help="this model's generator and trunk against a critic"
    )
    parser.add_argument(
        "--double", metavar="MODEL", help="a block for twice the size of this sharpened model"
    )
    parser.add_argument(
        "--polish", metavar="MODEL", help="the last block of this fitted model, once more"
    )
    parser.add_argument(
        "--fit", metavar="MODEL", help="an encoder, begun anew, for this doubled model"
    )
    parser.add_argument(
        "--sharpen-branch", metavar="MODEL", help="the feature branch of this fitted model, deeper"
    )
    parser.add_argument(
        "--resample", metavar="MODEL", help="only z -> w of this fitted model, anew"
    )
    parser.add_argument(
        "--critic-images",
        type=int,
        default=Pace.images,
        help="for these stages but --resample",
    )
    given = parser.parse_args(words)
    if given.data is None:
        parser.error("--data is required")
    if given.sharpen or given.double or given.polish or given.fit or given.sharpen_branch:
        critically(given)
        return
    if given.resample:
        print(f"distance {resample(open_model(given.resample), ordered(given)):.4f}")
        return
    if given.directions_for:
        model = open_model(given.directions_for)
        directions_for(model, ordered(given))
        return
    if given.branch_for:
        model = open_model(given.branch_for)
        branch_bundle(model, BranchOptions(), ordered(given))
        return
    joint_options = JointOptions(**{name: getattr(given, name) for name in JOINT})
    make_bundle(joint_options, BranchOptions(), ordered(given))


def critically(given: argparse.Namespace) -> None:
    """The stages with a critic, on CPUs."""
    pace, order, team = Pace(given.critic_images, seed=given.seed), ordered(given), join()
    torch.set_num_threads(1)  # a process for each core is faster than a thread
    if given.sharpen:
        sharpen(open_model(given.sharpen), SharpenOptions(pace=pace), order, team)
    elif given.double:
        double(open_model(given.double), FinerOptions(pace=pace), order, team)
    elif given.polish:
        polish(open_model(given.polish), FinerOptions(pace=pace), order, team)
    elif given.sharpen_branch:
        model = open_model(given.sharpen_branch)
        sharpen_branch(model, KeenerOptions(pace=pace), order, team)
    else:
        fit(open_model(given.fit), FineOptions(pace=pace), order, team)


def staged(words: Sequence[str]) -> None:
    """faces-128."""
    parser = common("faces-128", "runs/faces-128")
    numbers(parser, AdversarialOptions, GAN)
    add = parser.add_argument
    add("--stage", choices=(*stages.STAGES, "all"), default="all")
    add("--minutes", type=float, default=math.inf, help="stop, ready to go on, after as many")
    add("--from", dest="source", type=Path, help="folder of pieces that a stage arrives in")
    add("--to", type=Path, help="folder for the pieces that it leaves in")
    add("--device", default="auto")
    add("--compile", action="store_true", help="torch.compile: minutes first, faster then")
    add("--encoder-images", type=int, default=400_000)
    given = parser.parse_args(words)
    given.ends = time.monotonic() + 60 * given.minutes
    for stage in stages.STAGES if given.stage == "all" else (given.stage,):
        if not run(stage, given, parser):
            print(f"{stage}: stopped; run the same command again to go on")
            break


def run(stage: str, given: argparse.Namespace, parser: argparse.ArgumentParser) -> bool:
    """One stage, with what it brings and takes along; True once it is complete."""
    if stage in ("prepare", "directions") and given.data is None:
        parser.error(f"--data is required for {stage}")
    arriving = {"adversarial": ("adversarial",), "encoder": ("encoder", "adversarial")}
    for name in arriving.get(stage, ()) if given.source else ():
        stages.arrive(name, given.work, given.source)
    complete = work_on(stage, given)
    if stage in stages.TRAVELS and given.to:
        stages.depart(stage, given.work, given.to)
    return complete


def work_on(stage: str, given: argparse.Namespace) -> bool:
    """The stage itself."""
    gan = AdversarialOptions(**{name: getattr(given, name) for name in GAN})
    work, device = given.work, pick_device(given.device)
    if stage == "adversarial":
        return stages.generator(gan, work, device, ends=given.ends, compiled=given.compile)
    if stage == "encoder":
        return stages.encoder(gan, encoder_options(given), work, device, ends=given.ends)
    if stage == "directions":
        stages.directions(gan, encoder_options(given), ordered(given))
    elif not (work / stages.KNOWN).exists():
        stages.prepare(ordered(given).sources.faces, work, gan.resolution)
    return True


def encoder_options(given: argparse.Namespace) -> TrainOptions:
    """Strategy 2 on samples of the generator and on the pictures it learned from."""
    return TrainOptions(
        iterations=given.encoder_images // ENCODER_BATCH,
        batch=ENCODER_BATCH,
        seed=given.seed,
        psi=1.0,
        cutoff=None,
        real=given.work / stages.KNOWN,
        perceptual="features",
        widths=WIDTHS,
        head="base",
    )


def common(name: str, work: str) -> argparse.ArgumentParser:
    """What both recipes can be told."""
    parser = argparse.ArgumentParser(prog="bin/train-bundled", epilog="--size 64 (default) or 128")
    parser.add_argument("--data", type=Path, help="folder of the three tars")
    parser.add_argument("--work", type=Path, default=Path(work), help="checkpoints, logs")
    parser.add_argument("--out", type=Path, default=Path("dseinvert/bundled"))
    parser.add_argument("--name", default=name)
    return parser


def numbers(parser: argparse.ArgumentParser, options: Any, names: Sequence[str]) -> None:
    """Add the fields `names` of a dataclass of options."""
    defaults = {field.name: field.default for field in fields(options)}
    for name in names:
        default = defaults[name]
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)


def ordered(given: argparse.Namespace) -> Order:
    """The three tars of --data, and where it all goes."""
    sources = Sources(
        given.data / "synthetic-faces-256.tar",
        given.data / "labelled-faces-178x218.tar",
        given.data / "aged-faces-200-tight.tar",
    )
    return Order(sources, given.work, given.out, given.name)


if __name__ == "__main__":
    main()
