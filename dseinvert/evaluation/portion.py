"""What one process measured of its share of the faces: kept in a file, and joined to a whole.

The file is safetensors; what is no tensor stands in its head as JSON. Sets are kept as `Crowd`, so
that their distance is that of all pictures together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from dseinvert.errors import InputError, NoInputError, OutputError
from dseinvert.evaluation.compare import Result
from dseinvert.evaluation.curves import Curve
from dseinvert.evaluation.frechet import Crowd, frechet, joined
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.latent.latent import same_every_time
from dseinvert.media.atomic import shown
from dseinvert.media.pixels import Pixels
from dseinvert.media.tensors import read_tensors
from dseinvert.names import json_value

FORMAT = "dseinvert-portion-1"
SHOWN = 8
"""Faces of which pictures are kept."""


@dataclass(frozen=True)
class Faces:
    """The faces that were measured, and where they stand among all."""

    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    """Of each: the number of its input in the whole listing, and its own in that."""
    crops: tuple[Pixels, ...]
    """[R, R, 3]; of those that were read back, the first few."""
    inputs: tuple[int, ...]
    """All inputs that were looked at, also those without a face."""
    total: int
    """Inputs of the whole run."""
    listing: str = ""
    """Tells one list of inputs from another."""


@dataclass(frozen=True)
class Portion:
    """All that tables, plots and grid are made from."""

    faces: Faces
    results: tuple[Result, ...] = ()
    """Empty = there was no face."""
    curves: tuple[Curve, ...] = ()
    crowd: Crowd | None = None
    """Of the images themselves; None = sets are not compared."""
    protocol: str = ""
    """How the numbers were got, without how many images they are of."""
    sets: str = "Fréchet"
    """The name of the distance between sets."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All that decides about the numbers."""


def dumps(portion: Portion) -> bytes:
    """The bytes of its file, JSON and tensors."""
    tensors = {name: tensor.clone().contiguous() for name, tensor in _tensors(portion)}
    faces = portion.faces
    facts = {
        "names": faces.names,
        "places": faces.places,
        "inputs": faces.inputs,
        "total": faces.total,
        "listing": faces.listing,
        "methods": [
            {"name": one.name, "peak": one.peak, "measures": [*one.measures]}
            for one in portion.results
        ],
        "curves": [
            {
                "method": one.method,
                "direction": one.direction,
                "strengths": one.strengths,
                "scores": [*one.scores],
            }
            for one in portion.curves
        ],
        "counts": {name: crowd.count for name, crowd in _crowds(portion)},
        "protocol": portion.protocol,
        "sets": portion.sets,
        "settings": dict(portion.settings),
    }
    text = {"format": FORMAT, "facts": json.dumps(facts)}
    return same_every_time(save(tensors, metadata=text))


def _crowds(portion: Portion) -> Iterator[tuple[str, Crowd]]:
    """Those of all sets, by the names of their tensors."""
    if portion.crowd is not None:
        yield "images", portion.crowd
    for k, result in enumerate(portion.results):
        if result.crowd is not None:
            yield f"result/{k}", result.crowd
    for k, curve in enumerate(portion.curves):
        yield from ((f"curve/{k}/{step}", crowd) for step, crowd in enumerate(curve.crowds))


def _tensors(portion: Portion) -> Iterator[tuple[str, Tensor]]:
    if portion.faces.crops:
        yield "crops", torch.from_numpy(np.stack(portion.faces.crops[:SHOWN]))
    for name, crowd in _crowds(portion):
        yield f"{name}/mean", crowd.mean
        yield f"{name}/root", crowd.root
    for k, result in enumerate(portion.results):
        yield f"result/{k}/seconds", result.seconds
        yield f"result/{k}/drawn", torch.from_numpy(np.stack(to_pixels(result.drawn[:SHOWN])))
        if result.steps is not None:
            yield f"result/{k}/steps", result.steps
        for name, values in result.measures.items():
            yield f"result/{k}/measure/{name}", values
    for k, curve in enumerate(portion.curves):
        yield f"curve/{k}/identity", curve.identity
        yield f"curve/{k}/moved", curve.moved
        if curve.prior is not None:
            yield f"curve/{k}/prior", curve.prior
        for name, values in curve.scores.items():
            yield f"curve/{k}/score/{name}", values


def load(path: Path) -> Portion:
    """What `dumps` made; InputError where a file is none, or not whole."""
    try:
        head, tensors = read_tensors(path)
        if head.text.get("format") != FORMAT:
            raise ValueError("is not of a share of evaluate")
        return _portion(json_value(head.text["facts"]), tensors)
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        raise InputError(
            f"{shown(path)}: damaged numbers of a share: {error}", "evaluate that share again"
        ) from error


def _portion(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Portion:
    crops = tuple(one.numpy() for one in tensors.get("crops", ()))
    places = tuple((int(place), int(number)) for place, number in facts["places"])
    faces = Faces(
        tuple(map(str, facts["names"])),
        places,
        crops,
        tuple(map(int, facts["inputs"])),
        int(facts["total"]),
        str(facts["listing"]),
    )
    crowds = {
        name: Crowd(int(count), tensors[f"{name}/mean"], tensors[f"{name}/root"])
        for name, count in facts["counts"].items()
    }
    return Portion(
        faces,
        tuple(_result(k, one, tensors, crowds) for k, one in enumerate(facts["methods"])),
        tuple(_curve(k, one, tensors, crowds) for k, one in enumerate(facts["curves"])),
        crowds.get("images"),
        str(facts["protocol"]),
        str(facts["sets"]),
        dict(facts["settings"]),
    )


def _result(
    k: int, told: Mapping[str, Any], tensors: Mapping[str, Tensor], crowds: Mapping[str, Crowd]
) -> Result:
    drawn = to_tensor([one.numpy() for one in tensors[f"result/{k}/drawn"]])
    return Result(
        str(told["name"]),
        None,
        drawn,
        {name: tensors[f"result/{k}/measure/{name}"] for name in told["measures"]},
        tensors[f"result/{k}/seconds"],
        told["peak"],
        tensors.get(f"result/{k}/steps"),
        crowd=crowds.get(f"result/{k}"),
    )


def _curve(
    k: int, told: Mapping[str, Any], tensors: Mapping[str, Tensor], crowds: Mapping[str, Crowd]
) -> Curve:
    strengths = tuple(map(float, told["strengths"]))
    named = [f"curve/{k}/{step}" for step in range(len(strengths))]
    return Curve(
        str(told["method"]),
        str(told["direction"]),
        strengths,
        tensors[f"curve/{k}/identity"],
        tensors[f"curve/{k}/moved"],
        {name: tensors[f"curve/{k}/score/{name}"] for name in told["scores"]},
        tensors.get(f"curve/{k}/prior"),
        crowds=tuple(crowds[name] for name in named if name in crowds),
    )


def join(portions: Sequence[Portion], where: Path) -> Portion:
    """That of one process over all faces, in their order.

    Args:
        portions: the newest first; what a newer one holds counts for an older one.
        where: they lie, for what is said.

    Raises:
        OutputError: they are of other options or inputs. NoInputError: some inputs are missing.
    """
    first = portions[0]
    for one in portions:
        if one.settings != first.settings:
            raise OutputError(
                f"{shown(where)}: its shares were measured with different options",
                "evaluate all of them again, into another --out",
            )
        if one.faces.listing != first.faces.listing:
            raise OutputError(
                f"{shown(where)}: its shares are of other inputs",
                "evaluate all of them again, into another --out",
            )
    apart = [*_disjoint(portions)]
    missing = first.faces.total - sum(len(one.faces.inputs) for one in apart)
    if missing:
        raise NoInputError(
            f"{shown(where)}: {missing} of {first.faces.total} inputs are in no share yet",
            "evaluate the shares that are missing, with the same options",
        )
    full = [one for one in apart if one.results]
    if not full:
        raise NoInputError("no faces to compare on", "name image files, folders or globs")
    return _joined(full)


def _disjoint(portions: Sequence[Portion]) -> Iterator[Portion]:
    seen: set[int] = set()
    for one in portions:
        if seen.isdisjoint(one.faces.inputs):
            seen.update(one.faces.inputs)
            yield one


def _joined(portions: Sequence[Portion]) -> Portion:
    first = portions[0]
    every = [place for one in portions for place in one.faces.places]
    order = torch.tensor(sorted(range(len(every)), key=every.__getitem__))
    few = [place for one in portions for place in one.faces.places[:SHOWN]]
    pictured = torch.tensor(sorted(range(len(few)), key=few.__getitem__)[:SHOWN])
    names = [name for one in portions for name in one.faces.names]
    crops = [crop for one in portions for crop in one.faces.crops[:SHOWN]]
    images = _whole([one.crowd for one in portions])
    faces = replace(
        first.faces,
        names=tuple(names[k] for k in order),
        places=tuple(every[k] for k in order),
        crops=tuple(crops[k] for k in pictured),
        inputs=tuple(range(first.faces.total)),
    )
    results = [
        _one_result(rows, order, pictured, images)
        for rows in zip(*(one.results for one in portions), strict=True)
    ]
    curves = [
        _one_curve(rows, order, images)
        for rows in zip(*(one.curves for one in portions), strict=True)
    ]
    protocol = " / ".join(dict.fromkeys(one.protocol for one in portions))
    return replace(
        first,
        faces=faces,
        results=tuple(results),
        curves=tuple(curves),
        crowd=images,
        protocol=protocol,
    )


def _whole(crowds: Sequence[Crowd | None]) -> Crowd | None:
    known = [one for one in crowds if one is not None]
    return joined(known) if known else None


def _apart(images: Crowd | None, drawn: Crowd | None) -> float | None:
    return None if images is None or drawn is None or images.count < 2 else frechet(images, drawn)


def _one_result(
    rows: Sequence[Result], order: Tensor, pictured: Tensor, images: Crowd | None
) -> Result:
    first, crowd = rows[0], _whole([one.crowd for one in rows])
    peaks = [one.peak for one in rows if one.peak is not None]
    steps = [one.steps for one in rows if one.steps is not None]
    return Result(
        first.name,
        None,
        torch.cat([one.drawn for one in rows])[pictured],
        {name: torch.cat([one.measures[name] for one in rows])[order] for name in first.measures},
        torch.cat([one.seconds for one in rows])[order],
        max(peaks) if peaks else None,
        torch.cat(steps)[order] if steps else None,
        _apart(images, crowd),
        crowd,
    )


def _one_curve(rows: Sequence[Curve], order: Tensor, images: Crowd | None) -> Curve:
    first = rows[0]
    priors = [one.prior for one in rows if one.prior is not None]
    crowds = [_whole(some) for some in zip(*(one.crowds for one in rows), strict=True)]
    apart = [_apart(images, one) for one in crowds]

    def together(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), dim=1)[:, order]

    return replace(
        first,
        identity=together([one.identity for one in rows]),
        moved=together([one.moved for one in rows]),
        scores={name: together([one.scores[name] for one in rows]) for name in first.scores},
        prior=together(priors) if priors else None,
        apart=() if None in apart else tuple(apart),
        crowds=tuple(one for one in crowds if one is not None),
    )
