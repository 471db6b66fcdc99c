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
