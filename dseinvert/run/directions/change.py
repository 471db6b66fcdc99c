"""The `directions` runs: what a model has, other people's files, names, and strips of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dseinvert.cards import DIRECTIONS
from dseinvert.config import PreviewOptions
from dseinvert.editing.apply import apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import Edit, parse_strengths
from dseinvert.errors import ExitCode, UsageError
from dseinvert.latent import Latent
from dseinvert.media.atomic import make_folder, within, write_bytes
from dseinvert.media.images import encode_png
from dseinvert.media.sheet import sheet
from dseinvert.models import Model, open_model, pick_device
from dseinvert.models.attach import give, read_directions
from dseinvert.names import LONGEST, suggested
from dseinvert.progress import Watcher
from dseinvert.run.play.latents import draw, read_latents, some_latent_files
from dseinvert.run.play.sample import USUAL_PSI
from dseinvert.run.play.seeds import parse_seeds

LEAST = 96
"""Pixels of a picture in a strip."""
_NAME = re.compile(r"\w[\w.-]*")
_NUMBERED = re.compile(r"(pca|sefa)-\d+")
_RESERVED = ("class",)  # of --edit class=NUMBER


@dataclass(frozen=True)
class Given:
    """What a model has been given."""

    model: str
    folder: Path
    directions: tuple[Direction, ...]
    notes: tuple[str, ...] = ()
    previews: tuple[Path, ...] = ()

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "model": self.model,
            "folder": str(self.folder),
            "directions": [describe(direction) for direction in self.directions],
            "notes": list(self.notes),
            "previews": [str(path) for path in self.previews],
        }


def describe(direction: Direction) -> dict[str, Any]:
    """All that is known of a direction, ready for JSON."""
    return {
        "name": direction.name,
        "unit": direction.unit,
        "space": direction.space,
        "layers": list(direction.layers) if direction.layers else None,
        "learned": direction.learned,
        "shape": list(direction.vector.shape),
        "norm": round(float(direction.vector.norm()), 6),
        "generator": direction.generator,
        "encoder": direction.encoder,
    }


def pick(model: Model, name: str) -> Direction:
    """UsageError where a model has no direction of that name."""
    if name not in model.directions:
        known = ", ".join(sorted(model.directions)) or "none"
        raise UsageError(
            f"{model.name} has no direction {name!r}",
            suggested(name, model.directions, f"it has: {known}"),
        )
    return model.directions[name]


def check_new(model: Model, names: Sequence[str], *, overwrite: bool = False) -> None:
    """UsageError where a name cannot be written in --edit, or is taken."""
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > LONGEST or name in _RESERVED:
            raise UsageError(
                f"a direction cannot be named {name!r}", "letters, digits, . _ - and not class"
            )
        if name in model.directions and not overwrite:
            raise UsageError(
                f"{model.name} has a direction {name!r} already",
                "choose another --name, or remove or rename that one",
            )


def import_file(path: Path, model: Model, name: str = "", copy: str = "") -> Given:
    """Give a model the directions in a file of this program or another.

    Args:
        path: the file, or the folder of another model that has some.
        model: whose generator they belong to.
        name: what to call the one it holds, or before the names or numbers of several; "" = as
            it does.
        copy: the name of a copy of the model that gets them; "" = the model itself.

    Raises:
        UsageError: a name that is taken, or the model is the bundled one.
        InputError: no directions, or of another generator, space or shape.
    """
    file = path / DIRECTIONS if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"{path}: no directions here", "name a file, or a model that has some")
    (kind, *notes), found = read_directions(file, model)
    called = _called(name, [*found]) if name else [*found]
    check_new(model, called)
    own = {
        new: replace(one, name=new, learned=one.learned or kind)
        for new, one in zip(called, found.values(), strict=True)
    }
    given, folder = give(model, {**model.directions, **own}, copy)
    return Given(given, folder, tuple(own.values()), (kind, *notes))


def _called(name: str, theirs: Sequence[str]) -> list[str]:
    """Names for several directions: a name and theirs, or a number where they have but numbers."""
    if len(theirs) == 1:
        return [name]
    if all(_NUMBERED.fullmatch(one) for one in theirs):
        return [f"{name}{place}" for place in range(len(theirs))]
    return [f"{name}-{one}" for one in theirs]


def rename(model: Model, old: str, new: str, copy: str = "") -> Given:
    """Call a direction otherwise."""
    old_one = pick(model, old)
    check_new(model, [new])
    direction = replace(old_one, name=new)
    kept = {new if name == old else name: d for name, d in model.directions.items()}
    given, folder = give(model, {**kept, new: direction}, copy)
    return Given(given, folder, (direction,))


def remove(model: Model, names: Sequence[str], copy: str = "") -> Given:
    """Take directions away."""
    gone = tuple(pick(model, name) for name in dict.fromkeys(names))
    kept = {name: d for name, d in model.directions.items() if name not in names}
    given, folder = give(model, kept, copy)
    return Given(given, folder, gone)


def preview(
    names: Sequence[str], options: PreviewOptions, watcher: Watcher
) -> tuple[list[Path], ExitCode]:
    """Write a strip for each of some directions of a model, or of all: OUT/NAME.png.

    Latent files that hold none of this model's are told, and passed over.

    Raises:
        UsageError: a direction it does not have, or options that do not fit it.
    """
    strengths = parse_strengths(options.strengths)
    found = some_latent_files(options.latents) if options.latents else None
    model = open_model(options.model, pick_device(options.device))
    chosen = {name: pick(model, name) for name in names or sorted(model.directions)}
    if not chosen:
        raise UsageError(f"{model.name} has no directions", "dseinvert directions learn")
    if found is not None:
        read = read_latents(found, model, watcher)
        rows = [one.latent for one in read.latents]
        code = ExitCode.SOME_FAILED if read.problems else ExitCode.OK
    else:
        rows = samples(model, parse_seeds(options.seeds), options.psi, options.label)
        code = ExitCode.OK
    return strips(model, chosen, rows, strengths, options.out), code


def samples(
    model: Model, seeds: Sequence[int], psi: float | None, label: int | None
) -> list[Latent]:
    """A latent for each seed; psi None = as `dseinvert sample` draws.

    Raises:
        UsageError: a truncation or class that the generator does not have.
    """
    generator = model.generator
    if psi is None:
        psi = USUAL_PSI if generator.truncates else 1.0
    if psi != 1 and not generator.truncates:
        raise UsageError(f"--psi {psi:g}: {model.name} has no truncation", "leave it out")
    model.check_label(label)
    with torch.inference_mode():
        return [
            generator.sample([seed], psi, labels=None if label is None else [label])
            for seed in seeds
        ]


def strips(
    model: Model,
    directions: Mapping[str, Direction],
    rows: Sequence[Latent],
    strengths: Sequence[float],
    out: Path,
) -> list[Path]:
    """Write NAME.png for each direction: a row for each latent, a column for each strength."""
    make_folder(out)
    written = []
    for name, direction in directions.items():
        lines = [_line(model, direction, row, strengths) for row in rows]
        across = [f"{name} {strength:+g}" if strength else name for strength in strengths]
        written.append(within(out, f"{name}.png"))
        write_bytes(written[-1], encode_png(sheet(lines, across, LEAST)))
    return written


def _line(
    model: Model, direction: Direction, latent: Latent, strengths: Sequence[float]
) -> list[Any]:
    with torch.inference_mode():
        latent = latent.to(model.generator.device)
        steps = ([Edit(direction, strength)] if strength else [] for strength in strengths)
        edited = [apply_edits(latent, step, model.generator) for step in steps]
    return [draw(model, [one], 1)[0] for one in edited]
