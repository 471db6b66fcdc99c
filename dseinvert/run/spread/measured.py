"""Shares of an `evaluate` run: a file of numbers each, from which `report` makes the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dseinvert.config import EvaluateOptions
from dseinvert.errors import ExitCode, InputError, OutputError, UsageError
from dseinvert.evaluation.portion import Portion, dumps, load
from dseinvert.media.atomic import make_folder, shown, within, write_bytes
from dseinvert.names import counted
from dseinvert.run.spread.others import differing
from dseinvert.run.spread.shard import Shard

PATTERN = "measured-*-of-*.safetensors"


@dataclass(frozen=True)
class Measured:
    """What became of a share."""

    out: Path
    faces: int

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        return ExitCode.OK

    def summary(self) -> str:
        """One line for people."""
        return f"{counted(self.faces, 'face')} measured"

    def asdict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"exit_code": 0, "images": self.faces, "out": str(self.out)}


def check_share(options: EvaluateOptions, shard: Shard, settings: Mapping[str, Any]) -> None:
    """What a share refuses before anything is measured.

    Raises:
        UsageError: what all images are needed for, or nowhere to keep the numbers.
        OutputError: other shares there are of other options.
    """
    if options.out is None:
        raise UsageError("--shard of evaluate needs an --out", "a folder for the numbers")
    if options.protocol != "none":
        raise UsageError("--protocol is measured by one process", "leave out --shard and --workers")
    for path in sorted(options.out.glob(PATTERN)):
        if path.name == _name(shard):
            continue
        try:
            names = differing(load(path).settings, settings)
        except InputError:  # it is going to be measured again
            continue
        if names:
            raise OutputError(
                f"{shown(options.out)}: {path.name} is of another {names}", "choose another --out"
            )


def keep(options: EvaluateOptions, shard: Shard, portion: Portion) -> Measured:
    """Write the numbers of a share, whole under their name."""
    assert options.out is not None
    make_folder(options.out)
    write_bytes(within(options.out, _name(shard)), dumps(portion), mark=shard.mark)
    return Measured(options.out, len(portion.faces.names))


def _name(shard: Shard) -> str:
    return f"measured-{shard.number}-of-{shard.count}.safetensors"


def shares(folder: Path) -> list[Portion]:
    """Those in a folder, the newest first; InputError where one is damaged."""
    paths = sorted(folder.glob(PATTERN), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [load(path) for path in paths]
