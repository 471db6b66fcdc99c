"""Which families there are, and a generator from the numbers in a model's description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dseinvert.generators import Config, Generator
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.stylegan3 import StyleGAN3, StyleGAN3Config

ASKED = tuple(name for name in vars(Generator) if not name.startswith("_"))
"""What every generator must say of itself."""


@dataclass(frozen=True)
class Family:
    """What must be known before there is a network; the rest it says itself, as a Generator."""

    config: Callable[..., Config]
    """From the numbers in a model's description."""
    network: Callable[[Any], Generator]
    """From its config, with fresh weights."""
    importers: tuple[str, ...]
    """Modules that read other people's files of it, as `importers.read.Reader` says; ".x" = of
    `importers/`."""


FAMILIES: dict[str, Family] = {
    BigGAN.family: Family(BigGANConfig, BigGAN, (".biggan",)),
    PGGAN.family: Family(PGGANConfig, PGGAN, (".tensorflow", ".genforce", ".gan_zoo")),
    StyleGAN1.family: Family(
        StyleGAN1Config,
        StyleGAN1,
        (".tensorflow", ".genforce", ".deep_gan_generators"),
    ),
    StyleGAN2.family: Family(
        StyleGAN2Config,
        StyleGAN2,
        (".stylegan2_ada", ".tensorflow", ".genforce", ".rosinality"),
    ),
    StyleGAN3.family: Family(StyleGAN3Config, StyleGAN3, (".stylegan3",)),
}
"""The one table that a new family gets a row in."""


def build(numbers: Mapping[str, Any]) -> Any:
    """A generator with fresh weights from `config.asdict()` and its "family".

    Raises:
        ValueError, TypeError: an unknown family, one that leaves out what others ask of it, or
            numbers that do not make one.
    """
    family = numbers.get("family", StyleGAN2.family)
    if family not in FAMILIES:
        raise ValueError(f"unknown generator family {family!r}; known: {', '.join(FAMILIES)}")
    row = FAMILIES[family]
    network = row.network(row.config(**{k: n for k, n in numbers.items() if k != "family"}))
    if left_out := [name for name in ASKED if not hasattr(network, name)]:
        raise TypeError(f"the generator family {family!r} leaves out {', '.join(left_out)}")
    return network
