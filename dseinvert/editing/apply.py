"""Edits: reading them from the command line and adding them to latents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dseinvert.editing.directions import Direction
from dseinvert.errors import InputError, UsageError
from dseinvert.generators import Generator
from dseinvert.latent import Latent

LARGEST = 100.0


@dataclass(frozen=True)
class Edit:
    """A direction and how far to go along it, in its own units."""

    direction: Direction
    strength: float

    @property
    def label(self) -> str:
        """Short and safe in a file name: `age+2`."""
        return f"{self.direction.name}{self.strength:+g}"


def label(edits: Sequence[Edit]) -> str:
    """The name of a combined edit: `age+2,smile-1`."""
    return ",".join(edit.label for edit in edits)


def parse_edits(text: str, directions: Mapping[str, Direction]) -> tuple[Edit, ...]:
    """`age=+2,smile=-1` -> edits applied together.

    Raises:
        UsageError: a name the model does not have, or a strength that is not a number.
    """
    edits = []
    for part in text.split(","):
        name, equals, strength = (word.strip() for word in part.partition("="))
        if not name or not equals:
            raise UsageError(f"--edit {text!r}: write NAME=STRENGTH, for example age=+2")
        if name not in directions:
            known = ", ".join(sorted(directions)) or "none"
            raise UsageError(f"--edit {text!r}: no direction {name!r}", f"this model has: {known}")
        edits.append(Edit(directions[name], _strength(text, strength)))
    if len({edit.direction.name for edit in edits}) < len(edits):
        raise UsageError(f"--edit {text!r}: the same direction twice", "add up the strengths")
    return tuple(edits)


def _strength(text: str, strength: str) -> float:
    try:
        value = float(strength)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UsageError(
            f"--edit {text!r}: {strength!r} is not a strength", f"a number within ±{LARGEST:g}"
        )
    return value


def apply_edits(
    latent: Latent, edits: Sequence[Edit], generator: Generator | None = None
) -> Latent:
    """w' = w + sum of strength x direction (DSE, Section IV-D), in the order-free sum.

    A feature moves with the code: F' = F + feat_K(w') - feat_K(w) (Feature-Style Encoder, Section
    3.3, Equation 1).

    Args:
        latent: of any device.
        edits: applied together.
        generator: what draws the features; None = the latent has none.

    Raises:
        InputError: a direction of another generator, space or shape.
        ValueError: a latent with a feature, and no generator.
    """
    code = latent.code
    for edit in edits:
        _check_fits(latent, edit.direction)
        code = code + edit.strength * edit.direction.vector.to(code)
    return move(latent, code, generator) if edits else latent


def move(latent: Latent, code: Tensor, generator: Generator | None = None) -> Latent:
    """The latent with another code [B, L, D]; a feature goes along by the difference rule.

    Raises ValueError for a latent with a feature, and no `generator`.
    """
    moved = replace(latent, code=code)
    if latent.feature is None:
        return moved
    if generator is None:
        raise ValueError("editing a feature needs the generator")
    return replace(moved, feature=latent.feature + _difference(latent, moved, generator))


@torch.no_grad()
def _difference(before: Latent, after: Latent, generator: Generator) -> Tensor:
    """feat_K(w') - feat_K(w), where the latent is."""
    assert before.layer is not None and before.feature is not None
    plain = (replace(one, feature=None, layer=None) for one in (before, after))
    old, new = (generator.features(one.to(generator.device), before.layer) for one in plain)
    return (new - old).to(before.feature)


def _check_fits(latent: Latent, direction: Direction) -> None:
    theirs = latent.origin.get("generator_sha256", direction.generator)
    if theirs != direction.generator:
        raise InputError(f"direction {direction.name!r} belongs to another generator")
    if latent.space != direction.space or latent.code.shape[1:] != direction.vector.shape:
        raise InputError(
            f"direction {direction.name!r} is {list(direction.vector.shape)} in {direction.space}, "
            f"the latent {list(latent.code.shape[1:])} in {latent.space}"
        )
