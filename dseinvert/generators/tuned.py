"""A generator whose weights differ from sample to sample: pivotal tuning (Roich et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from dseinvert.generators import Generator
from dseinvert.latent import Latent


def synthesize(generator: Generator, latent: Latent) -> Tensor:
    """`generator.synthesize` [B, 3, R, R], with each sample's own weights where it has any."""
    return _each(generator, latent, lambda own, one: own.synthesize(one))


def features(generator: Generator, latent: Latent, layer: int) -> Tensor:
    """`generator.features` [B, C, H, W], with each sample's own weights where it has any."""
    return _each(generator, latent, lambda own, one: own.features(one, layer))


def with_tuning(generator: Generator, tuning: Mapping[str, Tensor]) -> Generator:
    """A generator that shares all weights with the given one but those that `tuning` changes.

    weight + up @ down, with up [out, r] and down [r, rest] and no batch axis; a weight's first
    axis is its output. The given generator stays as it is, so that other threads can draw with it.
    """
    assert isinstance(generator, nn.Module)
    shared = [*generator.parameters(), *generator.buffers()]
    memo: dict[int, object] = {id(tensor): tensor for tensor in shared}
    state = dict(generator.named_parameters())
    for name in {key.rpartition(".")[0] for key in tuning}:
        step = (tuning[f"{name}.up"] @ tuning[f"{name}.down"]).view_as(state[name])
        memo[id(state[name])] = nn.Parameter(state[name] + step, requires_grad=False)
    return deepcopy(generator, memo)


def _each(
    generator: Generator, latent: Latent, draw: Callable[[Generator, Latent], Tensor]
) -> Tensor:
    if not latent.tuning:
        return draw(generator, latent)
    plain, drawn = replace(latent, tuning={}), []
    for k in range(len(latent)):
        own = {name: tensor[k] for name, tensor in latent.tuning.items()}
        drawn.append(draw(with_tuning(generator, own), plain[k : k + 1]))
    return torch.cat(drawn)
