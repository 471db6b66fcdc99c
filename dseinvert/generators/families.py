"""Which families there are, and a generator from the numbers in a model's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.stylegan3 import StyleGAN3, StyleGAN3Config

FAMILIES: dict[str, tuple[type[Any], type[nn.Module]]] = {
    BigGAN.family: (BigGANConfig, BigGAN),
    PGGAN.family: (PGGANConfig, PGGAN),
    StyleGAN1.family: (StyleGAN1Config, StyleGAN1),
    StyleGAN2.family: (StyleGAN2Config, StyleGAN2),
    StyleGAN3.family: (StyleGAN3Config, StyleGAN3),
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
