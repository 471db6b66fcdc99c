"""Whether edits of real pictures are worth having: a feature editor's beside the difference rule's.

A lower loss on samples is no promise for photos: there an editor may buy it with a haze. So the
same edits of the same pictures are drawn both ways, and compared in what a squared error does not
see: how sharp they are, and whether it is still the same person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.feature_editor import FeatureEditor, attach, by_rule
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.pixels import to_tensor
from dseinvert.generators.tuned import synthesize
from dseinvert.latent import Latent
from dseinvert.models import Model
from dseinvert.similarity.identity import Identity
from dseinvert.training.pictures import read_set

STRENGTHS = (-2.0, 2.0)
"""Units along each direction of the model."""
MOST = 64
"""Pictures that are looked at, the first of the set."""
SOFTER, STRANGER = 0.05, 0.02
"""What an editor may lose against the rule: of the sharpness, of the identity. Both are of the same
strength, at which an editor that does less changes less, so that there is little to lose."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Judged:
    """Means over pictures and edits, each against the picture's own reconstruction."""

    pictures: int
    sharpness_by_rule: float
    """Energy of the image less its 3x3 mean, as a share of the reconstruction's."""
    sharpness_by_editor: float
    identity_by_rule: float | None = None
    """Cosine from -1 to 1; None = no network that knows people."""
    identity_by_editor: float | None = None

    @property
    def good(self) -> bool:
        """Whether the editor's edits are about as sharp, and as like, as the rule's."""
        sharp = self.sharpness_by_editor >= (1 - SOFTER) * self.sharpness_by_rule
        if self.identity_by_rule is None or self.identity_by_editor is None:
            return sharp
        return sharp and self.identity_by_editor >= self.identity_by_rule - STRANGER

    def asdict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """What was found, in a line."""
        said = f"edits of {self.pictures} pictures: sharpness {self.sharpness_by_editor:.3f}, "
        said += f"by the rule {self.sharpness_by_rule:.3f}"
        if self.identity_by_editor is None:
            return said
        return f"{said}; identity {self.identity_by_editor:.3f}, {self.identity_by_rule:.3f}"


def pictures_for(model: Model, path: Path) -> Tensor:
    """The first pictures of a set of aligned ones: [N, 3, R, R] in [-1, 1].

    Raises:
        UsageError: the model has no directions to edit them along.
        InputError, NoInputError, MissingError: see `read_set`.
    """
    if not _along(model):
        raise UsageError(f"--real: {model.name} has no directions", "dseinvert directions learn")
    return to_tensor([*read_set(path, model.generator.resolution)[:MOST]])


@torch.inference_mode()
def judge(
    model: Model, editor: FeatureEditor, images: Tensor, who: Identity | None = None
) -> Judged:
    """Draw the same edits both ways.

    Args:
        model: run by PyTorch, with directions; it stays as it is.
        editor: for the F that its encoder writes.
        images: [N, 3, R, R] in [-1, 1], as the generator draws them.
        who: knows people; None = sharpness alone decides.
    """
    rule, own = by_rule(model.generator), by_rule(model.generator)
    attach(own, editor)
    found = [
        torch.stack([_measured(generator, *one, who) for one in _edits(model, images)]).mean(0)
        for generator in (rule, own)
    ]
    sharpness = [float(one[0]) for one in found]
    identity = [None if who is None else float(one[1]) for one in found]
    return Judged(len(images), *sharpness, *identity)


def _along(model: Model) -> list[Direction]:
    space = model.generator.spec.space[0]
    return [one for one in model.directions.values() if one.space[0] == space]


def _edits(model: Model, images: Tensor) -> Iterator[tuple[Latent, Edit]]:
    """Inverted pictures, some at a time, with each of the edits."""
    encoder = model.require_encoder()
    for some in images.split(_AT_ONCE):
        latent = encoder.encode(some.to(model.generator.device))
        for direction in _along(model):
            yield from ((latent, Edit(direction, strength)) for strength in STRENGTHS)


def _measured(generator: Generator, latent: Latent, edit: Edit, who: Identity | None) -> Tensor:
    """Sharpness and identity, means over the latents: [2]."""
    moved = apply_edits(latent, [edit], generator)
    plain, drawn = (synthesize(generator, one).clamp(-1, 1) for one in (latent, moved))
    sharp = (_detail(drawn) / _detail(plain).clamp_min(1e-8)).mean()
    same = sharp.new_zeros(()) if who is None else (who(plain) * who(drawn)).sum(1).mean()
    return torch.stack([sharp, same.to(sharp)]).double().cpu()


def _detail(images: Tensor) -> Tensor:
    """Energy of images [B, 3, R, R] less their 3x3 mean: [B]."""
    fine = images - F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "replicate"), 3, 1)
    return fine.square().mean((1, 2, 3))
