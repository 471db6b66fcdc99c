"""The command line of bin/bench: what the project claims, measured on this machine.

Markdown tables go to stdout, progress to stderr, and everything to --out as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict

import torch

from dseinvert.errors import DseInvertError
from dseinvert.media.atomic import write_bytes
from measure import (
    ablating,
    backends,
    card,
    edits,
    entanglement,
    inversion,
    overlap,
    parity,
    pivotal,
    refining,
    scale,
    spaces,
    speed,
    synthesis,
    trust,
    video,
)
from measure.tables import Table, document

VERBS = {
    "inversion": inversion.VERB,
    "spaces": spaces.VERB,
    "refining": refining.VERB,
    "ablating": ablating.VERB,
    "pivotal": pivotal.VERB,
    "edits": edits.VERB,
    "card": card.VERB,
    "entanglement": entanglement.VERB,
    "speed": speed.VERB,
    "synthesis": synthesis.VERB,
    "backends": backends.VERB,
    "parity": parity.VERB,
    "video": video.VERB,
    "overlap": overlap.VERB,
    "scorers": trust.VERB,
    "scale": scale.VERB,
}


def main() -> None:
    """Measure one thing."""
    given = arguments().parse_args()
    try:
        tables = VERBS[given.verb].measure(given)
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
    for name, verb in VERBS.items():
        verb.options(verbs.add_parser(name, help=verb.about, description=verb.about))
    return parser


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
