"""StyleSpace (Wu et al., 2021): the styles of all layers of a generator, one after the other.

A layer's style is what its affine transformation makes of its row of w+. The layers stand in the
order in which they are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dseinvert.latent import Latent


@dataclass(frozen=True)
class StyleLayer:
    """Where the style of one layer comes from, and which columns of [B, S] it has."""

    name: str
    """"conv3" is styled convolution 3, "rgb2" the second ToRGB; both are counted from 1."""
    row: int
    """Of w+."""
    columns: slice
    affine: nn.Linear


def in_order(affines: Iterable[tuple[str, int, nn.Module]]) -> tuple[StyleLayer, ...]:
    """Name, row of w+ and affine transformation of each layer -> the same with their columns."""
    layers: list[StyleLayer] = []
    for name, row, affine in affines:
        assert isinstance(affine, nn.Linear)
        start = layers[-1].columns.stop if layers else 0
        layers.append(StyleLayer(name, row, slice(start, start + affine.out_features), affine))
    return tuple(layers)


def of_rows(layers: Sequence[StyleLayer], rows: Tensor, style: Tensor | None = None) -> Tensor:
    """w+ [B, L, D] -> styles [B, S], with the offsets `style` [B, S] added where there are any."""
    styles = torch.cat([layer.affine(rows[:, layer.row]) for layer in layers], dim=1)
    return styles if style is None else styles + style


def by_layer(layers: Sequence[StyleLayer], style: Tensor | None) -> dict[str, Tensor]:
    """Offsets [B, S] -> those of each layer [B, C] by its name; none where `style` is None.

    Raises:
        ValueError: another number of columns than the layers have.
    """
    if style is None:
        return {}
    if style.ndim != 2 or style.shape[1] != layers[-1].columns.stop:
        raise ValueError(
            f"this generator takes styles [B, {layers[-1].columns.stop}], got {list(style.shape)}"
        )
    return {layer.name: style[:, layer.columns] for layer in layers}


class Styled(Protocol):
    """A generator, as far as its styles go."""

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers, in the order of their columns; () = it has none."""

    def rows(self, latent: Latent) -> Tensor:
        """The rows of w+ [B, L, D] of a latent in any space."""


def styles(generator: Styled, latent: Latent) -> Tensor:
    """The styles [B, S] of latents, their offsets included; of a family that has styles."""
    return of_rows(generator.style_layers, generator.rows(latent), latent.style)
