"""Which families there are, and a generator from the numbers in a model's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config

FAMILIES: dict[str, tuple[type[Any], type[nn.Module]]] = {
    StyleGAN2.family: (StyleGAN2Config, StyleGAN2),
}


def build(numbers: Mapping[str, Any]) -> Any:
    """A generator with fresh weights from `config.asdict()` and its "family".

    Raises:
        ValueError, TypeError: an unknown family, or numbers that do not make one.
    """
    family = numbers.get("family", StyleGAN2.family)
    if family not in FAMILIES:
        raise ValueError(f"unknown generator family {family!r}; known: {', '.join(FAMILIES)}")
    config, module = FAMILIES[family]
    return module(config(**{name: n for name, n in numbers.items() if name != "family"}))
