"""The `mix` run: rows of some latents put into others, as files and as one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dseinvert.config import MixOptions
from dseinvert.editing.blend import mixed, parse_rows
from dseinvert.errors import ExitCode
from dseinvert.latent import dumps
from dseinvert.media.images import encode_png
from dseinvert.media.sheet import sheet
from dseinvert.models import open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.play.latents import Named, draw, read_latents, some_latent_files
from dseinvert.run.play.place import Place

SHEET, LEAST = "mix.png", 64


@dataclass(frozen=True)
class Mixes:
    """What was written."""

    out: Path
    names: tuple[str, ...]
    problems: tuple[str, ...] = ()
    """A line for each latent file that was passed over."""

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        return ExitCode.SOME_FAILED if self.problems else ExitCode.OK

    def asdict(self) -> dict[str, object]:
        """Ready for JSON."""
        files = [f"{name}{suffix}" for name in self.names for suffix in (".png", ".safetensors")]
        told = {"problems": [*self.problems]} if self.problems else {}
        code = int(self.exit_code)
        return {"out": str(self.out), "exit_code": code, "files": [*files, SHEET], **told}


def run_mix(
    bases: Sequence[str], others: Sequence[str], options: MixOptions, watcher: Watcher
) -> Mixes:
    """Every latent that `bases` means with rows of every one that `others` means.

    Files that hold none of this model's are told, and passed over.

    Raises:
        DseInvertError: latents that cannot be mixed, or the output cannot be written.
    """
    files = [some_latent_files(some) for some in (bases, others)]
    model = open_model(options.model, pick_device(options.device))
    rows = parse_rows(options.layers, model.generator.spec.layers)
    read = [read_latents(some, model, watcher) for some in files]
    first, second = (one.latents for one in read)
    place = Place.made(options.out)
    watcher.begin("mixing", len(first))
    head = draw(model, [one.latent for one in second], options.batch)
    side = draw(model, [one.latent for one in first], options.batch)
    lines, names = [[None, *head]], []
    for base, picture in zip(first, side, strict=True):
        with torch.inference_mode():
            found = [mixed(base.latent, one.latent, rows, model.generator) for one in second]
        shots = draw(model, found, options.batch)
        lines.append([picture, *shots])
        for other, latent, shot in zip(second, found, shots, strict=True):
            names.append(_name(base, other))
            known = latent.with_origin(mixed=f"rows {options.layers} of {other.name}")
            place.write(f"{names[-1]}.safetensors", dumps(known))
            place.write(f"{names[-1]}.png", encode_png(shot))
        place.sync()
        watcher.advance()
    place.write(SHEET, encode_png(sheet(lines, least=LEAST)))
    place.sync()
    for line in place.told():
        watcher.note(line)
    problems = dict.fromkeys(str(problem) for one in read for problem in one.problems)
    return Mixes(options.out, tuple(names), tuple(problems))


def _name(base: Named, other: Named) -> str:
    return f"{base.name}.mix-{other.name}"
