"""A generator whose weights differ from sample to sample: pivotal tuning (Roich et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dseinvert.generators import Generator
from dseinvert.latent import Latent

Draw = Callable[[Generator, Latent], Tensor]
"""What is asked of a generator: its images [B, 3, R, R], or features [B, C, H, W]."""


def synthesize(generator: Generator, latent: Latent) -> Tensor:
    """`generator.synthesize` [B, 3, R, R], with each sample's own weights where it has any."""
    return _each(generator, latent, images_of)


def features(generator: Generator, latent: Latent, layer: int) -> Tensor:
    """`generator.features` [B, C, H, W], with each sample's own weights where it has any."""
    return _each(generator, latent, lambda own, one: own.features(one, layer))


def images_of(generator: Generator, latent: Latent) -> Tensor:
    """`generator.synthesize`, as a function."""
    return generator.synthesize(latent)


def with_tuning(generator: Generator, tuning: Mapping[str, Tensor]) -> Generator:
    """A generator that shares all weights with the given one but those that `tuning` changes.

    weight + up @ down, with up [out, r] and down [r, rest] and no batch axis; a weight's first
    axis is its output. The given generator stays as it is, so that other threads can draw with it.
    """
    own = private(generator)
    with torch.no_grad():
        for name, weight in _weights(dict(own.named_parameters()), tuning).items():
            place, _, last = name.rpartition(".")
            fixed = nn.Parameter(weight, requires_grad=False)
            setattr(own.get_submodule(place), last, fixed)
    return own  # type: ignore[return-value]


def private(generator: Generator) -> nn.Module:
    """The same network in modules of its own, with the same tensors.

    Its weights can be replaced without a word to other threads, and its hooks hear no other's call.
    """
    own = generator.plain
    shared = [*own.parameters(), *own.buffers()]
    memo: dict[int, object] = {id(tensor): tensor for tensor in shared}
    return deepcopy(own, memo)


def draw_tuned(
    own: nn.Module, latent: Latent, draw: Draw = images_of, together: bool | None = None
) -> Tensor:
    """What `own`, of `private`, draws [B, ...] with each sample's weights; gradients reach these.

    Args:
        own: nobody else may call it meanwhile.
        latent: with a tuning.
        draw: what is asked of the generator.
        together: all samples in one pass, by grouped convolutions: for GPUs, and on a CPU only
            where gradients are recorded; None = except on a CPU, which takes a fifth less time for
            them one by one.
    """
    calling, plain = _Calling(own, draw), replace(latent, tuning={})
    state = {f"own.{name}": weight for name, weight in own.named_parameters()}
    tuning = {f"own.{name}": tensor for name, tensor in latent.tuning.items()}

    def one(tuning: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Tensor:
        fields = {name: tensor[None] for name, tensor in tensors.items()}
        alone = replace(plain, **fields)  # type: ignore[arg-type]
        own_weights = _weights(state, tuning)
        return functional_call(calling, own_weights, (alone,), tie_weights=False)[0]

    if together is None:
        together = latent.code.device.type != "cpu"
    if together:
        return vmap(one)(tuning, plain.tensors())
    samples = range(len(latent))
    return torch.stack([one(_row(tuning, k), _row(plain.tensors(), k)) for k in samples])


def draw_alike(
    own: nn.Module, latent: Latent, tuning: Mapping[str, Tensor], draw: Draw = images_of
) -> Tensor:
    """What `own`, of `private`, draws [B, ...] with one difference for all samples.

    Gradients reach `tuning`, which has no batch axis, as in `with_tuning`.
    """
    weights = _weights(dict(own.named_parameters()), tuning)
    named = {f"own.{name}": weight for name, weight in weights.items()}
    drawn: Tensor = functional_call(_Calling(own, draw), named, (latent,), tie_weights=False)
    return drawn


def tuned_weights(tuning: Iterable[str]) -> list[str]:
    """The weights that the keys "NAME.up" and "NAME.down" of a tuning are about."""
    return sorted({key.rpartition(".")[0] for key in tuning})


class _Calling(nn.Module):
    """A generator whose forward is any of its methods: what `functional_call` calls."""

    def __init__(self, own: nn.Module, draw: Draw) -> None:
        super().__init__()
        self.own = own
        self.draw = draw

    def forward(self, latent: Latent) -> Tensor:
        return self.draw(self.own, latent)  # type: ignore[arg-type]


def _each(generator: Generator, latent: Latent, draw: Draw) -> Tensor:
    if not latent.tuning:
        return draw(generator, latent)
    return draw_tuned(private(generator), latent, draw)


def _weights(state: Mapping[str, Tensor], tuning: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with their differences, of one sample."""
    return {
        name: state[name] + (tuning[f"{name}.up"] @ tuning[f"{name}.down"]).view_as(state[name])
        for name in tuned_weights(tuning)
    }


def _row(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: tensor[index] for name, tensor in tensors.items()}
