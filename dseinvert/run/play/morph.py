"""The `morph` run: a video of the way from latent to latent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from dseinvert.config import MorphOptions
from dseinvert.editing.blend import between
from dseinvert.errors import ExitCode, UsageError
from dseinvert.latent import Latent
from dseinvert.media.animation import check_animation, write_animation
from dseinvert.media.pixels import Pixels
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.play.latents import draw, read_latents, some_latent_files
from dseinvert.run.play.place import Place

_AT_ONCE = 32


@dataclass(frozen=True)
class Morphed:
    """What was written."""

    out: Path
    frames: int
    problems: tuple[str, ...] = ()
    """A line for each latent file that was passed over."""

    @property
    def exit_code(self) -> ExitCode:
        """The code the process should end with."""
        return ExitCode.SOME_FAILED if self.problems else ExitCode.OK

    def asdict(self) -> dict[str, object]:
        """Ready for JSON."""
        told = {"problems": [*self.problems]} if self.problems else {}
        code = int(self.exit_code)
        return {"out": str(self.out), "exit_code": code, "frames": self.frames, **told}


def run_morph(patterns: Sequence[str], options: MorphOptions, watcher: Watcher) -> Morphed:
    """Draw the way through all latents that `patterns` mean, in their order.

    Files that hold none of this model's are told, and passed over.

    Raises:
        DseInvertError: latents without a way between them, or the output cannot be written.
    """
    check_animation(options.out)
    if options.frames < 1:
        raise UsageError(f"--frames {options.frames}", "at least 1")
    if not 0 < options.fps <= 240:
        raise UsageError(f"--fps {options.fps}", "above 0, at most 240")
    found = some_latent_files(patterns)
    model = open_model(options.model, pick_device(options.device))
    read = read_latents(found, model, watcher)
    stops = [one.latent for one in read.latents]
    if len(stops) < 2:
        raise UsageError("morph needs two latents", "name at least two latent files")
    steps = [*pairwise(stops), *([(stops[-1], stops[0])] if options.loop else [])]
    last = [] if options.loop else [1.0]
    count = options.frames * len(steps) + len(last)
    place = Place.made(options.out.parent)
    out = place.path(options.out.name)
    watcher.begin("drawing", count)
    write_animation(out, _frames(model, steps, options, watcher), options.fps)
    for line in place.told():
        watcher.note(line)
    return Morphed(options.out, count, tuple(map(str, read.problems)))


def _frames(
    model: Model,
    steps: Sequence[tuple[Latent, Latent]],
    options: MorphOptions,
    watcher: Watcher,
) -> Iterator[Pixels]:
    for number, (a, b) in enumerate(steps):
        shares = [eased(k / options.frames, options.ease) for k in range(options.frames)]
        if number + 1 == len(steps) and not options.loop:
            shares.append(1.0)
        for start in range(0, len(shares), _AT_ONCE):
            with torch.inference_mode():
                way = [
                    between(a, b, share, model.generator)
                    for share in shares[start : start + _AT_ONCE]
                ]
            for picture in draw(model, way, options.batch):
                watcher.advance()
                yield picture


def eased(share: float, ease: bool) -> float:
    """Half a cosine from 0 to 1 in place of a straight line."""
    return 0.5 - 0.5 * math.cos(math.pi * share) if ease else share
