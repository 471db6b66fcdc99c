"""The networks of a model as functions of tensors alone: what is exported, each a file of its own.

| name | from | to |
| --- | --- | --- |
| encoder | images [, label] | code [, feature] |
| generator | code [, label] | images |
| generator-feature | code, feature [, label] | images |
| features | code [, label] | feature |
| editor | code [, feature] [, label], strengths | images |

Noise is what is stored with the weights, nothing is drawn, and the batch is free. Edits may stay
outside: adding a direction to a code is one addition, wherever the code lies. In the editor they
are inside, a strength for each of its directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.feature_editor import attached
from dseinvert.encoders import Encoder
from dseinvert.encoders.kinds import CHANGE_WEIGHTS
from dseinvert.errors import InputError, UsageError
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_bytes
from dseinvert.latent import Latent, Skip
from dseinvert.models import Model

FEATURE_INPUTS = ("code", "feature")


@dataclass(frozen=True)
class Graph:
    """One function: a module that takes `inputs` by name and gives a tuple of `outputs`."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    """An example of each, a batch of two."""
    outputs: tuple[str, ...]
    about: Mapping[str, str] = field(default_factory=dict)
    """What a user of the file must know besides the shapes."""

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By PyTorch: what every other runtime is compared with."""
        return dict(zip(self.outputs, self.module(**inputs), strict=True))


@dataclass(frozen=True)
class Entry:
    """Where a feature enters the generator, and what becomes of the RGB images below."""

    layer: int
    skip: Skip = "keep"


class Encoding(nn.Module):
    """Images -> (code) or (code, feature)."""

    def __init__(self, encoder: Encoder, *, pixels: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pixels = pixels

    def forward(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """[B, 3, R, R] in [-1, 1], or uint8 [B, R, R, 3] -> [B, L, D] [, [B, C, H, W]]."""
        if self.pixels:
            images = images.float().permute(0, 3, 1, 2) / 127.5 - 1
        return _present(self.encoder.encode(images, label))


class Drawing(nn.Module):
    """(code [, feature] [, label]) -> images."""

    def __init__(
        self, generator: Generator, entry: Entry | None, origin: Mapping[str, str], *, pixels: bool
    ) -> None:
        super().__init__()
        self.generator = generator
        self.entry = entry
        self.origin = dict(origin)
        self.pixels = pixels

    def forward(
        self, code: Tensor, feature: Tensor | None = None, label: Tensor | None = None
    ) -> tuple[Tensor]:
        """[B, L, D] -> [B, 3, R, R] in about [-1, 1], or uint8 [B, R, R, 3]."""
        return self.drawn(self.latent(code, feature, label))

    def latent(self, code: Tensor, feature: Tensor | None, label: Tensor | None) -> Latent:
        """What the tensors stand for."""
        space = self.generator.spec.space
        if self.entry is None:
            return Latent(code, space, label=label, origin=self.origin)
        entry = self.entry
        return Latent(code, space, feature, entry.layer, entry.skip, label, self.origin)

    def drawn(self, latent: Latent) -> tuple[Tensor]:
        """Its images."""
        images = self.generator.synthesize(latent)
        if not self.pixels:
            return (images,)
        whole = ((images.clamp(-1, 1) + 1) * 127.5).round()
        return (whole.permute(0, 2, 3, 1).to(torch.uint8),)


class Editing(nn.Module):
    """(code [, feature] [, label], strengths) -> images of the edited code."""

    def __init__(self, drawing: Drawing, directions: Sequence[Direction]) -> None:
        super().__init__()
        self.drawing = drawing
        self.directions = tuple(directions)
        self.feature_editor = attached(drawing.generator)
        """What `apply_edits` moves F by: its weights belong into the file. None = the rule."""

    def forward(
        self,
        code: Tensor,
        strengths: Tensor,
        feature: Tensor | None = None,
        label: Tensor | None = None,
    ) -> tuple[Tensor]:
        """[B, L, D], [B, E] -> as Drawing; a feature moves with its code."""
        latent = self.drawing.latent(code, feature, label)
        edits = [Edit(one, strengths[:, e]) for e, one in enumerate(self.directions)]
        return self.drawing.drawn(apply_edits(latent, edits, self.drawing.generator))


class Featuring(nn.Module):
    """(code [, label]) -> the generator's own feature at a layer."""

    def __init__(self, generator: Generator, layer: int, origin: Mapping[str, str]) -> None:
        super().__init__()
        self.generator = generator
        self.layer = layer
        self.origin = dict(origin)

    def forward(self, code: Tensor, label: Tensor | None = None) -> tuple[Tensor]:
        """[B, L, D] -> [B, C, H, W]."""
        latent = Latent(code, self.generator.spec.space, label=label, origin=self.origin)
        return (self.generator.features(latent, self.layer),)


@torch.no_grad()
def graphs(
    model: Model,
    what: str = "both",
    *,
    pixels: bool = False,
    layer: int | None = None,
    edits: Sequence[str] = (),
) -> list[Graph]:
    """The graphs of a model, those of its feature among them where it has one.

    Args:
        model: on any device.
        what: "encoder", "generator" or "both".
        pixels: images as bytes, as files hold them: the arithmetic around them is in the graph.
        layer: where a feature enters the generator; None = where the encoder's does, if it has one.
        edits: names of directions for an editor; () = there is none.

    Raises:
        UsageError: an encoder is wanted and there is none, or a layer or an edit that cannot be.
    """
    if model.encoder is None and what != "generator":
        raise UsageError(f"model {model.name!r} has no encoder", "--what generator")
    generator, encoder = model.generator, model.encoder
    if encoder is not None and encoder.kind in CHANGE_WEIGHTS and what != "generator":
        said = f"the encoder of {model.name} changes its generator's weights for each image"
        raise UsageError(f"{said}, which no exported file does", "--what generator")
    sample = generator.sample([1, 2])
    images = generator.synthesize(sample)
    latent, named = (sample, False) if encoder is None else _encoded(encoder, images, sample)
    about = _about(generator, latent if encoder is not None else None, pixels=pixels)
    made = []
    if encoder is not None and what != "generator":
        given = {"images": to_bytes(images) if pixels else images}
        given |= {"label": sample.label} if named and sample.label is not None else {}
        outputs = FEATURE_INPUTS[: len(_present(latent))]
        module = Encoding(encoder, pixels=pixels).eval()
        made.append(Graph("encoder", module, given, outputs, about | _place(_entry(latent, None))))
    if what != "encoder":
        drawing = _drawing(generator, sample, _entry(latent, layer), about, pixels=pixels)
        made += drawing
        if edits:
            made.append(_editor(model, drawing[:2][-1], edits))
    return made


def _editor(model: Model, drawing: Graph, names: Sequence[str]) -> Graph:
    """Of the graph that draws, with a feature where there is one."""
    known = model.directions
    unknown = [name for name in names if name not in known]
    if unknown:
        words = ", ".join(sorted(known)) or "none"
        raise UsageError(f"--edit: no direction {unknown[0]!r}", f"this model has: {words}")
    assert isinstance(drawing.module, Drawing)
    module = Editing(drawing.module, [known[name] for name in names]).eval()
    strengths = torch.linspace(-1, 1, 2 * len(names), device=model.generator.device)
    inputs = {**drawing.inputs, "strengths": strengths.view(2, -1)}
    try:
        module(**inputs)
    except (InputError, ValueError) as error:
        raise UsageError(f"--edit: {error}") from error
    about = {**drawing.about, "edits": ",".join(names)}
    return Graph("editor", module, inputs, drawing.outputs, about)


def _drawing(
    generator: Generator,
    sample: Latent,
    entry: Entry | None,
    about: Mapping[str, str],
    *,
    pixels: bool,
) -> list[Graph]:
    """The graphs that draw, with one for a feature and one that gives features at its layer."""
    given = {"code": sample.code.clone()}
    label = {"label": sample.label} if _reads_label(generator, sample) else {}
    origin = {name: about[name] for name in ("truncation",) if name in about}
    plain = Drawing(generator, None, origin, pixels=pixels).eval()
    made = [Graph("generator", plain, {**given, **label}, ("images",), about)]  # type: ignore[dict-item]
    if entry is None:
        return made
    try:
        feature = generator.features(sample, entry.layer)
        entered = Drawing(generator, entry, origin, pixels=pixels).eval()
        entered(**given, feature=feature, **label)
    except ValueError as error:
        raise UsageError(f"--layer {entry.layer}: {error}") from error
    about = {**about, **_place(entry)}
    featuring = Featuring(generator, entry.layer, origin).eval()
    inputs = {**given, "feature": feature, **label}
    return [
        *made,
        Graph("generator-feature", entered, inputs, ("images",), about),  # type: ignore[arg-type]
        Graph("features", featuring, {**given, **label}, ("feature",), about),  # type: ignore[dict-item]
    ]


def _encoded(encoder: Encoder, images: Tensor, sample: Latent) -> tuple[Latent, bool]:
    """What it gives, and whether it must be told the class of an image."""
    try:
        return encoder.encode(images), False
    except ValueError:
        if sample.label is None:
            raise
        return encoder.encode(images, sample.label), True


def _entry(latent: Latent, layer: int | None) -> Entry | None:
    if layer is not None:
        return Entry(layer)
    return None if latent.layer is None else Entry(latent.layer, latent.skip)


def _place(entry: Entry | None) -> dict[str, str]:
    return {} if entry is None else {"layer": str(entry.layer), "skip": entry.skip}


def _reads_label(generator: Generator, sample: Latent) -> bool:
    """A code in w+ holds its class; one in z does not."""
    return sample.label is not None and generator.spec.space in ("z", "z+")


def _about(generator: Generator, encoded: Latent | None, *, pixels: bool) -> dict[str, str]:
    kind = "uint8 [B, R, R, 3]" if pixels else "float32 [B, 3, R, R] in [-1, 1]"
    told = {"space": generator.spec.space, "images": kind}
    own = generator.truncation  # of a BigGAN's statistics
    if own is not None:
        told["truncation"] = (encoded.origin if encoded is not None else {}).get(
            "truncation", str(own)
        )
    return told


def _present(latent: Latent) -> tuple[Tensor, ...]:
    return (latent.code,) if latent.feature is None else (latent.code, latent.feature)
