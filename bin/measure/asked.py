"""A measurement as bin/bench offers it, and the options that several of them share."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dseinvert.errors import NoInputError
from measure.tables import Table


@dataclass(frozen=True)
class Verb:
    """One measurement."""

    about: str
    """What it shows, for the help."""
    options: Callable[[ArgumentParser], None]
    """Adds the options that it reads."""
    measure: Callable[[Namespace], list[Table]]


def data(parser: ArgumentParser) -> None:
    """--data."""
    default = Path("../shared/data")
    parser.add_argument("--data", type=Path, default=default, help="folder of sets and scorers")


def out(parser: ArgumentParser) -> None:
    """--out."""
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")


def device(parser: ArgumentParser) -> None:
    """--device."""
    parser.add_argument("--device", default="auto")


def model(parser: ArgumentParser) -> None:
    """--model."""
    parser.add_argument("--model", default="default", metavar="NAME|PATH")


def sets(parser: ArgumentParser) -> None:
    """How many images are measured, beside where they and the numbers lie."""
    data(parser)
    words = "images of each set; default: all real, 250 synthetic"
    parser.add_argument("--count", type=int, help=words)
    out(parser)
    device(parser)


def faces(parser: ArgumentParser) -> None:
    """A model, and the images that it is measured on."""
    sets(parser)
    model(parser)


def real(parser: ArgumentParser) -> None:
    """--real."""
    words = "tar of photos; default: the validation set in --data"
    parser.add_argument("--real", type=Path, help=words)


def photos(parser: ArgumentParser, batch: int) -> None:
    """A model and the photos that it is measured on, `batch` at once by default."""
    faces(parser)
    real(parser)
    parser.add_argument("--batch", type=int, default=batch)


def edit(parser: ArgumentParser) -> None:
    """--edit, of which there is one."""
    parser.add_argument("--edit", default="age=+2", metavar="NAME=STRENGTH[,...]")


def clips(parser: ArgumentParser) -> None:
    """The clips, and what is done to them."""
    data(parser)
    parser.add_argument(
        "--clips", type=Path, help="folder of clips, or one; default: videos in --data"
    )
    parser.add_argument("--seconds", type=Fraction, help="of each clip; default: all of it")
    edit(parser)


def clips_of(given: Namespace) -> list[Path]:
    """The clips that --clips or --data name; NoInputError where there are none."""
    where = given.clips or given.data / "videos"
    clips = [where] if where.is_file() else sorted(p for p in where.glob("*") if p.is_file())
    if not clips:
        raise NoInputError("no clips", "name their folder with --clips")
    return clips


def ends(parser: ArgumentParser) -> None:
    """What measurements of clips end with."""
    model(parser)
    out(parser)
    device(parser)
