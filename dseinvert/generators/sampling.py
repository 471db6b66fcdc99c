"""Samples of a generator: z and class of each seed, truncation, and the checks of labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.latent import Latent


def draw(
    seeds: Sequence[int], size: int, classes: int, labels: Sequence[int] | None = None
) -> Latent:
    """A normal z [B, 1, size] for each seed, with its class; none depends on the batch.

    `labels` are the classes; None = drawn from the seeds, where there are classes.

    Raises:
        ValueError: a seed or a class that does not exist, or not one class for each seed.
    """
    if labels is not None and (classes == 0 or len(labels) != len(seeds)):
        have = f"{len(labels)} labels for {len(seeds)} seeds"
        raise ValueError("this generator has no classes" if classes == 0 else have)
    vectors, picks = zip(*(_draw(seed, size, classes) for seed in seeds), strict=True)
    label = one_hot(torch.stack(picks) if labels is None else labels, classes)
    return Latent(torch.stack(vectors)[:, None], "z", label=label)


def truncated(rows: Tensor, mean: Tensor, psi: float, cutoff: int | None) -> Tensor:
    """Rows [B, L, D] moved towards `mean` (psi 1 = as they are); `cutoff` of them, None = all."""
    if psi == 1:
        return rows
    places = torch.arange(rows.shape[1], device=rows.device)[:, None]
    limit = rows.shape[1] if cutoff is None else cutoff
    if limit < 0:
        raise ValueError(f"cutoff must be 0 or more, not {cutoff}")
    return torch.where(places < limit, mean.lerp(rows, psi), rows)


def alike(classes: int) -> Tensor | None:
    """The label [1, classes] of all classes alike; None where there are none."""
    return torch.full((1, classes), 1 / classes) if classes else None


def one_hot(labels: Tensor | Sequence[int], classes: int) -> Tensor | None:
    """[B, classes] with a one at each sample's class; None where there are no classes."""
    if classes == 0:
        return None
    picks = torch.as_tensor(labels)
    if len(picks) and not 0 <= int(picks.min()) <= int(picks.max()) < classes:
        raise ValueError(f"labels must be 0..{classes - 1}, got {picks.tolist()}")
    return F.one_hot(picks, classes).float()


def checked_label(label: Tensor | None, classes: int) -> Tensor | None:
    """The label [B, classes] that a generator needs; None where it has no classes."""
    if classes == 0:
        return None
    if label is None or label.shape[1:] != (classes,):
        found = "none" if label is None else list(label.shape)
        raise ValueError(f"this generator takes a label [B, {classes}], got {found}")
    return label


def seeded(seed: int) -> torch.Generator:
    """What a sample is drawn from; ValueError for a seed that would be taken for another one."""
    if not 0 <= seed < 2**32:  # torch reads the lowest 32 bits
        raise ValueError(f"seeds must be 0..{2**32 - 1}, got {seed}")
    return torch.Generator().manual_seed(seed)


def _draw(seed: int, size: int, classes: int) -> tuple[Tensor, Tensor]:
    source = seeded(seed)
    vector = torch.randn(size, generator=source)
    return vector, torch.randint(max(classes, 1), (), generator=source)
