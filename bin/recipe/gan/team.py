"""Several processes that train as one: each has a part of the batch, gradients are averaged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

_PATIENCE = timedelta(days=3)  # a process that is halted by SIGSTOP is waited for


@dataclass(frozen=True)
class Team:
    """One process among `size`, told so by RANK and WORLD_SIZE as torchrun sets them."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def average(self, module: nn.Module) -> None:
        """Give every process the mean of the gradients of all."""
        if self.size == 1:
            return
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([grad.numel() for grad in grads])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))


def join() -> Team:
    """This process's place; alone where nobody set one."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("gloo", timeout=_PATIENCE)
    return Team(int(os.environ.get("RANK", 0)), size)
