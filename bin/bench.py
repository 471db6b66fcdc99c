"""The command line of bin/bench: what the project claims, measured on this machine.

Markdown tables go to stdout, progress to stderr, and everything to --out as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import get_args

import torch

from dseinvert.errors import DseInvertError
from dseinvert.inversion.spaces import SPACES
from dseinvert.media.atomic import write_bytes
from dseinvert.similarity.weights import Perceptual
from measure.ablating import ablating
from measure.backends import backends
from measure.edits import edits
from measure.entanglement import entanglement
from measure.inversion import inversion
from measure.overlap import overlap
from measure.parity import parity
from measure.pivotal import pivotal
from measure.refining import refining
from measure.spaces import STARTS, spaces
from measure.speed import speed
from measure.synthesis import synthesis
from measure.tables import Table, document
from measure.trust import trust
from measure.video import video

VERBS = {
    "inversion": (inversion, "the encoder beside the mean latent and W+ optimisation"),
    "spaces": (spaces, "what each space of --refine latent reconstructs, and how it bears edits"),
    "refining": (refining, "what tuning the encoder to each image gains, and its cost"),
    "ablating": (ablating, "what attentions and SSIM gain in training, with the spread of seeds"),
    "pivotal": (pivotal, "what tuning the generator gains, its cost, and how edits bear it"),
    "edits": (edits, "how far edits move held-out scorers, and whom they leave"),
    "entanglement": (entanglement, "what each direction moves besides its own, and whom it leaves"),
    "speed": (speed, "`images` from end to end beside the bare networks"),
    "synthesis": (synthesis, "how fast StyleGAN2 draws, beside what the machine could"),
    "backends": (backends, "how fast each runtime encodes and draws, beside PyTorch"),
    "parity": (parity, "how far exported files are from PyTorch"),
    "video": (video, "how steady edited clips are, beside each frame by itself"),
    "overlap": (overlap, "`video` with its parts beside each other, and one after another"),
    "scorers": (trust, "how far the scorers can be trusted"),
}


def main() -> None:
    """Measure one thing."""
    given = arguments().parse_args()
    try:
        tables = VERBS[given.verb][0](given)
        print(document(tables))
        if given.out:
            write_bytes(given.out, report(given, tables))
    except DseInvertError as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def arguments() -> argparse.ArgumentParser:
    """The options of every verb."""
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, (_, what) in VERBS.items():
        add = verbs.add_parser(name, help=what, description=what).add_argument
        if name == "synthesis":
            add("--resolution", type=int, default=256)
            add("--channel-base", type=int, action="append", help="default: 16384 and 32768")
            add("--batch", type=int, action="append", help="default: 1 and 8")
            add("--rounds", type=int, default=5)
            add("--out", type=Path, help="JSON file for the numbers")
            add("--device", default="auto")
            continue
        if name == "parity":
            add("--model", action="append", help="one of the table; default: all")
            add("--out", type=Path, help="JSON file for the numbers")
            continue
        if name == "backends":
            add("--model", action="append", help="or a resolution, for random weights; repeated")
            add("--batch", type=int, action="append", help="default: 1 and 8")
            add("--rounds", type=int, default=5)
            add("--way", type=way, action="append", help="as onnx-fp32; default: all there are")
            add("--without-compile", action="store_true", help="leave out torch.compile")
            add("--out", type=Path, help="JSON file for the numbers")
            add("--device", default="auto")
            continue
        add("--data", type=Path, default=Path("../shared/data"), help="folder of sets and scorers")
        if name == "video":
            add("--clips", type=Path, help="folder of clips; default: videos in --data")
            add("--seconds", type=Fraction, help="of each clip; default: all of it")
            add("--edit", default="age=+2", metavar="NAME=STRENGTH[,...]")
            add("--refine", default="none", help="as of video, both ways")
            add("--work", type=Path, help="folder to keep the videos in; default: a temporary one")
            add("--strips", type=Path, help="folder for neighbouring frames of all, as PNG")
            add("--model", default="default", metavar="NAME|PATH")
            add("--out", type=Path, help="JSON file for the numbers")
            add("--device", default="auto")
            continue
        if name == "overlap":
            add("--clips", type=Path, help="folder of clips; default: videos in --data")
            add("--seconds", type=Fraction, help="of each clip; default: all of it")
            add("--edit", default="age=+2", metavar="NAME=STRENGTH[,...]")
            add("--rounds", type=int, default=5)
            add("--backend", default="torch")
            add("--model", default="default", metavar="NAME|PATH")
            add("--out", type=Path, help="JSON file for the numbers")
            add("--device", default="auto")
            continue
        add("--count", type=int, help="images of each set; default: all real, 250 synthetic")
        add("--out", type=Path, help="JSON file for the numbers")
        add("--device", default="auto")
        if name == "scorers":
            continue
        add("--model", default="default", metavar="NAME|PATH")
        if name in ("inversion", "spaces", "edits", "entanglement"):
            add("--real", type=Path, help="tar of photos; default: the validation set in --data")
            add("--batch", type=int, default=16)
        if name == "entanglement":
            add("--equal", type=float, action="append", help="units of our edit; default: 1 and 2")
        if name == "inversion":
            add("--steps", type=int, action="append", help="of optimisation; default: 100 and 500")
            add("--lr", type=float, help="of optimisation; default: the best on other samples")
        if name == "ablating":
            add("--real", type=Path, help="tar of photos; default: the validation set in --data")
            add("--iterations", type=int, default=60, help="of each training")
            add("--batch", type=int, default=8, help="of each training")
            add("--seeds", type=int, default=3)
            add("--widths", default="16,32,48,64,96", help="of the encoder, as of train")
            add("--perceptual", choices=get_args(Perceptual), default="none")
        if name == "pivotal":
            add("--real", type=Path, help="tar of photos; default: the validation set in --data")
            add("--batch", type=int, default=4)
            add("--refine", action="append", help="as of images; default: three")
            add("--all-weights", action="append", choices=("all", "late"), help="besides; slow")
            add("--steps", type=int, default=100, help="of --all-weights")
            add("--edit", default="age=+2", metavar="NAME=STRENGTH[,...]")
        if name == "spaces":
            add("--steps", type=int, default=100, help="of optimisation")
            add("--space", action="append", choices=SPACES, help="default: all")
            add("--start", action="append", choices=STARTS, help="default: both")
            add("--also", action="append", metavar="SPACE:OPTION=VALUE[,...]")
            add("--lr", type=float, help="in deviations a step")
            add("--hold", type=float, help="weight that keeps F where it began")
            add("--dense", type=float, help="weight of P_N")
            add("--perceptual", choices=get_args(Perceptual), default="none")
            add("--strength", type=float, action="append", help="of edits; default: 1.5 and 3")
        if name == "edits":
            add("--edit", action="append", required=True, metavar="NAME=STRENGTH[,...]")
            add("--grid", type=Path, help="PNG; default: beside --out, or edits.png")
        if name == "refining":
            add("--real", type=Path, help="tar of photos; default: the validation set in --data")
            add("--batch", type=int, default=8)
            add("--steps", type=int, default=100, help="of tuning")
            add("--optimise", type=int, default=500, help="steps in w+ beside it; 0 = none")
            add("--lr", type=float, default=0.1, help="of optimisation")
            add("--published", action="store_true", help="also as published, which is slow")
            add("--throughput", action="store_true", help="images a minute alone")
            add("--ablate", action="store_true", help="what attentions and SSIM are good for")
        if name == "speed":
            add("--rounds", type=int, default=5)
    return parser


def way(text: str) -> tuple[str, str]:
    """`onnx-int8` -> ("onnx", "int8")."""
    name, _, precision = text.partition("-")
    return name, precision


def report(given: argparse.Namespace, tables: list[Table]) -> bytes:
    """The bytes of the JSON file."""
    found = {
        "command": {name: str(value) for name, value in vars(given).items() if value is not None},
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "torch": torch.__version__,
        },
        "tables": [asdict(table) for table in tables],
    }
    return (json.dumps(found, indent=2) + "\n").encode()


if __name__ == "__main__":
    main()
