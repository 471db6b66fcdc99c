"""The moving average of weights that a training run hands on in place of its newest ones."""

from __future__ import annotations

import torch
from torch import nn


def share_kept(ema: float, step: int) -> float:
    """The share of the old average after `step` steps, at most `ema`.

    A young average leans on its newest weights.
    """
    return min(ema, step / (step + 9))


@torch.no_grad()
def average(smooth: nn.Module, new: nn.Module, keep: float) -> None:
    """Move the averaged weights of `smooth`, and the running statistics of norms likewise.

    `keep`: the share of the old ones that is left, 0 to 1.
    """
    state = new.state_dict()
    for name, kept in smooth.state_dict().items():
        if kept.is_floating_point():
            kept.lerp_(state[name], 1 - keep)
        else:  # a norm's count of batches
            kept.copy_(state[name])
