"""Methods of inversion on the same images: what each draws, how well, how long and how large."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from dseinvert.evaluation.frechet import Crowd
from dseinvert.evaluation.panel import Panel
from dseinvert.inversion.inverter import Inversion
from dseinvert.latent import Latent, concat


@dataclass(frozen=True)
class Method:
    """A way to invert, by the name that tables give it."""

    name: str
    invert: Callable[[Tensor], Inversion]
    """Images [B, 3, R, R] in [-1, 1] -> their inversion; free of the batch."""


@dataclass(frozen=True)
class Result:
    """What one method made of all images."""

    name: str
    latent: Latent | None
    """On the CPU; None = it was not kept."""
    drawn: Tensor
    """[N, 3, R, R] on the CPU; of results that were joined, the first few."""
    measures: dict[str, Tensor]
    """[N] each."""
    seconds: Tensor
    """[N]: an image's share of its batch."""
    peak: float | None
    """MiB that the process, or the GPU, held at most; None = this system does not say."""
    steps: Tensor | None = None
    """[N]: steps of optimisation; None = there were none."""
    apart: float | None = None
    """Distance of all that was drawn from all images; None = not measured."""
    crowd: Crowd | None = None
    """Of all that was drawn, where others are going to be joined to it; else None."""


def compare(
    methods: Sequence[Method],
    images: Tensor,
    panel: Panel,
    batch: int,
    watch: Callable[[str], None],
) -> list[Result]:
    """Every method on all `images` [N, 3, R, R] in [-1, 1], `batch` at once.

    `watch` is called after each batch with the method's name.
    """
    crowd = panel.crowd(images)
    found = []
    for method in methods:
        one = _result(method, images, panel, batch, watch)
        drawn = panel.crowd(one.drawn)
        found.append(replace(one, apart=panel.apart(crowd, drawn), crowd=panel.kept(drawn)))
    return found


def _result(
    method: Method, images: Tensor, panel: Panel, batch: int, watch: Callable[[str], None]
) -> Result:
    drawn, latents, seconds, judged, steps = [], [], [], [], []
    _forget_peak()
    for part in images.split(batch):
        began = time.perf_counter()
        inversion = method.invert(part)
        _finish()
        seconds.append(torch.full((len(part),), (time.perf_counter() - began) / len(part)))
        drawn.append(inversion.images.float().cpu())
        latents.append(inversion.latent.to("cpu"))
        steps.append(None if inversion.steps is None else inversion.steps.cpu())
        watch(method.name)
    peak = _peak()
    for part, shot, latent in zip(images.split(batch), drawn, latents, strict=True):
        judged.append(panel.judge(part, shot, latent))
    measures = {name: torch.cat([one[name] for one in judged]) for name in judged[0]}
    taken = [one for one in steps if one is not None]
    return Result(
        method.name,
        concat(latents),
        torch.cat(drawn),
        measures,
        torch.cat(seconds),
        peak,
        torch.cat(taken) if taken else None,
    )


def columns(result: Result) -> Iterator[tuple[str, Tensor]]:
    """Every number that is had of each image, by name."""
    yield from result.measures.items()
    steps = torch.zeros_like(result.seconds) if result.steps is None else result.steps
    yield "steps", steps.to(result.seconds)
    yield "seconds", result.seconds


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux alone forgets
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float | None:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # which only Unix has

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
