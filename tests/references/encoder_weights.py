"""Random weights under which an encoder behaves: its norms and convolutions keep the variance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from tests.references.weights import fill


def encoder_state(
    shapes: Mapping[str, Sequence[int]], seed: int, plain: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """`weights.fill`, then: variances positive, gains about 1, counters 0, blurs as they must be,
    spectral norms after one power iteration.

    Kernels below encoder., and the matrices named in `plain`, are divided by sqrt(fan-in): they
    have no run-time scale. What writes rows is quartered, so that iterated corrections end.
    """
    state = {}
    for name, array in fill(shapes, seed).items():
        norm = name.rpartition(".")[0] + ".running_var"
        if name.endswith("num_batches_tracked"):
            array = np.zeros((), np.int64)
        elif name.endswith(("running_var", "running_vars")):
            array = 0.5 + np.abs(array)
        elif name.endswith(".weight") and norm in shapes:
            array = 1 + array
        elif name.endswith((".kernel", "blur.weight")):
            taps = [1, 3, 3, 1] if name.endswith(".kernel") else [1, 2, 1]
            array = np.broadcast_to(np.outer(taps, taps).astype(np.float32) / 16, array.shape)
        elif name in plain or (name.startswith("encoder.") and array.ndim == 4):
            array = array / math.sqrt(math.prod(array.shape[1:]))
        elif name.startswith("encoder.") and name.endswith("linear.weight"):
            array = array / 4
        state[name] = torch.from_numpy(np.array(array))
    for name in [name for name in state if name.endswith("weight_orig")]:
        u, v = name.replace("weight_orig", "weight_u"), name.replace("weight_orig", "weight_v")
        state[v] = functional.normalize(state[name].flatten(1).t() @ state[u], dim=0)
        state[u] = functional.normalize(state[name].flatten(1) @ state[v], dim=0)
    return state


def pictures(seed: int, count: int, side: int) -> torch.Tensor:
    """[B, 3, R, R] in [-1, 1]: blocks of random colour, so that shrinking leaves contrast."""
    source = np.random.RandomState(seed)
    coarse = source.uniform(-1, 1, (count, 3, side // 4, side // 4)).astype(np.float32)
    fine = source.uniform(-0.2, 0.2, (count, 3, side, side)).astype(np.float32)
    return torch.from_numpy(np.clip(coarse.repeat(4, 2).repeat(4, 3) + fine, -1, 1))
