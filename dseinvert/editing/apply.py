"""Edits applied to latents: in every space, with or without a feature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dseinvert.editing.directions import Direction
from dseinvert.editing.edits import AutoEdit, ClassEdit, Edit, Step, label, parse_edits
from dseinvert.editing.feature_editor import carried
from dseinvert.editing.walk import on_sphere, walk
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.tuned import features
from dseinvert.latent import Latent

_Z, _W = ("z", "z+"), ("w", "w+")
__all__ = ["Edit", "apply_edits", "check_edits", "label", "move", "parse_edits"]


def apply_edits(
    latent: Latent,
    edits: Sequence[Step],
    generator: Generator | None = None,
    own: Tensor | None = None,
) -> Latent:
    """The latent after edits that act together; their order does not matter.

    In w+ w' = w + sum of strength x direction (DSE, Section IV-D); in z a walk on its sphere
    along that sum; in s the same sum on `style`. A direction in w moves a latent in z after z
    was mapped, which makes it one in w+. A class is a share of the label. A feature moves with
    all of it: F' = F + feat_K(w') - feat_K(w) (Feature-Style Encoder, Section 3.3, Equation 1), or
    by the feature editor that is attached to the generator.

    Args:
        latent: of any device.
        edits: applied together; `auto.settle` has given those with `auto` their strengths.
        generator: what draws features and maps z; None = no edit needs it.
        own: `own_feature` of the latent, for those who edit it several times; None = it is drawn.

    Raises:
        InputError: a direction of another generator, encoder, space or shape, or no classes.
        ValueError: a generator is needed, and there is none.
    """
    if not edits:
        return latent
    check_edits(latent, edits, generator)
    steps = [edit for edit in edits if isinstance(edit, Edit)]
    if len(steps) + sum(isinstance(edit, ClassEdit) for edit in edits) < len(edits):
        raise ValueError(f"{label(edits)}: auto is not settled")
    moved = latent
    for edit in edits:
        moved = _reclassed(moved, edit) if isinstance(edit, ClassEdit) else moved
    moved = _in_z(moved, [e for e in steps if e.direction.space in _Z], generator)
    moved = _in_w(moved, [e for e in steps if e.direction.space in _W], generator)
    moved = _in_s(moved, [e for e in steps if e.direction.space == "s"])
    return _carried(latent, moved, generator, own)


def own_feature(latent: Latent, generator: Generator) -> Tensor | None:
    """feat_K(w) of a latent before it is edited, where the generator is; None = it has no F."""
    return None if latent.feature is None else _drawn(latent, generator)


def check_edits(latent: Latent, edits: Sequence[Step], generator: Generator | None = None) -> None:
    """Whether the edits fit a latent: what `apply_edits` refuses.

    Raises:
        InputError: a direction of another generator, encoder, space or shape, or no classes.
    """
    for edit in edits:
        if isinstance(edit, ClassEdit):
            _check_class(latent, edit)
            continue
        _check_origin(latent, edit.direction)
        if edit.direction.space == "s":
            _check_style(latent, edit.direction, generator)
        else:
            _check_code(latent, edit, generator)


def move(latent: Latent, code: Tensor, generator: Generator | None = None) -> Latent:
    """The latent with another code [B, L, D]; a feature goes along as it does with edits.

    Raises ValueError for a latent with a feature, and no `generator`.
    """
    return _carried(latent, replace(latent, code=code), generator)


def _in_z(latent: Latent, edits: Sequence[Edit], generator: Generator | None) -> Latent:
    if not edits:
        return latent
    if generator is None:
        raise ValueError("editing z needs the generator")
    total = _sum(latent.code, edits)
    code = walk(latent.code, total) if on_sphere(generator) else latent.code + total
    return replace(latent, code=code)


def _in_w(latent: Latent, edits: Sequence[Edit], generator: Generator | None) -> Latent:
    if not edits:
        return latent
    latent = _mapped(latent, generator)
    return replace(latent, code=latent.code + _sum(latent.code, edits))


def _in_s(latent: Latent, edits: Sequence[Edit]) -> Latent:
    for edit in edits:
        step = _each(edit.strength, latent.code) * edit.direction.vector.to(latent.code)
        style = step[0].expand(len(latent), -1) if len(step) == 1 else step[:, 0]
        if latent.style is not None:
            style = latent.style + style
        latent = replace(latent, style=style)
    return latent


def _reclassed(latent: Latent, edit: ClassEdit) -> Latent:
    assert latent.label is not None
    wanted = torch.zeros_like(latent.label)
    wanted[:, edit.number] = 1
    return replace(latent, label=latent.label.lerp(wanted, edit.amount))


def _mapped(latent: Latent, generator: Generator | None) -> Latent:
    """A latent in z or w as rows of w+, where its generator has such; else as it is."""
    maps = _maps(generator)
    if latent.space == "w+" or maps is None:
        return latent
    with torch.no_grad():
        return replace(latent, code=maps(latent), space="w+")


def _maps(generator: Generator | None) -> Callable[[Latent], Tensor] | None:
    """What takes a latent of any space to rows of w+; None = there is no such."""
    return generator.rows if generator is not None and generator.spec.space == "w+" else None


def _sum(code: Tensor, edits: Sequence[Edit]) -> Tensor:
    """Of strength x direction: [B or 1, L, D], zero in rows that are not meant."""
    total = code.new_zeros(1, *code.shape[1:])
    for edit in edits:
        step = _each(edit.strength, code) * edit.direction.vector.to(code)
        total = total + step * _meant(edit, code.shape[1]).to(code)
    return total


def _each(strength: float | Tensor, code: Tensor) -> Tensor:
    """[1, 1, 1] or [B, 1, 1]."""
    return torch.as_tensor(strength).to(code).reshape(-1, 1, 1)


def _meant(edit: Edit, count: int) -> Tensor:
    """1 for each row that the edit acts on, else 0: [count, 1]."""
    meant = torch.ones(count, 1)
    for rows in (edit.direction.layers, edit.rows):
        if rows is not None:
            meant[: rows[0]] = 0
            meant[rows[1] + 1 :] = 0
    return meant


def _carried(
    before: Latent, after: Latent, generator: Generator | None, own: Tensor | None = None
) -> Latent:
    """`after` with the feature of `before` moved as the generator's own moves."""
    if before.feature is None:
        return after
    if generator is None:
        raise ValueError("editing a feature needs the generator")
    return replace(after, feature=_moved(before, after, generator, own))


def _moved(before: Latent, after: Latent, generator: Generator, own: Tensor | None) -> Tensor:
    """F', where the latent is, by feat_K of both, with the weights that each sample has."""
    assert before.layer is not None and before.feature is not None
    old = _drawn(before, generator) if own is None else own
    new = _drawn(after, generator)
    feature = before.feature.to(old.device)
    with torch.no_grad():
        return carried(generator, before.layer, feature, old, new).to(before.feature)


@torch.no_grad()
def _drawn(latent: Latent, generator: Generator) -> Tensor:
    """The feature at the layer of a latent's own one, as its code alone draws it."""
    assert latent.layer is not None
    plain = replace(latent, feature=None, layer=None)
    return features(generator, plain.to(generator.device), latent.layer)


def _check_origin(latent: Latent, direction: Direction) -> None:
    theirs = latent.origin.get("generator_sha256", direction.generator)
    if theirs != direction.generator:
        raise InputError(f"direction {direction.name!r} belongs to another generator")
    codes = latent.origin.get("encoder_sha256", direction.encoder)
    if direction.encoder and codes != direction.encoder:
        raise InputError(
            f"direction {direction.name!r} was found on the codes of another encoder",
            "invert again with its encoder",
        )


def _check_code(latent: Latent, edit: Edit | AutoEdit, generator: Generator | None) -> None:
    direction, space, shape = edit.direction, latent.space, tuple(latent.code.shape[1:])
    fits = space in (_Z if direction.space in _Z else _W)
    if direction.space in _W and space != "w+" and generator is not None and _maps(generator):
        fits, space, shape = True, "w+", (generator.spec.layers, generator.spec.dim)
    own = tuple(direction.vector.shape)
    if not fits or own not in (shape, (1, shape[1])):
        raise InputError(
            f"direction {direction.name!r} is {list(own)} in {direction.space}, "
            f"the latent {list(shape)} in {space}"
        )
    for rows in (direction.layers, edit.rows):
        if rows is not None and rows[1] >= shape[0]:
            raise InputError(f"{edit.label}: no row {rows[1]}: the latent has {shape[0]}, from 0")
        if rows is not None and not 0 <= rows[0] <= rows[1]:
            raise InputError(f"{edit.label}: no rows {rows[0]} to {rows[1]}")


def _check_class(latent: Latent, edit: ClassEdit) -> None:
    if latent.label is None or latent.space not in _Z:
        raise InputError(
            f"{edit.label}: this latent in {latent.space} has no class that could change",
            "classes belong to latents in z",
        )
    if not 0 <= edit.number < latent.label.shape[1]:
        raise InputError(f"{edit.label}: there are {latent.label.shape[1]} classes, from 0")


def _check_style(latent: Latent, direction: Direction, generator: Generator | None) -> None:
    own, wide = direction.vector.shape[1], None
    if generator is not None:
        layers = generator.style_layers
        wide = layers[-1].columns.stop if layers else 0
    if latent.style is not None:
        wide = latent.style.shape[1]
    if wide is not None and own != wide:
        raise InputError(f"direction {direction.name!r} is of {own} styles, there are {wide}")
