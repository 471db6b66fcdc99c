"""The stages that a clip may be tuned by: all frames of a person share one set of weights.

Those of the encoder by the losses of Yu and Wang, "Improving GAN inversion via fine-tuning GAN
encoders" (Equations 4 to 6), those of the generator by a difference of low rank (pivotal tuning,
Roich et al., 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dseinvert.encoders import Encoder
from dseinvert.generators import Generator
from dseinvert.generators.tuned import draw_alike, private, with_tuning
from dseinvert.inversion.clip_descent import (
    ClipDescent,
    ClipTuning,
    Looked,
    Shared,
    Told,
    Tuned,
    put,
)
from dseinvert.inversion.descend import Named, owned
from dseinvert.inversion.inverter import Inverter
from dseinvert.inversion.low_rank import factors_of, sized, sizes_of
from dseinvert.latent import Latent, concat
from dseinvert.similarity.losses import image_loss, mse


@dataclass(frozen=True)
class Fitted:
    """What all frames of a person share."""

    encoder: Named = field(default_factory=dict)
    """Weights in place of the encoder's own, by name; empty = it stays."""
    tuning: Named = field(default_factory=dict)
    """Of the generator, as `with_tuning` takes it, rounded to float16; empty = it stays."""
    stages: tuple[Tuned, ...] = ()

    def inverter(self, plain: Inverter, own: Encoder) -> Inverter:
        """Inverts frames of this person; the encoder meets the generator as it was.

        Args:
            plain: the model's, perhaps run by another backend.
            own: PyTorch's encoder of it.
        """
        generator, encoder = plain.generator, plain.encoder
        if self.encoder:
            encoder = copied(own, generator)
            put(_weights(encoder), self.encoder)
        if self.tuning:
            generator = with_tuning(generator, _on(self.tuning, generator.device))
        return Inverter(generator, encoder, plain.label)


@dataclass(frozen=True)
class ClipTask:
    """One call of `tune_clip`."""

    generator: Generator
    encoder: Encoder
    images: Tensor
    """[N, 3, R, R] in [-1, 1], where gradients may be had."""
    told: Told
    options: ClipTuning

    def descend(self, method: str, steps: int, shared: Shared) -> Tuned:
        """All steps of a stage of that name."""
        return ClipDescent(self.images, self.told, self.options).run(method, steps, shared)

    def pivots(self, encoder: Encoder) -> Latent:
        """What an encoder makes of all frames, in tensors that gradients may pass."""
        inverter = Inverter(self.generator, encoder)
        parts = [inverter.encode(part) for part in self.images.split(self.options.at_once)]
        return owned(concat(parts))


def copied(encoder: Encoder, generator: Generator) -> Encoder:
    """The same encoder with weights of its own, attached to the same generator."""
    own: Any = generator.plain
    copy = deepcopy(encoder, {id(own): own})
    copy.attach(own)  # what it remembers of drawing may be of no use to gradients
    return copy


def encoder_of_clip(task: ClipTask, fitted: Fitted, steps: int) -> Fitted:
    """All of the encoder's weights, by Equation 6 without its latent loss, and the pull of codes.

    Args:
        task: the frames and the networks.
        fitted: by the stages before.
        steps: of Adam.
    """
    options, own = task.options, copied(task.encoder, task.generator)
    weights = {name: weight.requires_grad_() for name, weight in _weights(own).items()}
    labels = task.pivots(task.encoder).label if task.generator.spec.classes else None
    anchor = task.generator.mean_latent().code

    def look(at: Tensor) -> Looked:
        latent = own.encode(task.images[at], None if labels is None else labels[at])
        drawn = task.generator.synthesize(latent)
        losses, _ = image_loss(task.images[at], drawn, options.weights, options.scales, None)
        away = (latent.code - anchor).flatten(1).norm(dim=1)
        return drawn, losses, losses + options.pull * away

    rates = {name: options.encoder * _spread(weight) for name, weight in weights.items()}
    done = task.descend("encoder", steps, Shared(weights, rates, look, options.momentum))
    found = {name: weight.detach() for name, weight in weights.items()} if done.kept else {}
    return replace(fitted, encoder=found, stages=(*fitted.stages, done))


def generator_of_clip(task: ClipTask, fitted: Fitted, steps: int) -> Fitted:
    """A difference of low rank, of the convolutions that the codes or F pass through.

    The codes are those of the encoder as the stages before left it; see `encoder_of_clip`.
    """
    options, own = task.options, private(task.generator)
    encoder = fitted.inverter(Inverter(task.generator, task.encoder), task.encoder).encoder
    pivots = task.pivots(encoder)
    fresh = factors_of(own, pivots, options.rank)
    factors = {name: factor.requires_grad_() for name, factor in fresh.items()}
    sizes = sizes_of(own, factors)

    def look(at: Tensor) -> Looked:
        drawn = draw_alike(own, pivots[at], sized(factors, sizes))
        losses = mse(task.images[at], drawn)
        return drawn, losses, losses

    def settle() -> None:
        """Round to float16, as it is saved."""
        for name, size in sizes.items():
            up, down = factors[f"{name}.up"], factors[f"{name}.down"]
            up.copy_(up.half())
            down.copy_((down * size).half().float() / size)

    rates = {
        name: options.generator * (options.spread if name.endswith(".down") else 1.0)
        for name in factors
    }
    done = task.descend("generator", steps, Shared(factors, rates, look, settle=settle))
    tuning = {n: factor.detach().half().float() for n, factor in sized(factors, sizes).items()}
    return replace(fitted, tuning=tuning if done.kept else {}, stages=(*fitted.stages, done))


def _weights(encoder: Encoder) -> Named:
    return dict(cast(nn.Module, encoder).named_parameters())


def _spread(weight: Tensor) -> float:
    """The deviation of a weight [out, ...] of variance gain 1; 1 for a bias."""
    return 1.0 if weight.ndim < 2 else float(weight[0].numel()) ** -0.5


def _on(tensors: Mapping[str, Tensor], device: torch.device) -> Named:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
