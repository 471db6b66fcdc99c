"""A batch that is computed in parts, by several processes, as if it were computed at once.

What looks over the whole batch asks here which part it has: the noise of a sample does not depend
on how the batch was cut, and norms over a batch see all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """Some images of a batch."""

    rows: Sequence[int]
    """Which of the batch they are."""
    whole: int
    """Images of the batch."""
    total: Callable[[Tensor], Tensor] | None = None
    """The sum of a tensor over all processes, with gradients; None = there is but one."""


_part: ContextVar[Part | None] = ContextVar("part", default=None)


@contextmanager
def computing(part: Part | None) -> Iterator[None]:
    """Inside, this thread's encoders in training compute that part; None = a whole batch."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def noise_like(x: Tensor) -> Tensor:
    """Normal noise [B, 1, H, W] for x [B, C, H, W]: these rows of the whole batch's."""
    part = _part.get()
    if part is None:
        return torch.randn_like(x[:, :1])
    shape = (part.whole, 1, *x.shape[2:])
    return torch.randn(shape, dtype=x.dtype, device=x.device)[[*part.rows]]


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, momentum: float, eps: float = 1e-5
) -> Tensor:
    """x [B, C, H, W] by the statistics of the whole batch; the running ones are moved likewise."""
    part = _part.get()
    if part is None or part.total is None:
        return F.batch_norm(x, mean, variance, training=True, momentum=momentum, eps=eps)
    count, found, spread = _moments(x, (0, 2, 3), part.total)
    with torch.no_grad():
        mean.lerp_(found.to(mean), momentum)
        variance.lerp_((spread * count / (count - 1)).to(variance), momentum)
    wide = (None, slice(None), None, None)
    return ((x.float() - found[wide]) * (spread + eps).rsqrt()[wide]).to(x)


def deviation(x: Tensor) -> Tensor:
    """The standard deviation of all numbers of the batch that x is of; has no gradient."""
    part = _part.get()
    if part is None or part.total is None:
        return x.detach().std()
    with torch.no_grad():
        count, _, spread = _moments(x.detach()[:, None], (0, *range(2, x.ndim + 1)), part.total)
        return (spread * count / (count - 1)).sqrt()[0].to(x)


def _moments(
    x: Tensor, axes: tuple[int, ...], total: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, mean and variance of each channel over all processes, in two rounds for accuracy."""
    x = x.float()
    own = x.new_full((1,), x.numel() / x.shape[1])
    sums = total(torch.cat([own, x.sum(axes)]))
    count, mean = sums[0].detach(), sums[1:] / sums[0].detach()
    wide = mean.reshape(1, -1, *[1] * (x.ndim - 2))
    return count, mean, total((x - wide).square().sum(axes)) / count


class SharedNorm(nn.Module):
    """An nn.BatchNorm2d with the same weights under the same names, over all processes."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.momentum, self.eps = norm.momentum or 0.0, norm.eps
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        own = self.running_mean, self.running_var
        if not self.training:
            return F.batch_norm(x, *own, self.weight, self.bias, eps=self.eps)
        self.num_batches_tracked += 1
        x = batch_norm(x, *own, self.momentum, self.eps)
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


def share_norms(module: nn.Module) -> None:
    """Let every batch norm inside see the whole batch of all processes."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SharedNorm(child))
        else:
            share_norms(child)
