"""Our results measured as a paper measured its own, in one table with the published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.evaluation.compare import Result
from dseinvert.evaluation.curves import Curve
from dseinvert.evaluation.panel import AT_ONCE
from dseinvert.evaluation.protocols import Asked, Protocol, Window
from dseinvert.evaluation.tables import Row, markdown_table
from dseinvert.generators import Generator
from dseinvert.similarity.losses import Distance, mse, ssim

COLUMNS = ("psnr", "ssim", "mse", "lpips", "identity", "fid", "edited")
_C1, _C2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2


@dataclass(frozen=True)
class Beside:
    """Our numbers and the paper's."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """How it was measured, and what is not as in the paper."""

    @property
    def markdown(self) -> str:
        """A table for people."""
        names = [name for name in COLUMNS if any(name in row for row in self.rows)]
        cells = [
            [str(row["method"]), str(row["by"]), *(_cell(row.get(name)) for name in names)]
            for row in self.rows
        ]
        table = markdown_table(["method", "by", *names], cells)
        return "\n\n".join([table, *self.notes, ""])


def _cell(value: float | str | None) -> str:
    return "-" if value is None else f"{float(value):.4g}"


def beside(
    asked: Asked,
    results: Sequence[Result],
    curves: Sequence[Curve],
    images: Tensor,
    generator: Generator,
    lpips: Distance | None = None,
    sets: str = "",
) -> Beside:
    """The published rows after ours, means over `images` [N, 3, R, R] in [-1, 1].

    Args:
        asked: which paper.
        results: of its methods, on these images.
        curves: of edits, eleven strengths each; none = no edits.
        images: what was inverted.
        generator: that drew the results.
        lpips: of VGG; None = it is not here.
        sets: the name of `Result.apart`, which counts where it is FID.
    """
    protocol = asked.protocol
    lpips = lpips if protocol.net == "vgg" else None
    ours: list[Row] = []
    for one in results:
        row: Row = {"method": one.name, "by": "this program"}
        row |= _measured(protocol, images, one.drawn, lpips)
        if "identity" in one.measures:
            row["identity"] = float(one.measures["identity"].mean())
        if one.apart is not None and sets == "FID":
            row["fid"] = one.apart
        own = [float(c.identity.mean()) for c in curves if c.method == one.name]
        ours.append(row | ({"edited": sum(own) / len(own)} if own else {}))
    theirs: list[Row] = [
        {"method": name, "by": "paper", **numbers} for name, numbers in protocol.published.items()
    ]
    return Beside((*ours, *theirs), tuple(_notes(asked, len(images), generator, lpips)))


def _measured(
    protocol: Protocol, images: Tensor, drawn: Tensor, lpips: Distance | None
) -> Mapping[str, float]:
    found: dict[str, list[Tensor]] = {}
    for a, b in zip(images.split(AT_ONCE), drawn.split(AT_ONCE), strict=True):
        a, b = (_at(protocol.side, one.float().cpu()) for one in (a, b))
        error = mse(a, b)
        each = {"psnr": 10 * (4 / error).log10(), "mse": error * (protocol.levels / 2) ** 2}
        each["ssim"] = similarity(a, b, protocol.window)
        if lpips is not None:
            each["lpips"] = lpips(a, b).cpu()
        for name, values in each.items():
            found.setdefault(name, []).append(values)
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def _at(side: int | None, images: Tensor) -> Tensor:
    """Larger images at `side` pixels; smaller ones as they are, for nothing is won by pixels."""
    if side is None or images.shape[-1] <= side:
        return images
    return F.interpolate(images, size=(side, side), mode="area")


def similarity(a: Tensor, b: Tensor, window: Window) -> Tensor:
    """SSIM [B] of images in [-1, 1]; "uniform 7" is that of scikit-image as it comes.

    There windows of 7x7 count alike, and variances are those of samples.
    """
    if window == "gaussian 11":
        return ssim(a, b)
    a, b = a.double(), b.double()
    mean_a, mean_b, aa, bb, ab = (F.avg_pool2d(x, 7, 1) for x in (a, b, a * a, b * b, a * b))
    free = 49 / 48
    var_a, var_b = free * (aa - mean_a**2), free * (bb - mean_b**2)
    both = free * (ab - mean_a * mean_b)
    above = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    below = (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    return (above / below).mean((1, 2, 3)).float()


def _notes(asked: Asked, count: int, generator: Generator, lpips: Distance | None) -> list[str]:
    paper = asked.protocol
    own = f"a {generator.family} at {generator.resolution} px"
    said = [f"Beside {paper.title}: means; {paper.unsaid}."]
    side = f"{paper.side} px" if paper.side else "the generator's size"
    side += f", smaller here ({generator.resolution} px)" if _small(paper, generator) else ""
    said.append(
        f"Measured as there: at {side}; SSIM of windows {paper.window}; squared errors of "
        f"{paper.levels:g} levels; LPIPS of {paper.net}{'' if lpips else ', which is not here'}."
    )
    differs = [f"generator: {paper.generator} there, {own} here"]
    differs.append(f"images: {paper.count} of {paper.images} there, {count} of yours here")
    if asked.steps != paper.steps:
        differs.append(f"steps: {paper.steps} there, {asked.steps} here")
    return [*said, f"Not as in the paper: {'; '.join(differs)}."]


def _small(paper: Protocol, generator: Generator) -> bool:
    return paper.side is not None and generator.resolution < paper.side
