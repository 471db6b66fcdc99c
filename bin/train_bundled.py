"""The command line of bin/train-bundled; the recipe is in dseinvert.training.bundle."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from dseinvert.training.bundle import Sources, make_bundle
from dseinvert.training.joint import JointOptions

NUMBERS = ("images_half", "images_full", "batch", "lr", "feature_weight", "base_share", "seed")


def main() -> None:
    """Read the options and make the bundle; run again to go on after a stop."""
    parser = argparse.ArgumentParser(prog="bin/train-bundled")
    parser.add_argument("--data", type=Path, required=True, help="folder of the three tars")
    parser.add_argument("--work", type=Path, default=Path("runs/bundled"), help="checkpoints, logs")
    parser.add_argument("--out", type=Path, default=Path("dseinvert/bundled"))
    parser.add_argument("--name", default="faces-64")
    defaults = {field.name: field.default for field in fields(JointOptions)}
    for name in NUMBERS:
        default = defaults[name]
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    given = parser.parse_args()
    sources = Sources(
        given.data / "synthetic-faces-256.tar",
        given.data / "labelled-faces-178x218.tar",
        given.data / "aged-faces-200-tight.tar",
    )
    options = JointOptions(**{name: getattr(given, name) for name in NUMBERS})
    make_bundle(options, sources, given.work, given.out, given.name)


if __name__ == "__main__":
    main()
