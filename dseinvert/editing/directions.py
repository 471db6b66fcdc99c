"""Named steps in the latent space of one generator, and their file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dseinvert.errors import InputError, MissingError
from dseinvert.latent import Space, same_every_time

FORMAT = "dseinvert-directions-1"


@dataclass(frozen=True)
class Direction:
    """A step of strength one: what to add to a code [B, L, D] of one generator.

    `vector` is [L, D]; rows outside the layers it acts on are zero. `unit` says what a strength of
    one means. `generator` is the sha256 of the weights it was found for.
    """

    name: str
    vector: Tensor
    space: Space
    unit: str
    generator: str


def dumps(directions: Mapping[str, Direction]) -> bytes:
    """The bytes of a directions file: safetensors with each direction's facts as metadata."""
    facts = {
        name: json.dumps({"space": d.space, "unit": d.unit, "generator": d.generator})
        for name, d in directions.items()
    }
    vectors = {name: d.vector.detach().cpu().float().contiguous() for name, d in directions.items()}
    return same_every_time(save(vectors, metadata={"format": FORMAT, **facts}))


def load_directions(path: Path) -> dict[str, Direction]:
    """Read a directions file; nothing in it is executed.

    Raises:
        MissingError: no such file.
        InputError: not a directions file of this program.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            vectors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header.get("format") != FORMAT:
            raise InputError(f"{path}: a safetensors file, but not of directions")
        return {n: Direction(n, v, **json.loads(header[n])) for n, v in vectors.items()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged directions file: {error}") from error
