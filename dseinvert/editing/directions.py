"""Named steps in the latent space of one generator, and their file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors.torch import save
from torch import Tensor

from dseinvert.errors import InputError, MissingError
from dseinvert.latent import same_every_time
from dseinvert.media.tensors import read_tensors
from dseinvert.names import brief, count, each, json_value, table, text, word

FORMAT = "dseinvert-directions-1"
Place = Literal["z", "z+", "w", "w+", "s"]
"""Where a direction leads: a space of latents, or s, the styles of all layers (StyleSpace)."""


@dataclass(frozen=True)
class Direction:
    """A step of strength one: what to add to the latents of one generator.

    `vector` is [L, D], or [1, D] for every row alike; in s it is [1, S], added to `Latent.style`.
    `unit` says what a strength of one means. `generator` is the sha256 of the weights it was
    found for.
    """

    name: str
    vector: Tensor
    space: Place
    unit: str
    generator: str
    layers: tuple[int, int] | None = None
    """First and last row, counted from 0, that it acts on; None = on all."""
    learned: str = ""
    """How it was found, in words; empty = unknown."""
    encoder: str = ""
    """sha256 of the encoder on whose codes it was found; empty = of none, it fits all."""

    def __post_init__(self) -> None:
        """Raises ValueError for a name that could not stand in a path; see `names.word`."""
        word(self.name)


_READ = {field.name for field in fields(Direction)} - {"name", "vector"}


def dumps(directions: Mapping[str, Direction]) -> bytes:
    """The bytes of a directions file: safetensors with each direction's facts as metadata.

    What is unknown is left out, so that earlier versions read what they can use.
    """
    facts = {name: json.dumps(_facts(direction)) for name, direction in directions.items()}
    vectors = {name: d.vector.detach().cpu().float().contiguous() for name, d in directions.items()}
    return same_every_time(save(vectors, metadata={"format": FORMAT, **facts}))


def _facts(direction: Direction) -> dict[str, Any]:
    known = {"space": direction.space, "unit": direction.unit, "generator": direction.generator}
    more = {name: getattr(direction, name) for name in ("layers", "learned", "encoder")}
    return known | {name: value for name, value in more.items() if value}


def load_directions(path: Path) -> dict[str, Direction]:
    """Read a directions file; nothing in it is executed.

    Raises:
        MissingError: no such file.
        InputError: not a directions file of this program.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    try:
        head, vectors = read_tensors(path)
        if head.text.get("format") != FORMAT:
            raise InputError(f"{path}: a safetensors file, but not of directions")
        return {n: _direction(n, v, json_value(head.text[n])) for n, v in vectors.items()}
    except KeyError as error:
        said = f"{path}: damaged directions file: it does not tell {brief(error.args[0])}"
        raise InputError(said) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged directions file: {error}") from error


def _direction(name: str, vector: Tensor, facts: Any) -> Direction:
    """Facts that a later version added are passed over."""
    told_all = table(facts, text, lambda value: value)
    known = {key: value for key, value in told_all.items() if key in _READ}
    for told in ("unit", "generator", "learned", "encoder"):
        text(known.get(told, ""))
    if text(known["space"]) not in get_args(Place):
        raise ValueError(f"{brief(name)} in the unknown space {brief(known['space'])}")
    for needed in ("unit", "generator"):
        text(known[needed])
    vector = vector.float()
    if vector.ndim != 2 or not vector.isfinite().all():
        raise ValueError(f"{name} is no finite [rows, width], but {list(vector.shape)}")
    if not vector.any():
        raise ValueError(f"{name} is all zeros, a step nowhere")
    if known.get("layers") is not None:
        rows = tuple(each(known["layers"], count))
        if len(rows) != 2 or rows[0] > rows[1]:
            raise ValueError(f"{brief(name)} on rows {brief(rows)}")
        known["layers"] = rows
    return Direction(name, vector, **known)
