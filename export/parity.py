"""Whether a file computes what PyTorch computes, measured on latents and images it never saw.

Three differences: of a graph's outputs on the same inputs; of an encoder's latents; and of the
images that PyTorch draws of those latents, which is what a wrong latent costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dseinvert.errors import DseInvertError
from dseinvert.export.graphs import Graph
from dseinvert.export.runners import Runner
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_bytes
from dseinvert.latent import Latent
from dseinvert.models import Model

FRESH = 900_000
"""The first seed of the latents that are compared; calibration has others."""
NOISE = 0.1  # deviation of what makes half of the images unlike samples


class ParityError(DseInvertError):
    """A file whose numbers are too far from PyTorch's."""


@dataclass(frozen=True)
class Tolerance:
    """The largest differences that pass; None = not bounded."""

    latent: float | None
    """Of latents and features, per unit of their largest number, where that is above 1."""
    image: float | None
    """Of images, as `latent`; images of bytes may differ by one besides."""
    psnr: float
    """Of images in dB, with a range of 2: the least of any batch."""


TOLERANCES = {
    "fp32": Tolerance(latent=1e-4, image=1e-3, psnr=70),
    "fp16": Tolerance(latent=None, image=None, psnr=45),
    "bf16": Tolerance(latent=None, image=None, psnr=32),
    "int8": Tolerance(latent=None, image=None, psnr=35),
}
"""By precision; README.md says why."""


@dataclass(frozen=True)
class Difference:
    """Of one graph at one batch."""

    graph: str
    batch: int
    on: str
    """What it was run on."""
    output: str
    largest: float
    """Of any number."""
    scale: float
    """The largest number that PyTorch gave."""
    psnr: float | None
    """Of images, or of those drawn of a latent; None = of a feature."""


def compare(
    graph: Graph, runner: Runner, model: Model, pictures: Tensor | None, batches: Sequence[int]
) -> list[Difference]:
    """A graph beside its runner.

    Args:
        graph: by PyTorch, on any device.
        runner: by what it was exported for.
        model: whose graph it is.
        pictures: real ones [N, 3, R, R] in [-1, 1] to compare an encoder on; None = samples only.
        batches: how many at once.
    """
    found = []
    for batch in batches:
        for on, inputs in _inputs(graph, model.generator, pictures, batch).items():
            wanted, made = graph.run(inputs), _moved(runner(inputs), model.generator.device)
            drawn = None
            if graph.name == "encoder":
                drawn = [_drawn(model.generator, graph, one, inputs) for one in (wanted, made)]
            for name in graph.outputs:
                found.append(_difference(graph.name, batch, on, name, wanted, made))
            if drawn is not None:
                pair = {"redrawn": drawn[0]}, {"redrawn": drawn[1]}
                found.append(_difference(graph.name, batch, on, "redrawn", *pair))
    return found


def check(found: Sequence[Difference], tolerance: Tolerance, precision: str) -> None:
    """Raises ParityError at the first difference that is over the tolerance."""
    for one in found:
        said = _over(one, tolerance)
        if said:
            raise ParityError(
                f"{one.graph} in {precision} differs too much from PyTorch: {one.output} on "
                f"{one.on}, batch {one.batch}: {said}",
                "nothing was written" + ("" if precision == "fp32" else "; try --precision fp32"),
            )


def report(found: Sequence[Difference], tolerance: Tolerance) -> dict[str, Any]:
    """Ready for JSON."""
    return {"tolerance": asdict(tolerance), "differences": [_told(one) for one in found]}


def _told(one: Difference) -> dict[str, Any]:
    return {name: _short(value) for name, value in asdict(one).items()}


def _short(value: Any) -> Any:
    """JSON has no infinity: equal images are reported as 200 dB."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else 200.0 if value > 0 else None


def _over(one: Difference, tolerance: Tolerance) -> str:
    if not math.isfinite(one.largest):
        return "not a number"
    picture = one.output in ("images", "redrawn")
    bound = tolerance.image if picture else tolerance.latent
    if one.psnr is not None and one.psnr < tolerance.psnr:
        return f"PSNR {one.psnr:.1f} dB, below {tolerance.psnr:g}"
    if bound is not None and one.largest > bound * max(1.0, one.scale):
        return f"{one.largest:.2g}, above {bound * max(1.0, one.scale):.2g}"
    return ""


def _difference(
    graph: str,
    batch: int,
    on: str,
    name: str,
    wanted: Mapping[str, Tensor],
    made: Mapping[str, Tensor],
) -> Difference:
    if wanted[name].shape != made[name].shape:
        shapes = [list(one[name].shape) for one in (made, wanted)]
        raise ParityError(f"{graph}: {name} is {shapes[0]}, of PyTorch {shapes[1]}")
    a, b = (_unit(one[name]) for one in (wanted, made))
    picture = name in ("images", "redrawn")
    # As shown: the generators leave [-1, 1] here and there, and nobody sees how far.
    mse = (a.clamp(-1, 1) - b.clamp(-1, 1)).square().flatten(1).mean(1).max().item()
    psnr = (10 * math.log10(4 / mse) if mse > 0 else math.inf) if picture else None
    largest = (a - b).abs().max().item()
    if picture and wanted[name].dtype == torch.uint8:
        largest = max(0.0, largest - 2 / 255)  # which side a half is rounded to
    return Difference(graph, batch, on, name, largest, a.abs().max().item(), psnr)


def _unit(tensor: Tensor) -> Tensor:
    return tensor.double() / 127.5 - 1 if tensor.dtype == torch.uint8 else tensor.double()


def _inputs(
    graph: Graph, generator: Generator, pictures: Tensor | None, batch: int
) -> dict[str, dict[str, Tensor]]:
    """What a graph is run on, by what to call it."""
    seeds = range(FRESH + 10 * batch, FRESH + 11 * batch)
    sample = generator.sample(seeds, psi=float(graph.about.get("truncation", 1)))
    given = {name: tensor for name, tensor in sample.tensors().items() if name in graph.inputs}
    if "strengths" in graph.inputs:
        given["strengths"] = strengths_of(graph, batch)
    if graph.name != "encoder":
        return {
            "samples": _with_feature(graph, generator, sample, given),
            "mixed rows": _with_feature(
                graph, generator, mixed := _mixed(sample), given | {"code": mixed.code}
            ),
        }
    with torch.no_grad():
        images = generator.synthesize(sample).clamp(-1, 1)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(batch))
    kinds = {"samples": images, "noisy samples": (images + NOISE * noise.to(images)).clamp(-1, 1)}
    if pictures is not None:
        kinds["pictures"] = pictures[torch.arange(batch) % len(pictures)].to(images)
    bytes_wanted = graph.inputs["images"].dtype == torch.uint8
    return {
        on: given | {"images": to_bytes(one) if bytes_wanted else one} for on, one in kinds.items()
    }


def strengths_of(graph: Graph, batch: int, seed: int = FRESH) -> Tensor:
    """Edits [B, E] as people ask for them, each sample's its own."""
    like = graph.inputs["strengths"]
    drawn = torch.rand(batch, like.shape[1], generator=torch.Generator().manual_seed(seed + batch))
    return (4 * drawn - 2).to(like)


def _with_feature(
    graph: Graph, generator: Generator, sample: Latent, given: dict[str, Tensor]
) -> dict[str, Tensor]:
    """A feature is that of other latents, so that it is seen to be used."""
    if "feature" not in graph.inputs:
        return given
    other = replace(sample, code=sample.code.flip(0) * 0.9)
    with torch.no_grad():
        return given | {"feature": generator.features(other, int(graph.about["layer"]))}


def _mixed(sample: Latent) -> Latent:
    """Each row of w+ of another sample; of z, the same the other way round."""
    rows = sample.code.shape[1]
    if rows == 1:
        return replace(sample, code=-sample.code)
    turned = [sample.code[:, row].roll(row, 0) * (1 - 0.02 * row) for row in range(rows)]
    return replace(sample, code=torch.stack(turned, dim=1))


@torch.no_grad()
def _drawn(
    generator: Generator, graph: Graph, made: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> Tensor:
    """What PyTorch draws of an encoder's latents."""
    about, feature = graph.about, made.get("feature")
    latent = Latent(
        made["code"].to(generator.device),
        generator.spec.space,
        feature=feature,
        layer=int(about["layer"]) if feature is not None else None,
        label=inputs.get("label"),
        origin={name: about[name] for name in ("truncation",) if name in about},
    )
    return generator.synthesize(latent)


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
