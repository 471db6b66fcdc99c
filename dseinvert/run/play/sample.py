"""The `sample` run: seeds to pictures, latents and one sheet of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dseinvert.config import SampleOptions
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.drawn_otherwise import (
    has_noise,
    has_transform,
    with_noise,
    with_transform,
)
from dseinvert.generators.sampling import one_hot
from dseinvert.latent import Latent, dumps
from dseinvert.media.images import encode_png
from dseinvert.media.pixels import Pixels
from dseinvert.media.sheet import sheet
from dseinvert.models import Model, open_model, pick_device
from dseinvert.progress import Watcher
from dseinvert.run.play.latents import draw
from dseinvert.run.play.place import Place
from dseinvert.run.play.seeds import Seeds, read_seeds

SHEET = "samples.png"
USUAL_PSI = 0.7
MOST_SHOWN, LEAST = 256, 64
_AT_ONCE = 64


@dataclass(frozen=True)
class Sampled:
    """What was written."""

    out: Path
    seeds: Seeds

    def asdict(self) -> dict[str, object]:
        """Ready for JSON."""
        names = [name_of(self.seeds, seed) for seed in self.seeds.numbers]
        files = [f"{name}{suffix}" for name in names for suffix in (".png", ".safetensors")]
        return {"out": str(self.out), "exit_code": 0, "files": [*files, SHEET]}


def run_sample(options: SampleOptions, watcher: Watcher) -> Sampled:
    """Draw the samples of some seeds.

    Raises:
        DseInvertError: options that do not fit the generator, or the output cannot be written.
    """
    seeds = read_seeds(options.seeds)
    model = open_model(options.model, pick_device(options.device))
    generator = model.generator
    psi = options.psi
    if psi is None:
        psi = USUAL_PSI if generator.truncates else 1.0
    _check(model, options, psi, seeds)
    drawing = replace(model, generator=_turned(generator, options))
    place = Place.made(options.out)
    watcher.begin("drawing", len(seeds.numbers))
    shots: list[Pixels] = []
    for start in range(0, len(seeds.numbers), _AT_ONCE):
        some = seeds.numbers[start : start + _AT_ONCE]
        rows = [_sample(model, seed, psi, options, seeds) for seed in some]
        pictures = _pictures(drawing, some, rows, options)
        for seed, row, picture in zip(some, rows, pictures, strict=True):
            _write(place, name_of(seeds, seed), row, encode_png(picture))
            shots += [picture] if len(shots) < MOST_SHOWN else []
            watcher.advance()
    columns = math.ceil(math.sqrt(len(shots)))
    lines = [shots[k : k + columns] for k in range(0, len(shots), columns)]
    place.write(SHEET, encode_png(sheet(lines, least=LEAST)))
    place.sync()
    for line in place.told():
        watcher.note(line)
    if told := _not_kept(options):
        watcher.note(f"the latents do not keep {told}: `dseinvert edit` draws them without")
    return Sampled(options.out, seeds)


def name_of(seeds: Seeds, seed: int) -> str:
    """The name of a sample's files."""
    return f"nv-seed{seed:04d}" if seeds.nvlabs else f"seed{seed:05d}"


def _not_kept(options: SampleOptions) -> str:
    """What of the pictures is not in their latents; "" = nothing."""
    turned = [f"--{name}" for name in ("rotate", "translate") if getattr(options, name) is not None]
    return " and ".join([*(["--noise"] if options.noise != "const" else []), *turned])


def _turned(generator: Generator, options: SampleOptions) -> Generator:
    if options.rotate is None and options.translate is None:
        return generator
    return with_transform(generator, options.rotate or 0.0, options.translate or (0.0, 0.0))


def _pictures(
    model: Model, seeds: Sequence[int], rows: Sequence[Latent], options: SampleOptions
) -> list[Pixels]:
    if options.noise != "random":
        still = replace(model, generator=with_noise(model.generator, options.noise))
        return draw(still, rows, options.batch)
    alone = (
        replace(model, generator=with_noise(model.generator, "random", seed)) for seed in seeds
    )
    return [draw(own, [row], 1)[0] for own, row in zip(alone, rows, strict=True)]


def _check(model: Model, options: SampleOptions, psi: float, seeds: Seeds) -> None:
    if not math.isfinite(psi):
        raise UsageError(f"--psi {psi:g}", "a number: 1 = no truncation, 0 = the mean")
    if psi != 1 and not model.generator.truncates:
        raise UsageError(f"--psi {psi:g}: {model.name} has no truncation", "leave it out")
    model.check_label(options.label)
    if seeds.nvlabs and model.generator.z_limit is not None:
        raise UsageError(
            f"--seeds nv: no generator of NVlabs draws z as {model.name} does", "leave nv: out"
        )
    if seeds.nvlabs and model.generator.spec.classes and options.label is None:
        raise UsageError("--seeds nv: draws no class", "add --label")
    if options.noise != "const" and not has_noise(model.generator):
        raise UsageError(f"--noise {options.noise}: {model.name} has no noise", "leave it out")
    turned = options.rotate is not None or options.translate is not None
    if turned and not has_transform(model.generator):
        asked = "--rotate" if options.rotate is not None else "--translate"
        raise UsageError(f"{asked}: {model.name} cannot turn or move its image", "StyleGAN3 can")


@torch.inference_mode()
def _sample(model: Model, seed: int, psi: float, options: SampleOptions, seeds: Seeds) -> Latent:
    """One at a time, so that not one bit depends on the others."""
    labels = None if options.label is None else [options.label]
    if seeds.nvlabs:
        latent = _nvlabs(model.generator, seed, psi, labels)
    else:
        latent = model.generator.sample([seed], psi, labels=labels)
    named = f"{'nv:' * seeds.nvlabs}{seed}"
    return latent.with_origin(
        generator=model.name, generator_sha256=model.sha256, seed=named, psi=f"{psi:g}"
    )


def _nvlabs(generator: Generator, seed: int, psi: float, labels: Sequence[int] | None) -> Latent:
    """The sample that generate.py of NVlabs draws from a seed."""
    z = np.random.RandomState(seed).randn(1, generator.z_dim)
    label = None if labels is None else one_hot(labels, generator.spec.classes)
    latent = Latent(torch.from_numpy(z).float()[:, None], "z", label=label).to(generator.device)
    if generator.spec.space.startswith("z"):
        return latent
    mean, rows = generator.mean_latent().code, generator.rows(latent)
    return replace(latent, code=rows if psi == 1 else mean.lerp(rows, psi), space="w+")


def _write(place: Place, name: str, latent: Latent, picture: bytes) -> None:
    place.write(f"{name}.safetensors", dumps(latent))
    place.write(f"{name}.png", picture)
    place.sync()
