"""Teaching a feature editor on pairs of the generator's own, of which both sides are known.

A sample of w is inverted to (w_e, F_e); an edit d takes it to the image of w + d; F' is to draw
that image at w_e + d. Half of the images are covered in places by the sample upside down, before
and after the edit alike: what w cannot say, as a photo has it, and what an edit has to leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.editing.apply import Edit, apply_edits
from dseinvert.editing.directions import Direction
from dseinvert.editing.feature_editor import FeatureEditor, FeatureEditorConfig
from dseinvert.encoders import Encoder
from dseinvert.encoders.kinds import CHANGE_WEIGHTS
from dseinvert.errors import UsageError
from dseinvert.generators import Generator
from dseinvert.generators.tuned import features, synthesize
from dseinvert.latent import Latent
from dseinvert.models import Model
from dseinvert.progress import Count
from dseinvert.similarity.losses import mse, ssim
from dseinvert.training.samples import HALF, held_out_seeds, training_seeds

RATE = 1e-3
STRONGEST = 3.0
"""Units that an edit along a direction of the model takes at most."""
FARTHEST = 0.6
"""Share of the way to another sample that another edit takes at most."""
COVERED = 0.5
"""Share of the images that are covered in places."""
LIKENESS = 0.05
"""Weight of 1 - SSIM beside the squared error."""
HELD_OUT = 64
_KNOWN = 64
"""Samples that say how far features spread."""


@dataclass(frozen=True)
class Pairs:
    """Inverted samples, and what an edit should make of them."""

    latent: Latent
    """With F, as the encoder finds it."""
    code: Tensor
    """Its code after the edit: [B, L, D]."""
    before: Tensor
    """feat_K(w_e): [B, C, H, W]."""
    after: Tensor
    """feat_K(w_e + d), likewise."""
    wanted: Tensor
    """[B, 3, R, R] in about [-1, 1]."""


@dataclass(frozen=True)
class Learned:
    """An editor, and its mean loss on samples that it was not taught on."""

    editor: FeatureEditor
    by_rule: float
    """What the difference rule loses there."""
    by_editor: float


@dataclass(frozen=True)
class Lessons:
    """Draws pairs; each follows from its seed alone, so that the batch does not matter."""

    generator: Generator
    encoder: Encoder
    directions: Sequence[Direction]

    @torch.no_grad()
    def pairs(self, seeds: Sequence[int]) -> Pairs:
        """Those of these seeds."""
        own = self.generator.sample(seeds)
        others = self.generator.sample([(seed + 1) % 2**32 for seed in seeds])
        edited = torch.cat([self._edited(own[k], others[k], s) for k, s in enumerate(seeds)])
        images, wanted = (
            self.generator.synthesize(one).clamp(-1, 1) for one in (own, replace(own, code=edited))
        )
        cover = images.flip(2)
        covered = torch.stack([_covered(images.shape[-1], seed) for seed in seeds]).to(images)
        latent = self.encoder.encode(images.lerp(cover, covered), own.label)
        code = latent.code + (edited - own.code)
        plain = replace(latent, feature=None, layer=None)
        assert latent.layer is not None
        before, after = (
            features(self.generator, one, latent.layer)
            for one in (plain, replace(plain, code=code))
        )
        return Pairs(latent, code, before, after, wanted.lerp(cover, covered))

    def losses(self, pairs: Pairs, feature: Tensor) -> Tensor:
        """How far F' [B, C, H, W] is from drawing what is wanted: [B]."""
        moved = replace(pairs.latent, code=pairs.code, feature=feature)
        drawn = synthesize(self.generator, moved)
        return mse(pairs.wanted, drawn) + LIKENESS * (1 - ssim(pairs.wanted, drawn))

    def _edited(self, own: Latent, other: Latent, seed: int) -> Tensor:
        """The code of one sample after some edit: [1, L, D]."""
        draw = np.random.default_rng((seed, 3))
        if self.directions and draw.random() < 0.5:
            direction = self.directions[int(draw.integers(len(self.directions)))]
            strength = float(draw.uniform(-STRONGEST, STRONGEST))
            return apply_edits(own, [Edit(direction, strength)], self.generator).code
        first, last = sorted(draw.integers(own.code.shape[1], size=2).tolist())
        code, rows = own.code.clone(), slice(first, last + 1)
        code[:, rows] = code[:, rows].lerp(other.code[:, rows], float(draw.uniform(0, FARTHEST)))
        return code


def learn_editor(
    model: Model, steps: int, batch: int, seed: int, told: Count = lambda done, note="": None
) -> Learned:
    """Teach a new editor for the F that the model's encoder writes.

    Args:
        model: run by PyTorch; it stays as it is.
        steps: of Adam.
        batch: pairs in each.
        seed: of the pairs, and of the network's first weights.
        told: is told each step that is done.

    Raises:
        UsageError: the encoder writes no F, or changes the generator.
        MissingError: there is no encoder.
    """
    lessons = _lessons(model)
    held = [lessons.pairs(seeds) for seeds in _parts(held_out_seeds(0, HELD_OUT), batch)]
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        editor = _fresh(lessons, held[0].latent)
        by_rule = held_out(lessons, editor, held)
        adam = torch.optim.Adam(editor.parameters(), RATE)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for step in range(steps):
            pairs = lessons.pairs(training_seeds(seed, step * batch, (step + 1) * batch))
            loss = lessons.losses(pairs, _followed(editor, pairs)).mean()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            falling.step()
            told(step + 1, f"loss {float(loss.detach()):.4f}")
    editor.eval().requires_grad_(False)
    return Learned(editor, by_rule, held_out(lessons, editor, held))


@torch.no_grad()
def held_out(lessons: Lessons, editor: FeatureEditor, held: Sequence[Pairs]) -> float:
    """The mean loss over pairs; an untaught editor is the difference rule."""
    losses = [lessons.losses(pairs, _followed(editor, pairs)) for pairs in held]
    return float(torch.cat(losses).mean())


def _lessons(model: Model) -> Lessons:
    encoder, generator = model.require_encoder(), model.generator
    with torch.no_grad():
        sample = generator.sample([HALF])
        found = encoder.encode(generator.synthesize(sample), sample.label)
    if found.feature is None:
        raise UsageError(f"the encoder of {model.name} writes no F", "train --method dse-feature")
    if encoder.kind in CHANGE_WEIGHTS or found.code.shape != sample.code.shape:
        raise UsageError(f"the encoder of {model.name} writes more than a code and F")
    along = [one for one in model.directions.values() if one.space[0] == generator.spec.space[0]]
    return Lessons(generator, encoder, along)


def _fresh(lessons: Lessons, found: Latent) -> FeatureEditor:
    """An editor that is the difference rule, and knows how far features spread."""
    assert found.feature is not None and found.layer is not None
    channels = found.feature.shape[1]
    width = min(FeatureEditorConfig.width, max(8, channels))
    editor = FeatureEditor(FeatureEditorConfig(found.layer, channels, width))
    with torch.no_grad():
        seeds = _parts(held_out_seeds(HELD_OUT, HELD_OUT + _KNOWN), 16)
        samples = (lessons.generator.sample(part) for part in seeds)
        own = torch.cat([lessons.generator.features(one, found.layer).cpu() for one in samples])
        editor.scale.copy_(own.std((0, 2, 3)).clamp_min(1e-4)[:, None, None])
    return editor.to(found.code.device)


def _followed(editor: FeatureEditor, pairs: Pairs) -> Tensor:
    assert pairs.latent.feature is not None
    followed: Tensor = editor(pairs.latent.feature, pairs.before, pairs.after)
    return followed


def _parts(seeds: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (seeds[start : start + size] for start in range(0, len(seeds), size))


def _covered(side: int, seed: int) -> Tensor:
    """Where something else is seen, with soft rims: [1, side, side] from 0 to 1."""
    draw: Any = np.random.default_rng((seed, 4))
    if draw.random() >= COVERED:
        return torch.zeros(1, side, side)
    coarse = torch.from_numpy(draw.random((1, 1, 5, 5), dtype=np.float32))
    smooth = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)[0]
    return ((smooth - 0.6) * 12).sigmoid()
