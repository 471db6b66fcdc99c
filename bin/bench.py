"""The command line of bin/bench: what the project claims, measured on this machine.

Markdown tables go to stdout, progress to stderr, and everything to --out as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from measure.backends import backends
from measure.edits import edits
from measure.inversion import inversion
from measure.parity import parity
from measure.speed import speed
from measure.synthesis import synthesis
from measure.tables import Table, document
from measure.trust import trust

from dseinvert.errors import DseInvertError
from dseinvert.media.atomic import write_bytes

VERBS = {
    "inversion": (inversion, "the encoder beside the mean latent and W+ optimisation"),
    "edits": (edits, "how far edits move held-out scorers, and whom they leave"),
    "speed": (speed, "`images` from end to end beside the bare networks"),
    "synthesis": (synthesis, "how fast StyleGAN2 draws, beside what the machine could"),
    "backends": (backends, "how fast each runtime encodes and draws, beside PyTorch"),
    "parity": (parity, "how far exported files are from PyTorch"),
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
        add("--count", type=int, help="images of each set; default: all real, 250 synthetic")
        add("--out", type=Path, help="JSON file for the numbers")
        add("--device", default="auto")
        if name == "scorers":
            continue
        add("--model", default="default", metavar="NAME|PATH")
        if name in ("inversion", "edits"):
            add("--real", type=Path, help="tar of photos; default: the validation set in --data")
            add("--batch", type=int, default=16)
        if name == "inversion":
            add("--steps", type=int, action="append", help="of optimisation; default: 100 and 500")
            add("--lr", type=float, help="of optimisation; default: the best on other samples")
        if name == "edits":
            add("--edit", action="append", required=True, metavar="NAME=STRENGTH[,...]")
            add("--grid", type=Path, help="PNG; default: beside --out, or edits.png")
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
