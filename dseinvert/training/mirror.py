"""Which encoder mirrors a generator, family by family (DSE, Tables I and II)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders import Encoder, kinds
from dseinvert.encoders.blocks import published_widths
from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.encoders.dse_biggan import DSEBigGANConfig, DSEBigGANEncoder
from dseinvert.encoders.dse_pggan import DSEPGGANConfig, DSEPGGANEncoder
from dseinvert.errors import UsageError
from dseinvert.generators import Config, Generator


@dataclass(frozen=True)
class Wishes:
    """What a user can say about the encoder."""

    widths: Sequence[int] | None = None
    """Channels from full resolution down to 4x4; None = as published."""
    head: str | None = None
    """As in DSEConfig, for latents in rows; None = taps."""


@dataclass(frozen=True)
class Mirror:
    """A kind of encoder and its numbers."""

    kind: str
    config: Config

    def asdict(self) -> dict[str, Any]:
        """As `kinds.build` takes it, and as model.json keeps it."""
        return {"kind": self.kind, **self.config.asdict()}


def mirror(generator: Generator, psi: float, wishes: Wishes | None = None) -> Mirror:
    """The encoder that mirrors a generator whose samples are drawn with truncation psi.

    Args:
        wishes: None = as published.

    Raises:
        UsageError: wishes that do not fit it, or a family that has no encoder.
    """
    wishes = wishes or Wishes()
    if generator.family not in MIRRORS:
        raise UsageError(f"no encoder mirrors a {generator.family}", f"known: {', '.join(MIRRORS)}")
    if wishes.head is not None and generator.spec.space != "w+":
        raise UsageError(
            f"--head {wishes.head}: a {generator.family}'s latent is not in rows", "leave it out"
        )
    resolution = generator.resolution
    widths = tuple(wishes.widths or published_widths(resolution))
    try:
        return MIRRORS[generator.family](generator, widths, wishes.head or "taps", psi)
    except ValueError as error:
        raise UsageError(f"--widths {','.join(map(str, widths))}: {error}") from error


def continued(generator: Generator, psi: float, encoder: Encoder | None, wishes: Wishes) -> Mirror:
    """The mirror that the encoder of a model is already: what training can go on from.

    Raises:
        UsageError: no encoder, one of another kind or shape, or wishes for another.
    """
    if encoder is None:
        raise UsageError("--start model: this model has no encoder", "use --start scratch")
    own = Mirror(encoder.kind, encoder.config)
    numbers = own.asdict()
    head = numbers.get("head") if generator.spec.space == "w+" else None
    same = Wishes(wishes.widths or numbers.get("widths"), wishes.head or head)
    wanted = mirror(generator, psi, same).asdict()
    for name, value in wanted.items():
        if numbers.get(name) != value:
            raise UsageError(
                f"--start model: its encoder has {name} {numbers.get(name)}, not {value}",
                "use --start scratch",
            )
    return own


def build(wanted: Mirror, generator: Generator) -> Any:
    """An untrained encoder on the generator's device, attached to it."""
    encoder = kinds.build(wanted.asdict())
    if isinstance(encoder, DSEEncoder):
        encoder.w_avg.copy_(generator.mean_latent().code.mean((0, 1)))
    encoder.to(generator.device, memory_format=torch.channels_last)
    encoder.attach(generator)
    return encoder


def comparable(generator: Generator, codes: Tensor) -> Tensor:
    """Codes [B, L, D] as they can be compared: without what the generator does not see of them.

    A PGGAN divides z by its length first, so that only its direction is to be found: there all
    codes get the length sqrt(D), which samples of z have.
    """
    if generator.family not in NORMALISING:
        return codes
    return codes * (codes.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


def usual_psi(generator: Generator) -> float:
    """The truncation that encoders of this generator are trained at, as published."""
    if generator.family == "biggan":  # it stores statistics of its samples for each truncation
        return float(generator.config.asdict()["truncation"])
    return 0.7 if generator.truncates else 1.0


def _rows(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    """StyleGANs: w+.

    StyleGAN3 has another number of rows than taps. The bands of its layers grow by a constant
    factor from 4 px to the image's size, as the taps do, so that rows spread evenly over the
    taps (DSEConfig.places) each read the tap of their own band.
    """
    spec = generator.spec
    config = DSEConfig(generator.resolution, spec.layers, spec.dim, widths, head)
    if generator.family != "stylegan3" and spec.layers != 2 * len(widths):
        raise ValueError(f"{spec.layers} rows need {spec.layers // 2} widths")
    return Mirror(DSEEncoder.kind, config)


def _pggan(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    config = DSEPGGANConfig(generator.resolution, generator.spec.dim, widths)
    return Mirror(DSEPGGANEncoder.kind, config)


def _biggan(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    if not 0 <= psi <= 1:
        raise UsageError(f"--psi {psi}: BigGAN knows statistics for truncations from 0 to 1")
    class_dim = generator.config.asdict()["class_dim"]
    config = DSEBigGANConfig(generator.resolution, generator.spec.dim, class_dim, widths, psi)
    return Mirror(DSEBigGANEncoder.kind, config)


MIRRORS: dict[str, Callable[[Generator, tuple[int, ...], str, float], Mirror]] = {
    "stylegan1": _rows,
    "stylegan2": _rows,
    "stylegan3": _rows,
    "pggan": _pggan,
    "biggan": _biggan,
}
NORMALISING = frozenset({"pggan"})
"""Families that divide their latent by its length."""
