"""The methods of `--refine`: one row each, for the runs, the help and the messages.

A new method is a file of its own and a row here. The command line reads this table as it starts,
so what a row needs is loaded only where it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dseinvert.errors import UsageError

if TYPE_CHECKING:
    from dseinvert.encoders import Encoder
    from dseinvert.generators import Generator
    from dseinvert.inversion.clip_stages import ClipTask, Fitted
    from dseinvert.inversion.names import SpaceName
    from dseinvert.inversion.refinement import Refine
    from dseinvert.similarity.losses import Distance


@dataclass(frozen=True)
class Given:
    """What a refinement of images may be made from."""

    generator: Generator
    """PyTorch's own, for gradients go through it."""
    encoder: Encoder
    """Attached to it."""
    space: SpaceName
    """That latents are to be moved in."""
    distance: Distance | None = None
    """Perceptual, a term of the loss; None = without."""


ImageMethod = Callable[[Given], "Refine"]
"""Models and options -> a refinement of images."""
ClipMethod = Callable[["ClipTask", "Fitted", int], "Fitted"]
"""The frames, what was fitted to them before, and steps -> that and what this method fits."""


@dataclass(frozen=True)
class Method:
    """One method."""

    steps: int
    """Where none are given."""
    moves: str
    """What is changed, in one line, and in the plural."""
    images: ImageMethod
    """How it is made for images, each of which is refined by itself."""
    clip: ClipMethod | None = None
    """How it is done for all frames of a clip at once; None = it is not for clips."""
    leads: bool = False
    """Whether it makes the latent, so that no other may come before it."""
    in_space: bool = False
    """Whether `--space` is about it."""


def listed(last: Literal["or", "and"], *, clip: bool = False) -> str:
    """The names in the table's order, the last after `last`: "encoder, sam or generator".

    Args:
        clip: only those that are for clips.
    """
    names = [name for name, method in METHODS.items() if not clip or method.clip]
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def method_of(name: str) -> Method:
    """The row of a method; UsageError where there is none."""
    if name not in METHODS:
        raise UsageError(f"--refine {name!r}", known())
    return METHODS[name]


def known() -> str:
    """What `--refine` takes, as advice."""
    return f"none, or {listed('or')}[:STEPS], several with commas"


def filled(text: str) -> str:
    """A help text with the methods in place of {methods}, {clip_methods} and {clip_together}."""
    both = sum(method.clip is not None for method in METHODS.values()) == 2
    words = {
        "{methods}": listed("or"),
        "{clip_methods}": listed("or", clip=True),
        "{clip_together}": "both with a comma" if both else "several with commas",
    }
    for place, word in words.items():
        text = text.replace(place, word)
    return text


def _encoder(given: Given) -> Refine:
    from dseinvert.inversion.tune_encoder import EncoderTuning, encoder_refinement

    options = EncoderTuning(perceptual=given.distance)
    return encoder_refinement(given.generator, given.encoder, options)


def _latent(given: Given) -> Refine:
    from dseinvert.inversion.optimise import latent_refinement

    return latent_refinement(given.generator, given.space, distance=given.distance)


def _generator(given: Given) -> Refine:
    from dseinvert.inversion.tune_generator import generator_refinement

    return generator_refinement(given.generator, distance=given.distance)


def _sam(given: Given) -> Refine:
    from dseinvert.inversion.sam import sam_refinement

    return sam_refinement(given.generator, given.space, distance=given.distance)


def _encoder_of_clip(task: ClipTask, fitted: Fitted, steps: int) -> Fitted:
    from dseinvert.inversion.clip_stages import encoder_of_clip

    return encoder_of_clip(task, fitted, steps)


def _generator_of_clip(task: ClipTask, fitted: Fitted, steps: int) -> Fitted:
    from dseinvert.inversion.clip_stages import generator_of_clip

    return generator_of_clip(task, fitted, steps)


METHODS: dict[str, Method] = {
    "encoder": Method(100, "encoders", _encoder, _encoder_of_clip, leads=True),
    "latent": Method(200, "latents", _latent, in_space=True),
    "sam": Method(200, "latents", _sam, in_space=True),
    "generator": Method(100, "generators", _generator, _generator_of_clip),
}
"""By name, in the order in which help names them."""
