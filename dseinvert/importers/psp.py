"""Checkpoints of pixel2style2pixel, encoder4editing and restyle-encoder: encoder and decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.psp import PSPConfig, PSPEncoder
from dseinvert.encoders.restyle import ReStyleConfig, ReStyleEncoder
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers import psp_weights
from dseinvert.importers.found import Found
from dseinvert.importers.rosinality import state_to_generator
from dseinvert.importers.tensors import State, below
from dseinvert.pickled.pickles import Foreign

RELATIVE = (
    *("Encoder4Editing", "ProgressiveBackboneEncoder"),
    "ResNetProgressiveBackboneEncoder",
)
"""Encoders whose rows after the first are offsets from it; the weights do not tell."""
FACES = ("ffhq", "celeb", "toon")
_CRITIC = "discriminator_state_dict"
CARS = (1 / 8, 7 / 8)  # of the height, which is what their code looks at: cars are 4:3


def recognise(content: Any) -> bool:
    """Whether this is a checkpoint whose state dict holds an encoder of the pSp family."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    stems = psp_weights.STEMS.values()
    return isinstance(state, Mapping) and any(f"encoder.{stem}" in state for stem in stems)


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder, and the generator it was trained with.

    `generator` stands in where the file holds no decoder.

    Raises:
        InputError: a tensor is missing or misshapen, or encoder and generator do not fit.
    """
    state, options = content["state_dict"], options_of(content)
    encoder, decoder = below(state, "encoder."), below(state, "decoder.")
    average = average_of(content.get("latent_avg"))
    own = None
    if decoder:
        own = generator = state_to_generator(decoder, None if average is None else average[0])
    if generator is None:
        raise InputError("an encoder of the pSp family without its decoder", "give --gan")
    channels = psp_weights.in_channels(encoder)
    faces = said(options, FACES)
    notes = [_about(options, faces)]
    if average is None:
        notes.append("no latent_avg in the file: the generator's is measured or taken")
    built: PSPEncoder | ReStyleEncoder | None = None
    if channels in (3, 6):
        config = _config(encoder, options, generator)
        start = _start(average, options, config, generator)
        built = _build(config, options, {**psp_weights.convert(encoder, config), "w_avg": start})
        built.attach(generator)
        notes += psp_weights.left_out(encoder, config)
    else:
        notes.append(f"its encoder takes {channels} channels, not photographs: left out")
    alignment = "ffhq" if faces else "none"
    return Found(_name(options, channels), own, built, {}, alignment, tuple(notes))


def options_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Their command line: a dict, or an argparse.Namespace; else what the rest of the file tells.

    Of the codes whose encoders have such shapes, e4e's alone trains a critic of latents.
    """
    opts = content.get("opts")
    if isinstance(opts, Foreign):
        opts = opts.state if isinstance(opts.state, Mapping) else opts.kwargs
    if isinstance(opts, Mapping):
        return opts
    return {"encoder_type": "Encoder4Editing"} if _CRITIC in content else {}


def average_of(latent: Any) -> Tensor | None:
    """The mean latent [1 or L, D]; None = the file has none."""
    if latent is None:
        return None
    if not isinstance(latent, Tensor) or latent.ndim not in (1, 2) or 0 in latent.shape:
        raise InputError("latent_avg: expected a tensor [L, D]")
    if not latent.isfinite().all():
        raise InputError("latent_avg: holds NaN or infinite numbers")
    return torch.atleast_2d(latent.float())


def said(options: Mapping[str, Any], words: tuple[str, ...]) -> bool:
    """Whether the data set, or the weights it started from, are named so."""
    said = f"{options.get('dataset_type', '')} {options.get('stylegan_weights', '')}".lower()
    return any(word in said for word in words)


def _about(options: Mapping[str, Any], faces: bool) -> str:
    data = options.get("dataset_type", "unnamed pictures")
    crop = "faces aligned as in FFHQ" if faces else "pictures as they are"
    return f"trained on {data}: {crop} are assumed"


def _name(options: Mapping[str, Any], channels: int) -> str:
    kind = options.get("encoder_type", "unnamed encoder")
    if channels == 6:
        return f"ReStyle checkpoint ({kind})"
    return "e4e checkpoint" if kind == "Encoder4Editing" else f"pSp checkpoint ({kind})"


def _config(state: State, options: Mapping[str, Any], generator: Generator) -> PSPConfig:
    kind, spec = options.get("encoder_type"), generator.spec
    try:
        config = psp_weights.config(state, spec.layers, spec.dim)
        if said(options, ("cars",)):
            config = replace(config, crop=CARS)
        config = replace(config, relative=kind in RELATIVE)
    except ValueError as error:
        raise InputError(f"an encoder that cannot be built: {error}") from error
    if kind is None and config.head in ("pyramid", "last"):
        raise InputError(
            "opts: names no encoder_type; what its rows mean is not known",
            "bring the checkpoint as its training saved it",
        )
    return config


def _start(
    average: Tensor | None, options: Mapping[str, Any], config: PSPConfig, generator: Generator
) -> Tensor:
    """What the encoder's rows are offsets from [L, D]: the mean latent, or nothing."""
    wanted = config.in_channels == 6 or options.get("start_from_latent_avg", average is not None)
    if not wanted:
        return torch.zeros(config.layers, config.w_dim)
    return mean_rows(average, config.layers, generator)


def mean_rows(average: Tensor | None, layers: int, generator: Generator) -> Tensor:
    """The mean latent [L, D], each row that of the file, or of the generator where it has none.

    Raises:
        InputError: that of the file is of another size.
    """
    if average is None:  # their code then measures it
        average = generator.mean_latent().code[0]
    if len(average) > 1:
        average = average[:layers]
    wanted = [layers, generator.spec.dim]
    try:
        return average.expand(wanted).contiguous()
    except RuntimeError as error:
        raise InputError(f"latent_avg: expected {wanted}, found {list(average.shape)}") from error


def check_feature(generator: Generator, layer: int, channels: int, side: int) -> None:
    """InputError where the generator has no features [channels, side, side] at that layer."""
    try:
        found = [*generator.features(generator.mean_latent(), layer).shape[1:]]
    except ValueError as error:
        raise InputError(f"a {generator.family} without features of {side} px") from error
    if found != [channels, side, side]:
        raise InputError(f"features {[channels, side, side]}, and its generator has {found}")


def _build(
    config: PSPConfig, options: Mapping[str, Any], weights: dict[str, Tensor]
) -> PSPEncoder | ReStyleEncoder:
    encoder: PSPEncoder | ReStyleEncoder
    try:
        with torch.device("meta"), Blank():
            if config.in_channels == 6:
                times = int(options.get("n_iters_per_batch", 5))
                encoder = ReStyleEncoder(ReStyleConfig(config, times))
            else:
                encoder = PSPEncoder(config)
    except (TypeError, ValueError) as error:
        raise InputError(f"an encoder that cannot be built: {error}") from error
    encoder.load_state_dict(weights, assign=True)
    return encoder.eval().requires_grad_(False)
