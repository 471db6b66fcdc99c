"""The spaces that latents are optimised in: how a start enters one, and what keeps it inside.

z and w hold one row for all layers, z+ and w+ a row for each. Beside any of them, as "f/...", may
stand F, the feature of one layer (BDInvert, Kang et al., 2021; Feature-Style Encoder). z and z+ are
bounded: their rows stay on the sphere that they are drawn from (F/Z+, Katsumata et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.sampling import truncated
from dseinvert.inversion.adam import Adam
from dseinvert.inversion.descend import owned
from dseinvert.inversion.names import SPACES, SpaceName
from dseinvert.latent import Latent, Skip

ZStart = Literal["fit", "nearest", "random"]
SIDE = 16
"""F is taken at the last layer of this many pixels, where the start names none."""
POOL, FIT_STEPS, FIT_RATE = 2048, 100, 0.05
"""z that the search for one near some w begins with; steps of Adam that follow, and their rate."""
SAMPLES = 4096


@dataclass(frozen=True)
class SpaceOptions:
    """How a start enters a space."""

    layer: int | None = None
    """Of F, counted from 1; None = the start's own, or the last of 16 px."""
    skip: Skip | None = None
    """Whether the RGB images below F are kept or dropped; None = the start's own, or keep."""
    z_start: ZStart = "fit"
    """Where a w enters z: at the z whose w is fitted to it, at the nearest of samples, or, as in
    the paper, at random."""
    psi: float = 1.0
    """Truncation of what z maps to; with less than 1 results are written in w+."""
    cutoff: int | None = None
    """Rows truncated; None = all."""


@dataclass(frozen=True)
class Chart:
    """A batch of latents in one space, written as how far they are from where they began.

    Those numbers are of about the same size in every space: codes in deviations of the space over
    the generator's samples, F in its root mean square.
    """

    generator: Generator
    space: SpaceName
    origin: Latent
    """The start within the space: code [B, n, D], n = 1 for z and w, and F where there is one."""
    unit: float
    """One deviation of the codes."""
    psi: float = 1.0
    cutoff: int | None = None
    bound: float | None = None
    """Largest number of a z that is not on a sphere; None = it is on one, or no z."""

    def zeros(self) -> dict[str, Tensor]:
        """The start: "code" [B, n, D] and, with F, "feature" [B, C, H, W]."""
        tensors = {"code": self.origin.code}
        if self.origin.feature is not None:
            tensors["feature"] = self.origin.feature
        return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}

    def point(self, moved: Mapping[str, Tensor], which: Tensor) -> Latent:
        """What the generator draws; `moved` holds only the samples `which` [k] of the batch."""
        start = self.origin[which]
        code = start.code + self.unit * moved["code"]
        if start.feature is None or "feature" not in moved:
            return replace(start, code=code)
        feature = start.feature + _size(start.feature) * moved["feature"]
        return replace(start, code=code, feature=feature)

    def drawn(self, latent: Latent) -> Latent:
        """The point as the generator takes it: truncated, where the space is."""
        if latent.space not in ("z", "z+") or self.psi == 1:
            return latent
        return replace(latent, code=_mapped(self.generator, latent, self), space="w+")

    @torch.no_grad()
    def retract(self, moved: Mapping[str, Tensor]) -> None:
        """Bring every row of z back to its sphere, in place (F/Z+, Equation 1)."""
        if self.origin.space not in ("z", "z+"):
            return
        code = self.origin.code + moved["code"]
        moved["code"].copy_(inside(code, self.bound) - self.origin.code)

    def result(self, moved: Mapping[str, Tensor]) -> Latent:
        """As it is saved: with a row for each layer where the generator has layers."""
        latent = self.drawn(self.point(moved, torch.arange(len(self.origin))))
        spec = self.generator.spec
        if spec.space == "w+":
            code = latent.code.expand(-1, spec.layers, -1).contiguous()
            latent = replace(latent, code=code, space="w+" if latent.space == "w+" else "z+")
        return latent.with_origin(refined_in=self.space)


def check_space(generator: Generator, space: str) -> None:
    """Raises UsageError: no such space, or not of this generator."""
    if space not in SPACES:
        raise UsageError(f"--space {space!r}", f"one of {', '.join(SPACES)}")
    if generator.spec.space == "z" and space != "z":
        raise UsageError(
            f"--space {space}: a {generator.family} has no w and draws from one z", "use --space z"
        )


def enter(
    generator: Generator,
    space: SpaceName,
    start: Latent,
    options: SpaceOptions | None = None,
    unit: float | None = None,
) -> Chart:
    """`start` [B] in a space; nearby where the space cannot hold it.

    Args:
        generator: of the start.
        space: one that `check_space` lets pass.
        start: in any space of the generator.
        options: None = the defaults.
        unit: see `deviation`; None = measured now.
    """
    options = options or SpaceOptions()
    unit = deviation(generator, space) if unit is None else unit
    start = owned(start.to(generator.device))
    feature, layer, skip = _feature(generator, space, start, options)
    plain = replace(start, feature=None, layer=None)
    chart = Chart(generator, space, plain, unit, options.psi, options.cutoff)
    if generator.spec.space != "w+":
        return replace(chart, bound=_bound(generator, start))
    rows = generator.rows(plain)
    if "w" in space:
        code = rows if space.endswith("+") else rows.mean(1, keepdim=True)
        entered = replace(plain, code=code, space="w+")
    else:
        entered = replace(plain, code=_z_of(chart, plain, rows, options), space="z+")
        if not space.endswith("+"):
            entered = replace(entered, space="z")
    return replace(chart, origin=replace(entered, feature=feature, layer=layer, skip=skip))


def inside(code: Tensor, bound: float | None = None) -> Tensor:
    """Rows [..., D] on the sphere of radius sqrt(D), or with numbers within ±`bound`."""
    if bound is not None:
        return code.clamp(-bound, bound)
    return F.normalize(code, dim=-1) * code.shape[-1] ** 0.5


@torch.no_grad()
def deviation(generator: Generator, space: SpaceName, samples: int = 256) -> float:
    """Of the numbers of a code over samples: 1 for z on its sphere."""
    if "w" not in space:
        return 1.0
    rows = generator.sample(range(samples)).code
    return float(rows.var(0).mean().sqrt())


@dataclass(frozen=True)
class Density:
    """P_N (Zhu et al., 2020): w before its last leaky ReLU, made white, so that it is normal."""

    mean: Tensor
    """[n, D], n = 1, or L where the rows of w differ."""
    whiten: Tensor
    """[n, D, D]."""

    def __call__(self, code: Tensor) -> Tensor:
        """w [B, rows, D] -> [B], the mean square of its numbers in P_N: about 1 for samples."""
        white = torch.einsum("bnd,nde->bne", _undone(code) - self.mean, self.whiten)
        return white.square().mean(dim=(1, 2))


@torch.no_grad()
def density(generator: Generator, samples: int = SAMPLES) -> Density:
    """The P_N of a generator with w, from samples of seeds 0, 1, ..."""
    rows = generator.sample(range(samples)).code
    alike = torch.equal(rows, rows[:, :1].expand_as(rows))
    logits = _undone(rows[:, :1] if alike else rows).transpose(0, 1)  # [n, N, D]
    mean = logits.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh((logits - mean).mT @ (logits - mean) / samples)
    values = values.clamp(min=1e-6 * float(values.max()))  # directions that samples never use
    return Density(mean[:, 0], vectors * values.rsqrt()[:, None, :])


def _undone(w: Tensor) -> Tensor:
    return F.leaky_relu(w, 5.0)  # the inverse of a leaky ReLU of slope 0.2


def _size(feature: Tensor) -> Tensor:
    """Root mean square of each sample [B, 1, 1, 1]."""
    return feature.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


def _bound(generator: Generator, start: Latent) -> float | None:
    """A z that is drawn within so many deviations is held there; others lie on a sphere."""
    if generator.z_limit is None:
        return None
    own = 1.0 if generator.truncation is None else generator.truncation
    return generator.z_limit * float(start.origin.get("truncation", own))


def _feature(
    generator: Generator, space: SpaceName, start: Latent, options: SpaceOptions
) -> tuple[Tensor | None, int | None, Skip]:
    if not space.startswith("f/"):
        return None, None, "keep"
    layer = options.layer or start.layer or coarse_layer(generator)
    skip = options.skip or start.skip
    if start.feature is not None and start.layer == layer:
        return start.feature, layer, skip
    with torch.no_grad():
        try:
            plain = replace(start, feature=None, layer=None)
            return generator.features(plain, layer), layer, skip
        except ValueError as error:
            raise UsageError(f"--space {space} at layer {layer}: {error}") from error


@torch.no_grad()
def coarse_layer(generator: Generator) -> int:
    """The last layer of at most 16 px, or half the image where that is less, counted from 1."""
    most = min(SIDE, generator.resolution // 2) + 2 * generator.margin
    mean, found = generator.mean_latent(), 1
    for layer in range(1, generator.spec.layers):
        try:
            side = generator.features(mean, layer).shape[-1]
        except ValueError:  # inside a residual block, or beyond the last
            continue
        if side > most:
            break
        found = layer
    return found


def _mapped(generator: Generator, latent: Latent, chart: Chart) -> Tensor:
    """z -> w+ rows [B, L, D], truncated as the chart says."""
    rows = generator.rows(latent)
    return truncated(rows, generator.mean_latent().code, chart.psi, chart.cutoff)


def _z_of(chart: Chart, start: Latent, rows: Tensor, options: SpaceOptions) -> Tensor:
    """z [B, n, D] whose w is near `rows` [B, L, D]; the start's own where it is one."""
    one = not chart.space.endswith("+")
    if start.space in ("z", "z+"):
        code = start.code.mean(1, keepdim=True) if one else start.code
        return inside(code.expand(-1, 1 if one else rows.shape[1], -1))
    z_dim, source = chart.generator.z_dim, torch.Generator().manual_seed(0)
    count = 1 if one else rows.shape[1]
    if options.z_start == "random":
        code = torch.randn(1, count, z_dim, generator=source).to(rows)
        return inside(code).expand(len(rows), -1, -1).clone()
    pool = inside(torch.randn(POOL, 1, z_dim, generator=source).to(rows))
    code = _nearest(chart, start, rows, pool, one)
    return _fitted(chart, start, rows, code) if options.z_start == "fit" else code


@torch.no_grad()
def _nearest(chart: Chart, start: Latent, rows: Tensor, pool: Tensor, one: bool) -> Tensor:
    """From `pool` [N, 1, D], the z whose w is nearest: one an image, or one a row."""
    shared, found = start.label is None, []
    known: Tensor | None = None
    for index in range(len(rows)):
        if known is None or not shared:  # with classes, the same z maps to another w
            label = None if start.label is None else start.label[index : index + 1]
            label = None if label is None else label.expand(len(pool), -1)
            known = _mapped(chart.generator, Latent(pool, "z", label=label), chart)
        # [N, L], row by row so that no copy of `known` is needed
        apart = (known - rows[index]).square().sum(2)
        best = apart.sum(1).argmin()[None] if one else apart.argmin(0)
        found.append(pool[best, 0])
    return torch.stack(found)


def _fitted(chart: Chart, start: Latent, rows: Tensor, code: Tensor) -> Tensor:
    """z led on towards `rows` by Adam in w, on the sphere; each row by itself."""
    with torch.inference_mode(False), torch.enable_grad():
        code = code.clone().requires_grad_()
        adam = Adam([code])
        latent = Latent(code, "z" if code.shape[1] == 1 else "z+", label=start.label)
        for step in range(FIT_STEPS):
            apart = _mapped(chart.generator, replace(latent, code=code), chart) - rows
            slopes = torch.autograd.grad(apart.square().sum(), code)
            adam.step(slopes, [FIT_RATE * (1 - step / FIT_STEPS)])
            with torch.no_grad():
                code.copy_(inside(code))
    return code.detach()
