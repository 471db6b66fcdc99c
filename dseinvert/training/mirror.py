"""Which encoder a generator gets: its mirror (DSE, Tables I and II), or another method's."""

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
from dseinvert.encoders.dse_feature import DSEFeatureConfig, DSEFeatureEncoder
from dseinvert.encoders.dse_pggan import DSEPGGANConfig, DSEPGGANEncoder
from dseinvert.encoders.feature_style import FeatureStyleConfig, FeatureStyleEncoder
from dseinvert.encoders.psp import PSPConfig, PSPEncoder
from dseinvert.encoders.restyle import ReStyleConfig, ReStyleEncoder
from dseinvert.errors import UsageError
from dseinvert.generators import Config, Generator, MirrorShape


@dataclass(frozen=True)
class Wishes:
    """What a user can say about the encoder."""

    widths: Sequence[int] | None = None
    """Channels from full resolution down to 4x4; None = as published."""
    head: str | None = None
    """As in DSEConfig, for latents in rows; None = taps."""
    method: str = "dse"
    """As in TrainOptions."""
    layer: int | None = None
    """Of the generator, for methods with a feature; None = the second of 16 px."""


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
    if wishes.method != "dse":
        return _other(generator, psi, wishes)
    if generator.mirror is None:
        raise UsageError(f"no encoder mirrors a {generator.family}")
    if wishes.head is not None and generator.spec.space != "w+":
        raise UsageError(
            f"--head {wishes.head}: a {generator.family}'s latent is not in rows", "leave it out"
        )
    resolution = generator.resolution
    widths = tuple(wishes.widths or published_widths(resolution))
    try:
        return MIRRORS[generator.mirror](generator, widths, wishes.head or "taps", psi)
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
    if wishes.method != "dse":
        wanted = mirror(generator, psi, wishes)
        if wanted.kind != own.kind:
            raise UsageError(
                f"--start model: its encoder is {own.kind}, not {wanted.kind}",
                "use --start scratch",
            )
        return own
    numbers = own.asdict()
    head = numbers.get("head") if generator.spec.space == "w+" else None
    same = Wishes(wishes.widths or numbers.get("widths"), wishes.head or head)
    for name, value in mirror(generator, psi, same).asdict().items():
        if numbers.get(name) != value:
            raise UsageError(
                f"--start model: its encoder has {name} {numbers.get(name)}, not {value}",
                "use --start scratch",
            )
    return own


def widest(generator: Generator) -> int:
    """Channels of a generator's widest layer, or numbers of its latent where those are more."""
    kernels = (weight for weight in generator.plain.parameters() if weight.ndim == 4)
    return max([generator.spec.dim, *(weight.shape[1] for weight in kernels)])


def build(wanted: Mirror, generator: Generator) -> Any:
    """An untrained encoder on the generator's device, attached to it."""
    encoder = kinds.build(wanted.asdict())
    if generator.spec.space == "w+":
        mean = generator.mean_latent().code[0]
        trunk = encoder.trunk if isinstance(encoder, DSEFeatureEncoder) else encoder
        trunk.w_avg.copy_(mean.mean(0) if isinstance(trunk, DSEEncoder) else mean)
    encoder.to(generator.device, memory_format=torch.channels_last)
    encoder.attach(generator)
    return encoder


def comparable(generator: Generator, codes: Tensor) -> Tensor:
    """Codes [B, L, D] as they can be compared: without what the generator does not see of them.

    Of a z on a sphere, as a PGGAN's, only the direction is to be found: there all codes get the
    length sqrt(D), which samples of z have.
    """
    if generator.spec.space != "z" or generator.z_limit is not None:
        return codes
    return codes * (codes.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


def usual_psi(generator: Generator) -> float:
    """The truncation that encoders of this generator are trained at, as published."""
    if generator.truncation is not None:  # it stores statistics of its samples for each
        return float(generator.truncation)
    return 0.7 if generator.truncates else 1.0


def _rows(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    """StyleGAN 1 and 2: w+, each row read from the tap of its own layer."""
    layers, made = generator.spec.layers, _spread_rows(generator, widths, head, psi)
    if layers != 2 * len(widths):
        raise ValueError(f"{layers} rows need {layers // 2} widths")
    return made


def _spread_rows(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    """StyleGAN3: w+, with another number of rows than taps.

    The bands of its layers grow by a constant factor from 4 px to the image's size, as the taps
    do, so that rows spread evenly over the taps (DSEConfig.places) each read the tap of their own
    band.
    """
    spec = generator.spec
    config = DSEConfig(generator.resolution, spec.layers, spec.dim, widths, head)
    return Mirror(DSEEncoder.kind, config)


def _z(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    config = DSEPGGANConfig(generator.resolution, generator.spec.dim, widths)
    return Mirror(DSEPGGANEncoder.kind, config)


def _z_and_class(generator: Generator, widths: tuple[int, ...], head: str, psi: float) -> Mirror:
    if not 0 <= psi <= 1:
        raise UsageError(f"--psi {psi}: BigGAN knows statistics for truncations from 0 to 1")
    vectors, z_dim = generator.class_vectors, generator.spec.dim
    assert vectors is not None
    config = DSEBigGANConfig(generator.resolution, z_dim, vectors.shape[1], widths, psi)
    return Mirror(DSEBigGANEncoder.kind, config)


def _other(generator: Generator, psi: float, wishes: Wishes) -> Mirror:
    """The encoder of another method, of its published size or one that fits a small generator."""
    family, spec, resolution = generator.family, generator.spec, generator.resolution
    if spec.space != "w+":
        raise UsageError(f"--method {wishes.method}: a {family}'s latent is not in rows", "use dse")
    if wishes.head is not None and wishes.method != "dse-feature":
        raise UsageError(f"--head {wishes.head}: {wishes.method} has none", "leave it out")
    widths = tuple(wishes.widths) if wishes.widths else None
    stages = widths or tuple(spec.dim >> k for k in (3, 2, 1, 0))
    large = resolution >= 256
    sizes: dict[str, Any] = {
        "widths": stages,
        "units": (3, 4, 14, 3) if large else (2, 2, 2, 2),
        "size": min(resolution, 256),
    }
    try:
        if wishes.method == "dse-feature":
            plain = Wishes(widths, wishes.head)
            trunk = mirror(generator, psi, plain).config
            assert isinstance(trunk, DSEConfig)
            return Mirror(
                DSEFeatureEncoder.kind, DSEFeatureConfig(trunk, *_feature(generator, wishes.layer))
            )
        if wishes.method == "feature-style":
            numbers = _feature(generator, wishes.layer)
            style = FeatureStyleConfig(spec.layers, spec.dim, *numbers, **sizes)
            return Mirror(FeatureStyleEncoder.kind, style)
        if wishes.method == "restyle":
            network = PSPConfig(
                spec.layers, spec.dim, head="last", in_channels=6, batch_norm=True, **sizes
            )
            return Mirror(ReStyleEncoder.kind, ReStyleConfig(network, CORRECTIONS))
        relative = wishes.method == "e4e"
        psp = PSPConfig(spec.layers, spec.dim, relative=relative, batch_norm=True, **sizes)
        return Mirror(PSPEncoder.kind, psp)
    except ValueError as error:
        raise UsageError(f"--method {wishes.method}: {error}", "change --widths") from error


def _feature(generator: Generator, layer: int | None) -> tuple[int, int, int]:
    """K, side and channels of the feature at K."""
    mean = generator.mean_latent()
    with torch.no_grad():
        try:
            layer = layer or (5 if generator.resolution >= 64 else 3)
            shape = generator.features(mean, layer).shape
        except ValueError as error:
            raise UsageError(f"--layer {layer}: {error}") from error
    return layer, shape[2], shape[1]


CORRECTIONS = 3
"""Of ReStyle, where it is trained here; published are 5."""
MIRRORS: dict[MirrorShape, Callable[[Generator, tuple[int, ...], str, float], Mirror]] = {
    "rows": _rows,
    "spread rows": _spread_rows,
    "z": _z,
    "z and class": _z_and_class,
}
