"""Whether a generator can draw a latent: all that a file can say otherwise is refused here."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import nn

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.takes import drawable
from dseinvert.generators.tuned import synthesize, tuned_weights
from dseinvert.latent import Latent
from dseinvert.names import brief, printable

_REFUSALS = (ValueError, TypeError, LookupError, RuntimeError, AssertionError)
"""What networks raise for tensors that they cannot take."""
_DRAWN: WeakKeyDictionary[nn.Module, set[object]] = WeakKeyDictionary()
"""The kinds of latents that a generator is known to draw."""


def check_fits(generator: Generator, name: str, latent: Latent) -> None:
    """InputError where the generator, that of the model `name`, cannot draw the latent."""
    if not drawable(generator, latent):
        spec = generator.spec
        have, want = list(latent.code.shape[1:]), [spec.layers, spec.dim]
        raise InputError(f"{have} in {latent.space}, but {name} takes {want} in {spec.space}")
    if problem := _problem(generator, latent):
        raise InputError(f"{problem}, which {name} cannot draw", "invert its picture again")
    if latent.feature is not None or latent.tuning or generator.spec.classes:
        _try(generator, name, latent)


def _problem(generator: Generator, latent: Latent) -> str:
    """What of a latent does not go with its generator; "" = nothing is known that does not."""
    classes, layers = generator.spec.classes, generator.style_layers
    if latent.label is not None and latent.label.shape[1] != classes:
        return f"a label of {latent.label.shape[1]} classes in place of {classes}"
    styles = layers[-1].columns.stop if layers else 0
    if latent.style is not None and latent.style.shape[1] != styles:
        return f"offsets of {latent.style.shape[1]} styles in place of {styles}"
    if generator.truncation is not None and not _is_share(latent.origin.get("truncation", "1")):
        return f"a truncation of {brief(latent.origin['truncation'])}"
    return _problem_of_tuning(generator, latent)


def _problem_of_tuning(generator: Generator, latent: Latent) -> str:
    own = dict(generator.plain.named_parameters()) if latent.tuning else {}
    for name in tuned_weights(latent.tuning):
        parts = [latent.tuning.get(f"{name}.{part}") for part in ("up", "down")]
        up, down = parts
        if name not in own or up is None or down is None:
            return f"a tuning of {brief(name)}"
        out, rest = len(own[name]), math.prod(own[name].shape[1:])
        if up.shape[1] != out or down.shape[2] != rest or up.shape[2] != down.shape[1]:
            return f"a tuning of {brief(name)} of another size"
    return ""


def _is_share(word: str) -> bool:
    try:
        return 0 <= float(word) <= 1
    except ValueError:
        return False


@torch.inference_mode()
def _try(generator: Generator, name: str, latent: Latent) -> None:
    """Draw one of each kind: where a feature may enter, and how, the network knows alone."""
    shapes = {part: tuple(tensor.shape[1:]) for part, tensor in latent.tensors().items()}
    kind = (latent.space, latent.layer, latent.skip, tuple(shapes.items()))
    known = _DRAWN.setdefault(generator.plain, set())
    if kind in known:
        return
    one = latent[:1].to(generator.device)
    try:
        if latent.feature is not None and latent.layer is not None:
            _check_feature(generator, one, latent.layer)
        synthesize(generator, one)
    except torch.OutOfMemoryError:
        raise
    except _REFUSALS as error:
        said = printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
        raise InputError(f"{name} cannot draw it: {said}", "invert its picture again") from error
    known.add(kind)


def _check_feature(generator: Generator, latent: Latent, layer: int) -> None:
    assert latent.feature is not None
    wanted = generator.features(generator.mean_latent(), layer).shape[1:]
    if latent.feature.shape[1:] != wanted:
        found = list(latent.feature.shape[1:])
        raise ValueError(f"a feature of {found} where layer {layer} has {list(wanted)}")
