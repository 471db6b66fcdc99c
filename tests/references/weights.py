"""Random weights that any program can make again: equal names and shapes give equal numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def fill(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, NDArray[np.float32]]:
    """Normal numbers for each name, in sorted order, none of them zero-centred by accident.

    Matrices and kernels get unit variance, as run-time scaled weights have; vectors and scalars a
    quarter of it, so that biases and noise strengths matter without drowning the signal.
    """
    source = np.random.RandomState(seed)
    return {name: _one(source, shapes[name]) for name in sorted(shapes)}


def _one(source: np.random.RandomState, shape: Sequence[int]) -> NDArray[np.float32]:
    scale = 1.0 if math.prod(shape) > max(shape, default=1) else 0.25
    return (source.standard_normal(tuple(shape)) * scale).astype(np.float32)
