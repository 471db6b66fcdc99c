"""The `sample` run: seeds to pictures, latents and one sheet of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from dseinvert.config import SampleOptions
from dseinvert.errors import UsageError
from dseinvert.latent import Latent, dumps
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.media.sheet import sheet
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.play.latents import draw
from dseinvert.run.play.place import Place
from dseinvert.run.play.seeds import parse_seeds

SHEET = "samples.png"
USUAL_PSI = 0.7
MOST_SHOWN, LEAST = 256, 64
_AT_ONCE = 64


@dataclass(frozen=True)
class Sampled:
    """What was written."""

    out: Path
    seeds: tuple[int, ...]

    def asdict(self) -> dict[str, object]:
        """Ready for JSON."""
        names = [name_of(seed) for seed in self.seeds]
        files = [f"{name}{suffix}" for name in names for suffix in (".png", ".safetensors")]
        return {"out": str(self.out), "exit_code": 0, "files": [*files, SHEET]}


def run_sample(options: SampleOptions, watcher: Watcher) -> Sampled:
    """Draw the samples of some seeds.

    Raises:
        DseInvertError: options that do not fit the generator, or the output cannot be written.
    """
    seeds = parse_seeds(options.seeds)
    model = open_model(options.model, pick_device(options.device))
    generator = model.generator
    psi = options.psi
    if psi is None:
        psi = USUAL_PSI if generator.truncates else 1.0
    _check(model, options, psi)
    place = Place.made(options.out)
    watcher.begin("drawing", len(seeds))
    shots: list[Pixels] = []
    for start in range(0, len(seeds), _AT_ONCE):
        some = seeds[start : start + _AT_ONCE]
        rows = [_sample(model, seed, psi, options.label) for seed in some]
        for seed, row, picture in zip(some, rows, draw(model, rows, options.batch), strict=True):
            _write(place, seed, row, encode_png(picture))
            shots += [picture] if len(shots) < MOST_SHOWN else []
            watcher.advance()
    columns = math.ceil(math.sqrt(len(shots)))
    lines = [shots[k : k + columns] for k in range(0, len(shots), columns)]
    place.write(SHEET, encode_png(sheet(lines, least=LEAST)))
    place.sync()
    for line in place.told():
        watcher.note(line)
    return Sampled(options.out, tuple(seeds))


def name_of(seed: int) -> str:
    """The name of a sample's files."""
    return f"seed{seed:05d}"


def _check(model: Model, options: SampleOptions, psi: float) -> None:
    if not math.isfinite(psi):
        raise UsageError(f"--psi {psi:g}", "a number: 1 = no truncation, 0 = the mean")
    if psi != 1 and not model.generator.truncates:
        raise UsageError(f"--psi {psi:g}: {model.name} has no truncation", "leave it out")
    model.check_label(options.label)


@torch.inference_mode()
def _sample(model: Model, seed: int, psi: float, label: int | None) -> Latent:
    """One at a time, so that not one bit depends on the others."""
    labels = None if label is None else [label]
    latent = model.generator.sample([seed], psi, labels=labels)
    return latent.with_origin(
        generator=model.name, generator_sha256=model.sha256, seed=str(seed), psi=f"{psi:g}"
    )


def _write(place: Place, seed: int, latent: Latent, picture: bytes) -> None:
    place.write(f"{name_of(seed)}.safetensors", dumps(latent))
    place.write(f"{name_of(seed)}.png", picture)
    place.sync()
