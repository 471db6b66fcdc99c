"""The part of an encoder that is tuned to an image: each image of a batch has a copy of its own.

What comes before the part does not change while it is tuned, and is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dseinvert.encoders import Encoder
from dseinvert.encoders.dse import DSEEncoder
from dseinvert.encoders.dse_biggan import DSEBigGANEncoder
from dseinvert.encoders.dse_feature import DSEFeatureEncoder, feature_at
from dseinvert.encoders.dse_pggan import DSEPGGANEncoder
from dseinvert.generators import Generator
from dseinvert.inversion.descend import Named

Scope = Literal["tail", "all"]


@dataclass(frozen=True)
class Part:
    """What is tuned of an encoder, and the encoder as a function of it."""

    see: Callable[[Tensor, Tensor | None], Named]
    """Images [B, 3, R, R] and labels [B, classes] -> all that is computed once."""
    begin: Callable[[Named], Named]
    """What was seen -> the weights of each image, all as the encoder has them."""
    encode: Callable[[Named, Named], Named]
    """Weights and what was seen -> "code", perhaps "feature", and of a DSE "end", its z_c' (of
    BigGAN's: c'); as the weights begin, that is the encoder's own latent."""
    rates: Callable[[str, Tensor], float]
    """What the learning rate is multiplied by, by name and weights."""


def part_of(encoder: Encoder, generator: Generator, scope: Scope) -> Part:
    """The part of that scope; an encoder of another kind whose latent has a feature has no tail.

    Args:
        encoder: of any kind, frozen, and attached to `generator`.
        generator: frozen; without classes, labels are None.
        scope: all = every weight; tail = what comes last.
    """
    if scope == "tail" and isinstance(encoder, DSEFeatureEncoder):
        return feature_tail(encoder, generator)
    if scope == "tail" and encoder.kind != "feature-style":
        return heads(encoder, generator)
    return whole(encoder, generator)


def heads(encoder: Encoder, generator: Generator) -> Part:
    """The biases of the last layers: of all rows together, and of each.

    For one image the input of a head is fixed, so that its weights could do no more than its bias.
    Weights: "rows" [B, L, D], and "base" [B, D] where L is more than 1.
    """

    def see(images: Tensor, label: Tensor | None) -> Named:
        return _run(encoder, generator, images, label)

    return Part(see, _biases, _biased, lambda name, weight: 1.0)


def feature_tail(encoder: DSEFeatureEncoder, generator: Generator) -> Part:
    """The biases of the trunk's heads, and the convolution that the feature branch ends with.

    Weights: those of `heads`, and "weight" [B, C, width, 3, 3] and "bias" [B, C].
    """
    trunk, branch, config = encoder.trunk, encoder.branch, encoder.config

    def see(images: Tensor, label: Tensor | None) -> Named:
        rows, maps = trunk.rows_and_maps(images)
        detail = branch.detail_of(images)
        return {"code": rows, "end": maps[-1], "map": maps[config.map_index], "detail": detail}

    def begin(seen: Named) -> Named:
        return _biases(seen) | _copies(branch.leave, len(seen["code"]))

    def encode(own: Named, seen: Named) -> Named:
        def correction(plain: Tensor) -> Tensor:
            x = branch.before_last(seen["detail"], seen["map"], plain)
            return convolve(x, own["weight"], own["bias"])

        biased = _biased(own, seen)
        return biased | {"feature": feature_at(generator, biased["code"], config.layer, correction)}

    return Part(see, begin, encode, spread)


def whole(encoder: Encoder, generator: Generator) -> Part:
    """All weights of an encoder, as published.

    Kinds that are known to bear it run with all sets of weights at once, others one by one.
    Weights: [B, ...] each, by the names of the encoder's parameters behind "encoder.".
    """
    module = _Whole(encoder, generator)

    def see(images: Tensor, label: Tensor | None) -> Named:
        return {"images": images} if label is None else {"images": images, "label": label}

    def one(own: Named, seen: Named) -> Named:
        label = seen["label"][None] if "label" in seen else None
        with torch.enable_grad():  # or generators write over their own results, which vmap refuses
            found = torch.func.functional_call(module, own, (seen["images"][None], label))
        return {name: tensor[0] for name, tensor in found.items()}

    def encode(own: Named, seen: Named) -> Named:
        if encoder.kind.startswith("dse"):
            together: Named = torch.func.vmap(one)(own, seen)
            return together
        alone = [one(_at(own, k), _at(seen, k)) for k in range(len(seen["images"]))]
        return {name: torch.stack([each[name] for each in alone]) for name in alone[0]}

    return Part(see, lambda seen: _copies(module, len(seen["images"])), encode, spread)


def spread(name: str, weight: Tensor) -> float:
    """The deviation of a weight [B, out, ...] of variance gain 1; 1 for a bias."""
    return 1.0 if weight.ndim < 3 or name == "rows" else weight[0, 0].numel() ** -0.5


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[B, I, H, W] -> [B, O, H, W]: each sample has its weight [B, O, I, K, K] and bias [B, O].

    K is odd, and the border is zeros.
    """
    count, outputs, _, side, _ = weight.shape
    y = F.conv2d(
        x.flatten(0, 1)[None], weight.flatten(0, 1), bias.flatten(), padding=side // 2, groups=count
    )
    return y[0].unflatten(0, (count, outputs))


class _Whole(nn.Module):
    """An encoder as a module that does what `_run` does."""

    def __init__(self, encoder: Encoder, generator: Generator) -> None:
        super().__init__()
        self.encoder = encoder
        self._generator = [generator]  # in a list its weights are none of the module's

    def forward(self, images: Tensor, label: Tensor | None) -> Named:
        """[B, 3, R, R] in [-1, 1] and labels [B, classes] -> the latent, as `Part.encode`."""
        return _run(self.encoder, self._generator[0], images, label)


def _run(encoder: Encoder, generator: Generator, images: Tensor, label: Tensor | None) -> Named:
    """What `encode` gives, and where a DSE ends."""
    if isinstance(encoder, DSEFeatureEncoder):
        rows, feature, end = encoder.rows_and_feature(images, generator)
        return {"code": rows, "feature": feature, "end": end}
    if isinstance(encoder, DSEEncoder | DSEPGGANEncoder):
        code, end = encoder(images)
        return {"code": code, "end": end}
    if isinstance(encoder, DSEBigGANEncoder):
        assert label is not None
        code, end = encoder(images, label)
        return {"code": code, "end": end}
    tensors = encoder.encode(images, label).tensors()
    return {name: tensor for name, tensor in tensors.items() if name != "label"}


def _biases(seen: Named) -> Named:
    code = seen["code"]
    rows = {"rows": torch.zeros_like(code)}
    return rows if code.shape[1] == 1 else rows | {"base": torch.zeros_like(code[:, 0])}


def _biased(own: Named, seen: Named) -> Named:
    code = seen["code"] + own["rows"]
    return {"code": code + own["base"][:, None] if "base" in own else code}


def _copies(module: nn.Module, count: int) -> Named:
    """Every weight of a module, once an image."""
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    return {name: weight.expand(count, *weight.shape).clone() for name, weight in weights.items()}


def _at(tensors: Mapping[str, Tensor], index: int) -> Named:
    return {name: tensor[index] for name, tensor in tensors.items()}
