"""Two latents made one: rows of one in the other (style mixing), and the way between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dseinvert.editing.apply import move
from dseinvert.editing.grammar import rows_of
from dseinvert.errors import InputError, UsageError
from dseinvert.generators import Generator
from dseinvert.generators.tuned import features
from dseinvert.latent import Latent

SPHERICAL = frozenset({"z", "z+"})


def parse_rows(text: str, count: int, option: str = "--layers") -> list[int]:
    """`0-3,8` -> [0, 1, 2, 3, 8], of `count` rows counted from 0.

    Raises:
        UsageError: not of that form, or beyond the last row.
    """
    rows = rows_of(text, option)
    if not rows or max(rows) >= count:
        raise UsageError(f"{option} {text!r}: no such rows", f"rows 0 to {count - 1}")
    return sorted(set(rows))


def mixed(base: Latent, other: Latent, rows: list[int], generator: Generator) -> Latent:
    """`base` with some rows of `other` (StyleGAN, Section 3.1), batches of one size.

    The feature of `base` stays, moved by the difference rule (Feature-Style Encoder, Figure 8).

    Raises:
        InputError: latents without rows, or of different spaces.
        ValueError: a row that does not exist.
    """
    _check_alike(base, other)
    if base.code.shape[1] == 1:
        raise InputError("these latents have one row: there is nothing to mix")
    if not all(0 <= row < base.code.shape[1] for row in rows):
        raise ValueError(f"rows must be 0..{base.code.shape[1] - 1}, got {rows}")
    code = base.code.clone()
    code[:, rows] = other.code[:, rows].to(code)
    return move(base, code, generator)


def between(a: Latent, b: Latent, share: float, generator: Generator) -> Latent:
    """The latent at `share` (0 = a, 1 = b) of the way; on the sphere's arc in z and z+.

    Where one has a feature and the other none, the other's is what the generator makes there.

    Raises:
        InputError: of different spaces, or with features at different layers.
    """
    _check_alike(a, b)
    a, b = _both_features(a, b, generator)
    middle = _arc if a.space in SPHERICAL else torch.lerp
    return replace(
        a,
        code=middle(a.code, b.code, share),
        feature=_lerp(a.feature, b.feature, share),
        label=_lerp(a.label, b.label, share),
        style=_lerp(a.style, b.style, share),
        tuning=_both_tunings(a.tuning, b.tuning, share),
    )


def _check_alike(a: Latent, b: Latent) -> None:
    if a.space != b.space or a.code.shape[1:] != b.code.shape[1:]:
        raise InputError(
            f"latents of different spaces: {list(a.code.shape[1:])} in {a.space}, "
            f"{list(b.code.shape[1:])} in {b.space}"
        )


def _both_features(a: Latent, b: Latent, generator: Generator) -> tuple[Latent, Latent]:
    layer, other = a.layer, b.layer
    if layer is not None and other is not None:
        if (layer, a.skip) != (other, b.skip):
            raise InputError(f"features at different layers: {layer} and {other}")
        return a, b
    return _featured(a, other, b, generator), _featured(b, layer, a, generator)


def _featured(one: Latent, layer: int | None, like: Latent, generator: Generator) -> Latent:
    """The latent with what the generator makes at `layer`; None = as it is."""
    if layer is None:
        return one
    feature = features(generator, one.to(generator.device), layer).to(one.code.device)
    return replace(one, feature=feature, layer=layer, skip=like.skip)


def _lerp(a: Tensor | None, b: Tensor | None, share: float) -> Tensor | None:
    """None counts as zeros beside a tensor."""
    if a is None or b is None:
        known = a if b is None else b
        return None if known is None else known * (1 - share if b is None else share)
    return torch.lerp(a, b, share)


def _both_tunings(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """(1 - share) of one difference and share of the other: pairs of low rank, side by side."""
    if not a and not b:
        return {}
    tuning: dict[str, Tensor] = {}
    for name in sorted({key.rpartition(".")[0] for key in (*a, *b)}):
        parts = [(one, part) for one, part in ((a, 1 - share), (b, share)) if f"{name}.up" in one]
        tuning[f"{name}.up"] = torch.cat([one[f"{name}.up"] * part for one, part in parts], 2)
        tuning[f"{name}.down"] = torch.cat([one[f"{name}.down"] for one, _ in parts], 1)
    return tuning


def _arc(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Row by row along the great circle, lengths in a straight line (Shoemake, 1985)."""
    long_a, long_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    cosine = (a * b).sum(-1, keepdim=True) / (long_a * long_b).clamp_min(1e-12)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    straight = torch.lerp(a / long_a, b / long_b, share)
    curved = ((1 - share) * angle).sin() / sine * a / long_a
    curved = curved + (share * angle).sin() / sine * b / long_b
    unit = torch.where(sine > 1e-4, curved, straight)
    return unit * torch.lerp(long_a, long_b, share)
