"""Which kinds of encoder there are, and one from the numbers in a model's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from dseinvert.encoders.dse import DSEConfig, DSEEncoder

KINDS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    DSEEncoder.kind: (DSEConfig, DSEEncoder),
}


def build(numbers: Mapping[str, Any]) -> Any:
    """An encoder with fresh weights from `config.asdict()` and its "kind".

    Raises:
        ValueError, TypeError: an unknown kind, or numbers that do not make one.
    """
    kind = numbers.get("kind", DSEEncoder.kind)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of encoder {kind!r}; known: {', '.join(KINDS)}")
    config, module = KINDS[kind]
    return module(config(**{name: n for name, n in numbers.items() if name != "kind"}))
