"""InterFaceGAN (Shen et al., 2020): the normal of the plane that separates an attribute's codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dseinvert.errors import MissingError, UsageError

LEAST = 8
"""Of positives and of negatives."""
_HELD = 5  # every fifth is held back
_WEIGHTS = (0.01, 0.1, 1.0, 10.0)  # of errors against a wide margin; more takes minutes


@dataclass(frozen=True)
class Boundary:
    """A plane between the codes without and with an attribute."""

    normal: Tensor
    """[L, D] of length one; it points to those with the attribute."""
    accuracy: float
    """On codes held back: the mean of its accuracies on those with and those without."""
    known: int
    """Codes it was found on."""
    held: int


def split(values: NDArray[np.float64], quantile: float) -> NDArray[np.int64]:
    """Values [N] -> 1 = with, -1 = without, 0 = neither.

    Of two values the greater means with. Of more, the ends of the distribution count, `quantile`
    on each side; NaN counts nowhere.

    Raises:
        UsageError: all are alike, or too few on a side.
    """
    known = values[~np.isnan(values)]
    kinds = np.unique(known)
    if len(kinds) < 2:
        raise UsageError(
            f"{len(known)} labels that are all alike", "two kinds are to be told apart"
        )
    low, high = kinds if len(kinds) == 2 else np.quantile(known, (quantile, 1 - quantile))
    sides = (values >= high).astype(np.int64) - (values <= low).astype(np.int64)
    for side, word in ((1, "with"), (-1, "without")):
        if (count := int((sides == side).sum())) < LEAST:
            raise UsageError(f"{count} examples {word} it", f"at least {LEAST} are needed")
    return sides


def boundary(codes: Tensor, sides: NDArray[np.int64], seed: int = 0) -> Boundary:
    """A linear support vector machine on codes [N, L, D] (Section 3.1); `sides` as from `split`.

    Every fifth code of each side is held back; how much errors count is chosen on the others by
    cross-validation. Both sides count alike, however few there are of one.

    Raises:
        MissingError: scikit-learn is not installed.
    """
    try:
        from sklearn.model_selection import GridSearchCV
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingError("learning needs scikit-learn", "pip install dseinvert[train]") from error
    points = codes.flatten(1).double().numpy()
    taught, held = _parts(sides, seed)
    centre, scale = points[taught].mean(0), points[taught].std() or 1.0
    points = (points - centre) / (scale * np.sqrt(points.shape[1]))  # of length about one
    machine = LinearSVC(class_weight="balanced", dual="auto", max_iter=20_000, random_state=seed)
    search = GridSearchCV(machine, {"C": _WEIGHTS}, scoring="balanced_accuracy", cv=3)
    best = search.fit(points[taught], sides[taught]).best_estimator_
    told = best.predict(points[held])
    rates = [float((told[sides[held] == side] == side).mean()) for side in (-1, 1)]
    normal = torch.from_numpy(best.coef_[0] / np.linalg.norm(best.coef_[0]))
    normal = normal.float().view(codes.shape[1:])
    return Boundary(normal, sum(rates) / 2, len(taught), len(held))


def _parts(sides: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the codes to learn from are, and those to be held back: alike in both sides."""
    rng, taught, held = np.random.default_rng(seed), [], []
    for side in (-1, 1):
        places = rng.permutation(np.flatnonzero(sides == side))
        cut = max(1, len(places) // _HELD)
        held.append(places[:cut])
        taught.append(places[cut:])
    return np.sort(np.concatenate(taught)), np.sort(np.concatenate(held))


def conditioned(normal: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The part of a normal [L, D] that is orthogonal to others, of length one.

    n1 - (n1^T n2) n2 (Section 3.2); of several others, their whole span is taken away.

    Raises:
        UsageError: nothing is left of it.
    """
    if not others:
        return normal / normal.norm()
    span = torch.stack([other.flatten() for other in others], dim=1).double()
    left, values, _ = torch.linalg.svd(span, full_matrices=False)
    left = left[:, values > values.max() * 1e-9]
    flat = normal.flatten().double()
    rest = flat - left @ (left.T @ flat)
    if rest.norm() < 1e-6 * flat.norm():
        raise UsageError("nothing is left of the direction without the others", "name fewer")
    return (rest / rest.norm()).to(normal).view_as(normal)
