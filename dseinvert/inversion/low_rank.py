"""Differences of low rank (as in LoRA, Hu et al., 2022) of a generator's weights, to be learnt.

A weight becomes weight + up @ down. While they are learnt, factors are in units of the weight's
root mean square, so that one rate suits all layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dseinvert.generators.tuned import tuned_weights
from dseinvert.inversion.descend import Named, owned
from dseinvert.latent import Latent


def convolutions(own: nn.Module, latent: Latent) -> list[str]:
    """The convolution weights that the code passes through, or F where the latent has one.

    What lies before F has little say, and none with its RGB images dropped.

    Args:
        own: of `generators.tuned.private`; nobody else may call it meanwhile.
        latent: any of its latents.

    Returns:
        Names of parameters [out, in, K, K] of `own`, sorted.
    """
    one = replace(owned(latent[:1]), tuning={})
    (one.code if one.feature is None else one.feature).requires_grad_()
    found: list[str] = []

    def listen(weight: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            values = [*given, *named.values()]
            if any(isinstance(value, Tensor) and value.requires_grad for value in values):
                found.append(weight)

        return hook

    hooks = []
    for name, weight in own.named_parameters():
        if weight.ndim == 4 and len(weight) > 1:  # [1, C, 4, 4] is a learned constant
            place = own.get_submodule(name.rpartition(".")[0])
            hooks.append(place.register_forward_pre_hook(listen(name), with_kwargs=True))
    with torch.inference_mode(False), torch.enable_grad():
        own.synthesize(one)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return sorted(set(found))


def factors_of(own: nn.Module, latent: Latent, rank: int) -> Named:
    """Factors whose product is 0: "NAME.up" [out, r] of zeros, "NAME.down" [r, rest] at random.

    Args:
        own: as for `convolutions`, which says what weights they are of.
        latent: as there.
        rank: r at most.
    """
    state, source = dict(own.named_parameters()), torch.Generator().manual_seed(0)
    factors: Named = {}
    for name in convolutions(own, latent):
        outputs, rest = len(state[name]), state[name][0].numel()
        r = min(rank, outputs, rest)
        factors[f"{name}.up"] = latent.code.new_zeros(outputs, r)
        factors[f"{name}.down"] = torch.randn(r, rest, generator=source).to(latent.code)
    return factors


def sizes_of(own: nn.Module, factors: Iterable[str]) -> Named:
    """The root mean square of each weight that factors of these names are about."""
    state = dict(own.named_parameters())
    return {n: state[n].detach().square().mean().sqrt() for n in tuned_weights(factors)}


def sized(factors: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> Named:
    """Factors in units of each weight's root mean square -> a tuning."""
    return {
        name: factor * sizes[name.removesuffix(".down")] if name.endswith(".down") else factor
        for name, factor in factors.items()
    }
