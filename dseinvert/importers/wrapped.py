"""State dicts as training code leaves them: under other names, or one level further in.

DataParallel and DistributedDataParallel put `module.` before every name, torch.compile
`_orig_mod.`; training loops put the state dict under a key, or the generator under an attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from dseinvert.importers.tensors import below

KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "params_ema", "params")
"""What a state dict may lie under; those of generators themselves the readers know."""
ATTRIBUTES = ("g_ema", "G_ema", "generator_ema", "g", "G", "generator", "decoder")
"""What training modules call the generator in them: the average first."""
_WRAPPER = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")
_DEEPEST = 3

Form = tuple[Any, tuple[str, ...]]
"""A content, and notes on how it was come by."""


def forms(content: Any) -> Iterator[Form]:
    """A file's content in every form that it may be known in, the likeliest first."""
    bare = unwrapped(content)
    for state, notes in _within(bare, _DEEPEST):
        yield state, notes
        if not _is_state(state):
            continue
        yield {"state_dict": state}, notes
        for name in ATTRIBUTES:
            if part := below(state, f"{name}."):
                yield part, (*notes, f"took {name} of it")


def unwrapped(content: Any, deepest: int = _DEEPEST) -> Any:
    """The same without what wrappers put into the names of tensors; no tensor is copied."""
    if not isinstance(content, Mapping) or not deepest:
        return content
    inner = {key: unwrapped(value, deepest - 1) for key, value in content.items()}
    if not _is_state(inner):
        return inner
    bare = {_WRAPPER.sub("", key): value for key, value in inner.items()}
    return bare if len(bare) == len(inner) else inner


def _within(content: Any, deepest: int) -> Iterator[Form]:
    yield content, ()
    if not isinstance(content, Mapping) or not deepest:
        return
    for key in KEYS:
        if isinstance(content.get(key), Mapping):
            others = ", ".join(str(other) for other in content if other != key)
            told = (f"took {key}; left out {others}",) if others else ()
            for inner, notes in _within(content[key], deepest - 1):
                yield inner, (*told, *notes)


def _is_state(content: Any) -> bool:
    """Whether tensors lie in it by name; counters and the like may stand between them."""
    return (
        isinstance(content, Mapping)
        and all(isinstance(key, str) for key in content)
        and any(isinstance(value, Tensor) for value in content.values())
    )
