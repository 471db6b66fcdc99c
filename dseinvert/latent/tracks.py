"""What a clip's file holds once for each track: how it is named, and given to every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from dseinvert.latent.words import TUNING
from dseinvert.names import brief

T = TypeVar("T")
_MOST = 2 << 30
"""Bytes of a factor that is given to every row."""


def every_row(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a latent file, with what it holds once for each track given to every row.

    A row of another track is not tuned. Tensors of a file of pictures stay as they are.
    """
    found = {name: tensor for name, tensor in tensors.items() if not is_of_a_track(name)}
    of_tracks = by_tracks({n: t for n, t in tensors.items() if n not in found})
    for factor in sorted({name for one in of_tracks.values() for name in one}):
        by_track = {track: one[factor] for track, one in of_tracks.items() if factor in one}
        found[f"{TUNING}{factor}"] = _for_rows(by_track, tensors["track"])
    return found


def _for_rows(by_track: Mapping[int, Tensor], owners: Tensor) -> Tensor:
    """A factor of some tracks for every row [N, ...], zeros where the row's track has none."""
    none = torch.zeros_like(next(iter(by_track.values())))
    if any(one.shape != none.shape for one in by_track.values()) or owners.ndim != 1:
        raise ValueError("what is tuned to its tracks has several shapes")
    tracks, rows = owners.unique(return_inverse=True)
    every = [by_track.get(track, none) for track in tracks.int().tolist()]
    if all(torch.equal(one, every[0]) for one in every):  # takes no memory
        return every[0].expand(len(rows), *none.shape)
    if len(rows) * none.nbytes > _MOST:
        raise ValueError(
            f"a generator tuned to several people, for {len(rows)} rows, takes more than "
            f"{_MOST >> 30} GiB"
        )
    return torch.stack(every)[rows]


def of_track(track: int, name: str) -> str:
    """The name of what stands once for a track."""
    return f"{TUNING}{track}/{name}"


def is_of_a_track(name: str) -> bool:
    """Whether it stands once for a track; "tuning/NAME" of a picture has a batch axis."""
    return name.count("/") > 1


def by_tracks(tensors: Mapping[str, T]) -> dict[int, dict[str, T]]:
    """What `of_track` named, by track and its own name."""
    found: dict[int, dict[str, T]] = {}
    for name, tensor in tensors.items():
        track, _, factor = name.removeprefix(TUNING).partition("/")
        found.setdefault(_track(track), {})[factor] = tensor
    return found


def _track(word: str) -> int:
    """The number of a track; ValueError for another word."""
    if not (word.isascii() and word.isdecimal() and len(word) < 10):
        raise ValueError(f"no track {brief(word)}")
    return int(word)
