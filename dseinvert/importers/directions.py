"""Direction files: InterFaceGAN boundaries, those of e4e, GANSpace components, SeFa factors."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.found import Found
from dseinvert.latent import LatentSpec
from dseinvert.names import LONGEST, word

PUBLISHED = "one unit of the vector, as published"
DEVIATION = "one standard deviation of the samples the component was found on"
_BOUNDARY = "direction file"
_COMPONENTS = "GANSpace components"
_FACTORS = "closed-form factors of rosinality's code"
_LONGEST_NAME = LONGEST // 2
_WIDEST, _LONGEST = 4096, 64  # of a row; rows
_COMPONENT_KEYS = ("comp", "lat_comp")
_FACTOR_KEY = "eigvec"
_FILE_NAME = re.compile(
    r"(?:(?:pggan|stylegan\d?)_[a-z0-9]+_)?(?P<name>.+?)(?P<space>_w)?(?P<kind>_boundary)?"
)


def recognise(content: Any) -> bool:
    """Whether it is one direction, a table of named ones, principal components, or factors."""
    if not isinstance(content, Mapping):
        return _is_direction(content)
    if _FACTOR_KEY in content:
        return set(content) <= {_FACTOR_KEY, "ckpt"} and isinstance(content[_FACTOR_KEY], Tensor)
    if any(key in content for key in _COMPONENT_KEYS):
        return all(isinstance(value, Tensor | np.ndarray) for value in content.values())
    return bool(content) and all(
        isinstance(key, str) and _is_direction(value) for key, value in content.items()
    )


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The directions, each [1, D] or [L, D]; one that has no name of its own is called "".

    Raises:
        InputError: not finite, all zeros, or no direction in the generator's latents.
    """
    if not isinstance(content, Mapping):
        found = Found(_BOUNDARY, directions={"": _rows(content)})
    elif _FACTOR_KEY in content:
        found = Found(_FACTORS, directions=_factors(content[_FACTOR_KEY]))
    elif any(key in content for key in _COMPONENT_KEYS):
        found = Found(_COMPONENTS, directions=_components(content))
    else:
        found = _table(content)
    for name, rows in found.directions.items():
        if not rows.isfinite().all():
            raise InputError(f"direction {name}: holds NaN or infinite numbers".replace(" :", ":"))
        if not rows.any():
            raise InputError(f"direction {name}: is all zeros, a step nowhere".replace(" :", ":"))
        if generator is not None:
            fitted(rows, generator.spec)
    return found


def _table(content: Mapping[str, Any]) -> Found:
    """Named directions; a name that could not stand in a path gets a safe one, and a note."""
    own: dict[str, Tensor] = {}
    notes = []
    for name, value in content.items():
        safe = _safe(name, {*own, *content})
        own[safe] = _rows(value)
        if safe != name:
            notes.append(f"its direction {name[:LONGEST]!r} is called {safe}")
    return Found(_BOUNDARY, directions=own, notes=tuple(notes))


def _safe(name: str, taken: Container[str]) -> str:
    try:
        return word(name)
    except ValueError:
        plain = direction_name(name)
    numbered = (f"{plain}{number or ''}" for number in count())
    return next(one for one in numbered if one not in taken)


def named(found: Found, stem: str) -> Found:
    """The same, with what has no name called after its file: ffhq_age_w_boundary -> age."""
    if "" not in found.directions:
        return found
    return replace(found, directions={direction_name(stem): found.directions[""]})


def direction_name(stem: str) -> str:
    """stylegan_ffhq_age_w_boundary -> age; made safe for `--edit NAME=STRENGTH`."""
    match = _FILE_NAME.fullmatch(stem)
    name = match["name"] if match else stem
    return re.sub(r"[^\w.-]+", "-", name)[:_LONGEST_NAME].strip("-.") or "direction"


def unit(found: Found) -> str:
    """What a strength of one means."""
    return DEVIATION if found.format == _COMPONENTS else PUBLISHED


def learned(found: Found) -> str:
    """How it was found, as far as a file tells."""
    if found.format == _COMPONENTS:
        return "principal component of samples (GANSpace)"
    if found.format == _FACTORS:
        return "eigenvector of the first weights (SeFa)"
    return "published: boundary of a linear classifier (InterFaceGAN), or alike"


def check_space(stem: str, spec: LatentSpec) -> None:
    """InterFaceGAN names its boundaries in W `..._w_boundary`, those in Z `..._boundary`.

    Raises:
        InputError: the name says one space and the generator takes the other.
    """
    match = _FILE_NAME.fullmatch(stem)
    if match is None or match["kind"] is None:
        return
    space = "w" if match["space"] else "z"
    if not spec.space.startswith(space):
        raise InputError(
            f"a direction in {space} by its name, and the generator takes {spec.space}",
            f"take the boundary found in {spec.space[0]}",
        )


def fitted(rows: Tensor, spec: LatentSpec) -> Tensor:
    """[1, D], [L, D] or [1, L D] -> [L, D] for this latent.

    Raises:
        InputError: other sizes.
    """
    wanted = (spec.layers, spec.dim)
    if rows.shape == (1, spec.dim):
        return rows.expand(wanted).contiguous()
    if rows.shape == wanted or rows.shape == (1, spec.layers * spec.dim):
        return rows.reshape(wanted).contiguous()
    raise InputError(
        f"a direction of {list(rows.shape)}, and the generator takes latents of {list(wanted)}",
        "directions fit the GAN they were found for",
    )


def _is_direction(value: Any) -> bool:
    if not isinstance(value, Tensor | np.ndarray):
        return False
    shape = tuple(value.shape)
    shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(shape) not in (1, 2):
        return False
    rows = shape[0] if len(shape) == 2 else 1
    return 0 < rows <= _LONGEST and 1 < shape[-1] <= _WIDEST * (_LONGEST if rows == 1 else 1)


def _rows(value: Any) -> Tensor:
    tensor = torch.as_tensor(np.ascontiguousarray(value) if _is_array(value) else value)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise InputError(f"a direction of {tensor.dtype}")
    tensor = tensor.detach().float()
    return tensor.reshape(-1, tensor.shape[-1]).clone()


def _components(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """[N, 1, D] and the deviation along each: a strength of one is one deviation."""
    latent = "lat_comp" in content
    comp = _tensor(content, "lat_comp" if latent else "comp")
    std = _tensor(content, "lat_stdev" if latent else "std").flatten()
    comp = comp.reshape(len(comp), -1) if len(comp) else comp
    if comp.ndim != 2 or not len(comp) or len(std) != len(comp):
        raise InputError(f"components {list(comp.shape)} with {len(std)} deviations")
    return {f"pca-{i}": (comp[i] * std[i]).reshape(1, -1) for i in range(len(comp))}


def _factors(vectors: Tensor) -> dict[str, Tensor]:
    """The columns of [D, D], the strongest first."""
    if vectors.ndim != 2 or not 1 < len(vectors) <= _WIDEST or vectors.shape[1] > len(vectors):
        raise InputError(f"{_FACTOR_KEY}: expected [D, D], found {list(vectors.shape)}")
    columns = _rows(vectors.T)
    return {f"sefa-{i}": column[None] for i, column in enumerate(columns)}


def _tensor(content: Mapping[str, Any], name: str) -> Tensor:
    if name not in content:
        raise InputError(f"components without {name}")
    value = content[name]
    return torch.as_tensor(np.ascontiguousarray(value) if _is_array(value) else value).float()


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)
