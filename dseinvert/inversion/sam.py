"""Spatially-adaptive multilayer selection (Parmar et al., 2022): each segment of an image in the
most editable space that can hold it, among w+ (or z+) and F at four layers.

What a space can hold is measured first, by a short inversion of the whole image in each. F of a
layer is what the generator makes there plus a difference; in segments of earlier spaces the
difference is 0, so that they follow edits as w+ does. All is written as F at the last layer, which
holds the differences of the layers before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_pixels
from dseinvert.generators.tuned import features, synthesize
from dseinvert.inversion.descend import Best, Look, Moved, Named, Step, descend, owned
from dseinvert.inversion.names import SpaceName
from dseinvert.inversion.optimise import LatentOptions, before
from dseinvert.inversion.refinement import Budget, Refine, Refined, Watch
from dseinvert.inversion.segments import chosen, superpixels
from dseinvert.inversion.spaces import SIDE, Chart, check_space, deviation, enter
from dseinvert.latent import Latent
from dseinvert.similarity.losses import Distance, mse

BASES: tuple[SpaceName, ...] = ("w+", "z+")
_LAYERS = 4


@dataclass(frozen=True)
class SamOptions:
    """How segments are given to spaces, and their latents optimised."""

    threshold: float = 0.01
    """Mean squared error, of images in [-1, 1], at which a space holds a segment. SAM: 0.225 of a
    predicted LPIPS."""
    measure: float = 0.2
    """Share of the steps by which the spaces are measured, equally."""
    latent: LatentOptions = field(default_factory=LatentOptions)
    """Rates, and the weights of the loss; `hold` is that of each layer's difference."""


def sam_refinement(
    generator: Generator,
    space: SpaceName,
    options: SamOptions | None = None,
    distance: Distance | None = None,
) -> Refine:
    """SAM as a refinement, which begins at the encoder's rows, and with its F where it is needed.

    Args:
        generator: left as it is; gradients reach latents only.
        space: of the rows, w+ or z+, also under the names f/w+ and f/z+.
        options: None = the defaults.
        distance: perceptual, added to the squared error; None = without.

    Raises:
        UsageError: a space that is neither, or not of this generator.
    """
    options, base = options or SamOptions(), _base(space)
    check_space(generator, base)
    # Inside inference mode, and from its tensors, no gradient could be had.
    with torch.inference_mode(False):
        unit, layers = deviation(generator, base), sam_layers(generator)

    def loss(images: Tensor, drawn: Tensor) -> Tensor:
        own = options.latent.mse * mse(images, drawn)
        return (
            own if distance is None else own + options.latent.perceptual * distance(images, drawn)
        )

    def refine(
        images: Tensor, start: Latent, budget: Budget, watch: Watch | None = None
    ) -> Refined:
        with torch.inference_mode(False), torch.enable_grad():
            images, start = images.to(generator.device).clone(), owned(start.to(generator.device))
            plain = replace(start, feature=None, layer=None)
            chart = enter(generator, base, plain, options.latent.enter, unit)
            known = known_differences(generator, start, layers)
            task = _Task(images, chart, known, _sizes(chart, layers), loss, options)
            found = task.run(budget, watch)
            return replace(found, before=(before(generator, images, start, loss),))

    return refine


def _base(space: SpaceName) -> SpaceName:
    base = space.removeprefix("f/")
    if base not in BASES:
        raise UsageError(f"--refine sam in {space}", f"--space {' or '.join(BASES)}")
    return "w+" if base == "w+" else "z+"


@torch.no_grad()
def sam_layers(generator: Generator) -> tuple[int, ...]:
    """The last layers of four sizes in which F may enter, from 16 pixels on if there are so many.

    SAM's F4, F6, F8 and F10 are layers 5, 7, 9 and 11 of a StyleGAN2, counted from 1.
    """
    least = SIDE + 2 * generator.margin
    sizes: dict[int, list[int]] = {}
    for layer in range(1, generator.spec.layers):
        try:
            side = generator.features(generator.mean_latent(), layer).shape[-1]
        except ValueError:  # inside a residual block
            continue
        sizes.setdefault(side, []).append(layer)
        if sum(side >= least for side in sizes) > _LAYERS:
            break
    coarse = sum(side < least for side in sizes)
    first = max(0, min(coarse, len(sizes) - _LAYERS))
    some = [*sizes.values()][first : first + _LAYERS]
    last = [next((n for n in reversed(one) if _enters(generator, n)), None) for one in some]
    return tuple(layer for layer in last if layer is not None)


def _enters(generator: Generator, layer: int) -> bool:
    """Whether F may stand at a layer whose features there are."""
    mean = generator.mean_latent()
    try:
        feature = generator.features(mean, layer)
        generator.synthesize(replace(mean, feature=feature, layer=layer))
    except ValueError:  # beyond the last
        return False
    return True


@torch.no_grad()
def known_differences(generator: Generator, start: Latent, layers: Sequence[int]) -> Named:
    """What F of the start adds at each layer [B, C, H, W], by "f" and its number; none before F."""
    if start.feature is None or start.layer is None:
        return {}
    plain, found = replace(start, feature=None, layer=None), {}
    for layer in layers:
        if layer >= start.layer:
            with_f = start.feature if layer == start.layer else features(generator, start, layer)
            found[f"f{layer}"] = with_f - features(generator, plain, layer)
    return found


@torch.no_grad()
def _sizes(chart: Chart, layers: Sequence[int]) -> Named:
    """The root mean square of what the generator makes at each layer, [B, 1, 1, 1]."""
    start = chart.drawn(chart.origin)
    made = {f"f{layer}": features(chart.generator, start, layer) for layer in layers}
    return {name: x.square().mean((1, 2, 3), keepdim=True).sqrt() for name, x in made.items()}


@dataclass(frozen=True)
class _Task:
    """One call of the refinement."""

    images: Tensor
    chart: Chart
    """Of the rows."""
    known: Named
    """The differences that the start has."""
    sizes: Named
    """Of features, for each layer, in order."""
    loss: Distance
    options: SamOptions

    def run(self, budget: Budget, watch: Watch | None) -> Refined:
        """Measure, choose, optimise."""
        each = int(budget.steps * self.options.measure) // (1 + len(self.sizes))
        share = self.options.measure / (1 + len(self.sizes))
        part = None if budget.seconds is None else budget.seconds * share
        short = Budget(each, part)
        errors, done = [], 0
        for masks in self._wholes():
            found = self.descend(masks, short, _later(watch, done))
            errors.append(self._errors(found, masks))
            done += each
        maps = self._maps(torch.stack(errors, 1))
        left = None if part is None else budget.seconds - part * len(errors)  # type: ignore[operator]
        rest = replace(budget, steps=budget.steps - done, seconds=left)
        masks = self._masks(maps)
        best = self.descend(masks, rest, _later(watch, done))
        with torch.no_grad():
            latent = self._result(best, masks)
            drawn = synthesize(self.chart.generator, latent).clamp(-1, 1)
        return Refined(latent, drawn, best.steps + done, best.losses, maps=maps)

    def descend(self, masks: Mapping[str, Tensor], budget: Budget, watch: Watch | None) -> Best:
        """Optimise rows and the differences that have a mask [B, 1, H, W]."""
        moved = Moved(self._zeros(masks))

        def look(at: Tensor, number: int) -> Look:
            part = moved.part(at)
            drawn = synthesize(self.chart.generator, self.point(part, at, masks))
            losses = self.loss(self.images[at], drawn)
            return Look(part, drawn, losses, lambda: losses + self._held(part, masks, at))

        def move(step: Step) -> None:
            moved.move(step, self.options.latent.rate(step.done))
            self.chart.retract(moved.tensors)

        return descend(self.images, look, move, Best.unknown(moved.tensors), budget, watch)

    def point(self, part: Named, at: Tensor, masks: Mapping[str, Tensor]) -> Latent:
        """What is drawn of the images `at` [b]: rows, and F at the last layer that has a mask."""
        latent = self.chart.drawn(self.chart.point({"code": part["code"]}, at))
        for name, mask in masks.items():
            layer = int(name[1:])
            own = self.sizes[name][at] * part[name]
            own = own + self.known[name][at] if name in self.known else own
            feature = features(self.chart.generator, latent, layer) + mask[at] * own
            latent = replace(latent, feature=feature, layer=layer, skip="keep")
        return latent

    def _zeros(self, masks: Mapping[str, Tensor]) -> Named:
        start = self.chart.origin
        with torch.no_grad():
            shapes = {n: features(self.chart.generator, start, int(n[1:])) for n in masks}
        return self.chart.zeros() | {name: torch.zeros_like(x) for name, x in shapes.items()}

    def _held(self, part: Named, masks: Mapping[str, Tensor], at: Tensor) -> Tensor:
        """How far the differences are from where they began, weighted: [b]."""
        moved = [(mask[at] * part[name]).square().mean((1, 2, 3)) for name, mask in masks.items()]
        zero = torch.zeros(len(at), device=self.images.device)
        return self.options.latent.hold * sum(moved, zero)

    def _wholes(self) -> list[dict[str, Tensor]]:
        """The masks of each space alone: none for the rows, then all of one layer."""
        ones = self.images.new_ones(len(self.images), 1, 1, 1)
        return [{}, *({name: ones} for name in self.sizes)]

    @torch.no_grad()
    def _errors(self, found: Best, masks: Mapping[str, Tensor]) -> Tensor:
        """[B, R, R]: the squared error of each pixel."""
        every = torch.arange(len(self.images), device=self.images.device)
        drawn = synthesize(self.chart.generator, self.point(found.found, every, masks))
        return (drawn.clamp(-1, 1) - self.images).square().mean(1)

    def _maps(self, errors: Tensor) -> Tensor:
        """[B, K, R, R] -> the number of each pixel's space [B, R, R] uint8."""
        pictures, threshold = to_pixels(self.images), self.options.threshold
        pairs = zip(errors, pictures, strict=True)
        return torch.stack([chosen(one, superpixels(own), threshold) for one, own in pairs])

    def _masks(self, maps: Tensor) -> dict[str, Tensor]:
        """For each layer where its segments are, at the size of its features: [B, 1, H, W]."""
        generator, found = self.chart.generator, {}
        with torch.no_grad():
            for number, name in enumerate(self.sizes, start=1):
                side = features(generator, self.chart.origin, int(name[1:])).shape[-1]
                margin = 0 if side == generator.resolution else generator.margin  # cut by the last
                mask = (maps == number).float()[:, None]
                mask = F.interpolate(mask, size=(side - 2 * margin,) * 2, mode="area")
                found[name] = F.pad(mask, (margin,) * 4, mode="replicate") if margin else mask
        return found

    def _result(self, best: Best, masks: Mapping[str, Tensor]) -> Latent:
        """As it is saved."""
        every = torch.arange(len(self.images), device=self.images.device)
        at_last = self.point(best.found, every, masks)
        rows = self.chart.result({"code": best.found["code"]})
        rows = replace(rows, feature=at_last.feature, layer=at_last.layer, skip="keep")
        return rows.with_origin(refined_in=f"sam {self.chart.space}")


def _later(watch: Watch | None, done: int) -> Watch | None:
    return None if watch is None else partial(_told, watch, done)


def _told(watch: Watch, done: int, step: int, losses: Tensor) -> None:
    watch(done + step, losses)
