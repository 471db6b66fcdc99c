"""A learned way for F to follow an edit, beside the difference rule F + feat_K(w') - feat_K(w).

The rule moves what the generator draws of w, and leaves what F alone knows where it was: a ghost
behind a turned head, a hole behind a mouth that opens. A small network, taught on pairs of the
generator's own, corrects it. The idea is StyleFeatureEditor's (Bobkov et al., 2024); the network
is not: the rule is what it starts from, and without an edit F stays as it is by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.generators import Generator
from dseinvert.generators.tuned import private

_PLACE = "feature_editor"
_LITTLE = 0.1
"""Of an edit, in deviations: at it half of the correction shows."""


@dataclass(frozen=True)
class FeatureEditorConfig:
    """The layer K of the generator whose output F replaces, its channels, and the network's size.

    Raises ValueError for numbers that make no network.
    """

    layer: int
    channels: int
    width: int = 64
    depth: int = 4

    def __post_init__(self) -> None:
        for name, value in self.asdict().items():
            if type(value) is not int or not 1 <= value <= 4096:
                raise ValueError(f"a feature editor with {name} {value}")

    def asdict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class FeatureEditor(nn.Module):
    """F' = F + d + b d + s (a r + c): d as the rule has it, r = F - feat_K(w), a, b, c learned.

    s is how large the edit is, from 0 to 1; without one d and s are 0.
    """

    scale: Tensor
    """The deviation of each channel of feat_K: [C, 1, 1]."""

    def __init__(self, config: FeatureEditorConfig) -> None:
        super().__init__()
        self.config = config
        three, width = 3 * config.channels, config.width
        self.enter = nn.Conv2d(three, width, 1)
        self.body = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=2 ** (k % 3), dilation=2 ** (k % 3))
            for k in range(config.depth)
        )
        self.leave = nn.Conv2d(width, three, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.register_buffer("scale", torch.ones(config.channels, 1, 1))

    def forward(self, feature: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """F, feat_K(w) and feat_K(w'), all [B, C, H, W] -> F', of that shape."""
        own, moved = feature - before, after - before
        known = torch.cat([own, moved, before], 1) / self.scale.repeat(3, 1, 1)
        x = F.leaky_relu(self.enter(known), 0.2)
        for conv in self.body:
            x = x + F.leaky_relu(conv(x), 0.2)
        kept, follows, new = self.leave(x).chunk(3, 1)
        size = (moved / self.scale).square().mean((1, 2, 3), keepdim=True).sqrt()
        shown = size / (size + _LITTLE)
        return feature + moved + follows * moved + shown * (kept * own + new * self.scale)


@dataclass(frozen=True)
class _Held:
    """What a generator carries without owning its weights: it is no submodule, and is not saved."""

    editor: FeatureEditor


def build(numbers: Mapping[str, Any]) -> FeatureEditor:
    """An untrained one.

    Raises:
        TypeError, ValueError: numbers that make none.
    """
    return FeatureEditor(FeatureEditorConfig(**numbers))


def attach(generator: Generator, editor: FeatureEditor) -> None:
    """Have features of the generator moved by the editor, wherever edits are made with it."""
    setattr(generator.plain, _PLACE, _Held(editor))


def attached(generator: Generator) -> FeatureEditor | None:
    """Its editor; None = features move by the difference rule."""
    held = getattr(generator.plain, _PLACE, None)
    return None if held is None else held.editor


def by_rule(generator: Generator) -> Generator:
    """The same generator, with the same weights, whose features move by the difference rule."""
    own: Any = private(generator)
    setattr(own, _PLACE, None)
    return own


def carried(
    generator: Generator, layer: int, feature: Tensor, before: Tensor, after: Tensor
) -> Tensor:
    """F' [B, C, H, W] of F, feat_K(w) and feat_K(w') at layer K: by the editor that is made for it.

    The difference rule moves features of other layers.
    """
    editor = attached(generator)
    meant = (layer, feature.shape[1])
    if editor is None or (editor.config.layer, editor.config.channels) != meant:
        return feature + (after - before)
    moved: Tensor = editor(feature, before, after)
    return moved
