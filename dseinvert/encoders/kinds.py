"""Which kinds of encoder there are, and one from the numbers in a model's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

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
from dseinvert.encoders.hyperstyle import HyperStyleConfig, HyperStyleEncoder
from dseinvert.encoders.idinvert import IDInvertConfig, IDInvertEncoder
from dseinvert.encoders.psp import PSPConfig, PSPEncoder
from dseinvert.encoders.restyle import ReStyleConfig, ReStyleEncoder
from dseinvert.encoders.style_feature import StyleFeatureConfig, StyleFeatureEncoder
from dseinvert.encoders.styleres import StyleResConfig, StyleResEncoder

KINDS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    DSEEncoder.kind: (DSEConfig, DSEEncoder),
    DSEBigGANEncoder.kind: (DSEBigGANConfig, DSEBigGANEncoder),
    DSEFeatureEncoder.kind: (DSEFeatureConfig, DSEFeatureEncoder),
    DSEPGGANEncoder.kind: (DSEPGGANConfig, DSEPGGANEncoder),
    DeepGanEncoder.kind: (DeepGanConfig, DeepGanEncoder),
    DeepGanBigEncoder.kind: (DeepGanBigConfig, DeepGanBigEncoder),
    E2StyleEncoder.kind: (E2StyleConfig, E2StyleEncoder),
    FeatureStyleEncoder.kind: (FeatureStyleConfig, FeatureStyleEncoder),
    HFGIEncoder.kind: (HFGIConfig, HFGIEncoder),
    HyperStyleEncoder.kind: (HyperStyleConfig, HyperStyleEncoder),
    IDInvertEncoder.kind: (IDInvertConfig, IDInvertEncoder),
    PSPEncoder.kind: (PSPConfig, PSPEncoder),
    ReStyleEncoder.kind: (ReStyleConfig, ReStyleEncoder),
    StyleFeatureEncoder.kind: (StyleFeatureConfig, StyleFeatureEncoder),
    StyleResEncoder.kind: (StyleResConfig, StyleResEncoder),
}
LOOKS_AGAIN = frozenset({HFGIEncoder.kind, StyleFeatureEncoder.kind, StyleResEncoder.kind})
"""Those whose F comes of their own reconstruction: their weights are not tuned."""
CHANGE_WEIGHTS = frozenset({HyperStyleEncoder.kind})
"""Kinds whose latents change the generator's weights: for images alone, and not exported."""


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
