"""A small model of random weights for every generator family and every kind of encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dseinvert.encoders.deep_gan import (
    DeepGanBigConfig,
    DeepGanBigEncoder,
    DeepGanConfig,
    DeepGanEncoder,
)
from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.encoders.dse_biggan import DSEBigGANConfig, DSEBigGANEncoder
from dseinvert.encoders.dse_feature import DSEFeatureConfig, DSEFeatureEncoder
from dseinvert.encoders.dse_pggan import DSEPGGANConfig, DSEPGGANEncoder
from dseinvert.encoders.e2style import E2StyleConfig, E2StyleEncoder
from dseinvert.encoders.feature_style import FeatureStyleConfig, FeatureStyleEncoder
from dseinvert.encoders.hfgi import HFGIConfig, HFGIEncoder
from dseinvert.encoders.hyperstyle import HyperStyleConfig, HyperStyleEncoder, Target
from dseinvert.encoders.idinvert import IDInvertConfig, IDInvertEncoder
from dseinvert.encoders.psp import PSPConfig, PSPEncoder
from dseinvert.encoders.restyle import ReStyleConfig, ReStyleEncoder
from dseinvert.encoders.style_feature import StyleFeatureConfig, StyleFeatureEncoder
from dseinvert.encoders.styleres import StyleResConfig, StyleResEncoder
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.pggan import PGGAN, PGGANConfig
from dseinvert.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.generators.stylegan3 import StyleGAN3, StyleGAN3Config
from dseinvert.models import Model

CHANNELS = {4: 16, 8: 16, 16: 8}


def stylegan2(**numbers: Any) -> Any:
    given = {"resolution": 16, "channels": CHANNELS, "w_dim": 16, "z_dim": 16, "mapping_layers": 2}
    return _noisy(StyleGAN2(StyleGAN2Config(**{**given, **numbers})))


def stylegan1(**numbers: Any) -> Any:
    given = {"resolution": 16, "channels": CHANNELS, "w_dim": 16, "z_dim": 16, "mapping_layers": 2}
    return _noisy(StyleGAN1(StyleGAN1Config(**{**given, **numbers})))


def stylegan3(layers: int = 6, **numbers: Any) -> Any:
    config = StyleGAN3Config(
        16, channel_base=256, channel_max=16, w_dim=16, z_dim=16, num_layers=layers, **numbers
    )
    return StyleGAN3(config)


def pggan(**numbers: Any) -> Any:
    return PGGAN(PGGANConfig(16, CHANNELS, z_dim=16, **numbers))


def biggan() -> Any:
    config = BigGANConfig((32, 32, 16, 16, 8), 3, z_dim=8, class_dim=8, classes=5, statistics=6)
    gan = BigGAN(config)
    for module in gan.modules():
        if hasattr(module, "means"):
            module.means.normal_(0, 0.3)
            module.variances.uniform_(0.5, 1.5)
    torch.nn.init.constant_(gan.attention.gamma, 0.5)
    return gan


def dse(layers: int = 6) -> Any:
    return DSEEncoder(DSEConfig(16, layers, 16, (8, 16, 16)))


def dse_feature() -> Any:
    return DSEFeatureEncoder(
        DSEFeatureConfig(DSEConfig(16, 6, 16, (8, 16, 16)), layer=3, side=8, channels=16, width=8)
    )


def feature_style() -> Any:
    numbers = {"layers": 6, "w_dim": 16, "layer": 3, "side": 8, "channels": 16, "size": 32}
    return FeatureStyleEncoder(
        FeatureStyleConfig(**numbers, widths=(16, 16, 16, 16), units=(1, 1, 1, 1))
    )


def psp(head: str = "pyramid", channels: int = 3, trunk: str = "irse") -> PSPConfig:
    crop = (0.125, 0.875) if head == "w" else (0.0, 1.0)
    return PSPConfig(
        6, 16, trunk, (16, 16, 16, 16), (1, 1, 1, 1), head, head == "last", 32, crop, channels
    )


def hyperstyle() -> Any:
    targets = (
        Target("synthesis.convs.0.conv.weight", "shared", 16, 16, 3, 8),
        Target("synthesis.to_rgbs.0.conv.weight", "colours", 3, 16, 1, 8),
        Target("synthesis.convs.1.conv.weight", "separable", 16, 16, 3, 8),
        Target("synthesis.convs.2.conv.weight", "channels", 16, 16, 3, 8),
    )
    network = replace(psp("w"), size=256, crop=(0.0, 1.0))
    return HyperStyleEncoder(
        HyperStyleConfig(network, targets, (8, 8, 16, 16), (1, 1, 1, 1), 12, 2)
    )


Parts = Callable[[], tuple[Any, Any]]
MODELS: dict[str, Parts] = {
    "stylegan2, dse": lambda: (stylegan2(), dse()),
    "stylegan2, dse-feature": lambda: (stylegan2(), dse_feature()),
    "stylegan2, psp": lambda: (stylegan2(), PSPEncoder(psp())),
    "stylegan2, psp (e4e)": lambda: (stylegan2(), PSPEncoder(psp("last"))),
    "stylegan2, psp (w+ of resnet)": lambda: (stylegan2(), PSPEncoder(psp("w+", trunk="resnet"))),
    "stylegan2, psp (w)": lambda: (stylegan2(), PSPEncoder(psp("w"))),
    "stylegan2, feature-style": lambda: (stylegan2(), feature_style()),
    "stylegan2, restyle": lambda: (
        stylegan2(),
        ReStyleEncoder(ReStyleConfig(psp("last", channels=6), 2)),
    ),
    "stylegan2, e2style": lambda: (
        stylegan2(),
        E2StyleEncoder(E2StyleConfig(16, (3, 2, 1), (16, 16, 16), (1, 1, 1), 2, 32)),
    ),
    "stylegan2, hfgi": lambda: (
        stylegan2(),
        HFGIEncoder(HFGIConfig(psp(), 16, 8, (8, 8, 8), (8, 8, 8, 8), units=1)),
    ),
    "stylegan2, hyperstyle": lambda: (stylegan2(), hyperstyle()),
    "stylegan2, style-feature": lambda: (
        stylegan2(),
        StyleFeatureEncoder(
            StyleFeatureConfig(6, 16, 16, (8, 8, 16, 16), (1, 1, 1, 1), 1, True, 32)
        ),
    ),
    "stylegan2, styleres": lambda: (
        stylegan2(),
        StyleResEncoder(StyleResConfig(psp("last"), 16, 8, 8)),
    ),
    "stylegan2, deep-gan": lambda: (stylegan2(), DeepGanEncoder(DeepGanConfig((8, 16, 16), 16, 1))),
    "stylegan2 (resnet with classes), none": lambda: (
        stylegan2(architecture="resnet", classes=3),
        None,
    ),
    "stylegan2 (classes of before), none": lambda: (
        stylegan2(classes=3, embed_dim=16, normed_together=True),
        None,
    ),
    "stylegan2 (grey and clamped), none": lambda: (stylegan2(image_channels=1, clamp=256.0), None),
    "stylegan1, dse": lambda: (stylegan1(), dse()),
    "stylegan1, idinvert": lambda: (
        stylegan1(own_rows=True, tanh=True),
        IDInvertEncoder(IDInvertConfig(6, 16, (8, 16, 16), 5, norm_last=True)),
    ),
    "stylegan1 (classes), none": lambda: (stylegan1(classes=3), None),
    "stylegan3, dse": lambda: (stylegan3(), dse(8)),
    "stylegan3 (R), none": lambda: (
        stylegan3(4, conv_kernel=1, use_radial_filters=True),
        None,
    ),
    "pggan, dse-pggan": lambda: (pggan(), DSEPGGANEncoder(DSEPGGANConfig(16, 16, (8, 16, 16)))),
    "pggan (classes), none": lambda: (pggan(classes=3), None),
    "biggan, dse-biggan": lambda: (
        biggan(),
        DSEBigGANEncoder(DSEBigGANConfig(16, 8, 8, (8, 16, 16))),
    ),
    "biggan, deep-gan-big": lambda: (
        biggan(),
        DeepGanBigEncoder(DeepGanBigConfig((8, 16, 16), 8, 8)),
    ),
}


def model_of(name: str, seed: int = 0) -> Model:
    """One of MODELS, as `open_model` would give it."""
    torch.manual_seed(seed)
    generator, encoder = MODELS[name]()
    generator.eval().requires_grad_(False)
    if encoder is not None:
        encoder.eval().requires_grad_(False)
        encoder.attach(generator)
    return Model(name, Path(), generator, encoder, {}, "0" * 64, "1" * 64, "none", {})


def _noisy(generator: Any) -> Any:
    """Noise that would be missed: its strength starts at zero."""
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.3)
    return generator
