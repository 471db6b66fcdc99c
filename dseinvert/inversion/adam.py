"""Adam (Kingma and Ba, 2015) without PyTorch's optimisers.

At the first step of any of these PyTorch imports its compiler: seconds, longer than most faces take
to be refined.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_EPSILON = 1e-8


class Adam:
    """Moves tensors in place; on a CPU to the bit as `torch.optim.Adam` does."""

    def __init__(
        self, tensors: Sequence[Tensor], betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        """`tensors`: of any shapes."""
        self._tensors = [*tensors]
        self._betas = betas
        self._steps = [0] * len(self._tensors)
        self._means = [torch.zeros_like(tensor) for tensor in self._tensors]
        self._squares = [torch.zeros_like(tensor) for tensor in self._tensors]

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor | None], rates: Sequence[float]) -> None:
        """One step of each tensor.

        Args:
            slopes: gradients of their shapes; None = that tensor stays, without a step counted.
            rates: the learning rate of each.
        """
        at = [k for k, slope in enumerate(slopes) if slope is not None]
        if not at:
            return
        given = [slope for slope in slopes if slope is not None]
        means, squares = ([kept[k] for k in at] for kept in (self._means, self._squares))
        first, second = self._betas
        torch._foreach_lerp_(means, given, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, given, given, 1 - second)
        for k in at:
            self._steps[k] += 1
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [(1 - second ** self._steps[k]) ** 0.5 for k in at])
        torch._foreach_add_(roots, _EPSILON)
        moves = [-rates[k] / (1 - first ** self._steps[k]) for k in at]
        torch._foreach_addcdiv_([self._tensors[k] for k in at], means, roots, moves)
