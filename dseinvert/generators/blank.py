"""Networks whose weights are about to be read: no time goes into random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_FILLED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.randn: torch.empty,
    torch.rand: torch.empty,
}
_IN_PLACE = frozenset(
    {
        *(torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.normal_, nn.init.uniform_),
        *(nn.init.kaiming_normal_, nn.init.kaiming_uniform_),
    }
)


_SIZED = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand, torch.arange}
)


class Bounded(TorchFunctionMode):
    """Inside this context, in this thread, so many numbers and tensors are made and no more.

    For constructors whose numbers a stranger gave: a tensor is counted before there is memory for
    it. ValueError where they are too many.
    """

    def __init__(self, numbers: int, tensors: int) -> None:
        super().__init__()
        self._numbers, self._tensors = numbers, tensors

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` where that much is left."""
        given = kwargs or {}
        if func in _SIZED:
            self._numbers -= func(*args, **{**given, "device": "meta"}).numel()
            self._tensors -= 1
            if self._numbers < 0 or self._tensors < 0:
                raise ValueError("a network of far more weights than the file holds")
        return func(*args, **given)


class Blank(TorchFunctionMode):
    """Inside this context, in this thread, random tensors are left as their memory was.

    For constructors alone. What they compute from numbers, such as the kernels that no file
    holds, is as ever; every weight and buffer that a file does hold must then be loaded from it.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or what leaves its result unfilled."""
        given = kwargs or {}
        if func in _IN_PLACE:
            return given["tensor"] if "tensor" in given else args[0]
        return _FILLED.get(func, func)(*args, **given)
