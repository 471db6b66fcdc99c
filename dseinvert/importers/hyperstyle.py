"""Checkpoints of HyperStyle, with the encoder to w that comes in a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dseinvert.encoders.hyperstyle import (
    CHANNELS,
    COLOURS,
    HALVED,
    SEPARABLE,
    SHARED,
    HyperStyleConfig,
    HyperStyleEncoder,
    Target,
)
from dseinvert.encoders.psp import PSPEncoder
from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.blank import Blank
from dseinvert.importers import psp, psp_weights
from dseinvert.importers.found import Found
from dseinvert.importers.psp_weights import equal_linear, plain
from dseinvert.importers.tensors import State, below, shape, take

LICENCE = (
    "HyperStyle: see github.com/yuval-alaluf/hyperstyle. Its generator: NVIDIA, non-commercial."
)
BESIDE = "*w_encoder*.pt"
"""What the file of the encoder to w is called: faces_w_encoder.pt."""
_MARK, _OWN = "hypernet.conv1.weight", "w_encoder."
_ITERATIONS = 5
Pairs = Iterator[tuple[str, Tensor]]


def recognise(content: Any) -> bool:
    """Whether this is a checkpoint whose state dict holds the network of changes."""
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    return isinstance(state, Mapping) and _MARK in state


def neighbour(content: Any, path: Path) -> Path | None:
    """The file of the encoder to w beside a checkpoint that needs one; None = it needs none."""
    if not recognise(content) or any(str(n).startswith(_OWN) for n in content["state_dict"]):
        return None
    return next((one for one in sorted(path.parent.glob(BESIDE)) if one != path), None)


def together(content: Mapping[str, Any], encoder: Any) -> dict[str, Any]:
    """A checkpoint with the encoder of its neighbour, as training leaves both in one."""
    state = encoder.get("state_dict") if isinstance(encoder, Mapping) else None
    found = below(state, "encoder.") if isinstance(state, Mapping) else {}
    own = {_OWN + name: tensor for name, tensor in found.items()}
    return {**content, "state_dict": {**content["state_dict"], **own}}


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The encoder to w and changed weights, and the generator it was trained with.

    Raises:
        InputError: a tensor is missing or misshapen, or the encoder to w is not there.
    """
    state, options = content["state_dict"], psp.options_of(content)
    own = {f"encoder.{name}": tensor for name, tensor in below(state, _OWN).items()}
    if not own:
        raise InputError("its encoder to w is a file of its own", f"put it beside: {BESIDE}")
    decoder = {name: tensor for name, tensor in state.items() if name.startswith("decoder.")}
    kind = {**options, "encoder_type": "WEncoder", "start_from_latent_avg": True}
    base = psp.convert({**content, "state_dict": own | decoder, "opts": kind}, generator)
    owner = base.generator or generator
    if not isinstance(base.encoder, PSPEncoder) or owner is None:
        raise InputError("no encoder that looks at photographs")
    hyper = below(state, "hypernet.")
    config, numbers = _config(hyper, base.encoder, options, owner)
    weights = base.encoder.state_dict() | dict(_weights(hyper, config, numbers))
    with torch.device("meta"), Blank():
        encoder = HyperStyleEncoder(config)
    encoder.load_state_dict(weights, assign=True)
    encoder.eval().requires_grad_(False)
    try:
        encoder.attach(owner)
    except ValueError as error:
        raise InputError(str(error)) from error
    name = f"HyperStyle checkpoint ({len(config.targets)} weights changed)"
    return Found(name, base.generator, encoder, {}, base.alignment, base.notes, LICENCE)


def _names(generator: Generator) -> list[str]:
    """The weights that may change, in the order in which the published generator counts them."""
    rgbs = sum(n.endswith("conv.weight") and ".to_rgbs." in n for n in _shapes(generator))
    names = ["synthesis.convs.0", "synthesis.to_rgbs.0"]
    for k in range(1, rgbs):
        names += [f"synthesis.convs.{2 * k - 1}", f"synthesis.convs.{2 * k}"]
        names.append(f"synthesis.to_rgbs.{k}")
    return [f"{name}.conv.weight" for name in names]


def _shapes(generator: Generator) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in generator.plain.named_parameters()}


def _config(
    state: State, encoder: PSPEncoder, options: Mapping[str, Any], generator: Generator
) -> tuple[HyperStyleConfig, list[int]]:
    """With the number of each target's block in the file."""
    targets, numbers, sizes = [], [], _shapes(generator)
    for number, weight in enumerate(_names(generator)):
        block = f"refinement_blocks.{number}"
        if f"{block}.convs.0.weight" in state:
            outputs, inputs, kernel, _ = sizes[weight]
            inner = shape(state, f"{block}.convs.0.weight", 4)[0]
            kind = _kind(state, block, outputs)
            targets.append(Target(weight, kind, outputs, inputs, kernel, inner))
            numbers.append(number)
    if not targets:
        raise InputError("it changes no weight that its generator has")
    last = 2 * HALVED[targets[0].kind] - 2
    code = shape(state, f"refinement_blocks.{numbers[0]}.convs.{last}.weight", 4)[0]
    widths, units = zip(*psp_weights.stages(state), strict=True)
    times = options.get("n_iters_per_batch", _ITERATIONS)
    try:
        config = HyperStyleConfig(encoder.config, tuple(targets), widths, units, code, int(times))
    except (ValueError, TypeError) as error:
        raise InputError(f"an encoder that cannot be built: {error}") from error
    return config, numbers


def _kind(state: State, block: str, outputs: int) -> str:
    if f"{block}.linear.weight" in state:
        return SHARED
    if f"{block}.output.0.make_kernel_in.weight" in state:
        return SEPARABLE
    return COLOURS if f"{block}.output.0.weight" in state else CHANNELS


class _Trunk:
    """Of the network that sees the image and what was drawn of it."""

    trunk, in_channels = "resnet", 6

    def __init__(self, config: HyperStyleConfig) -> None:
        self.widths, self.units = config.widths, config.units


def _weights(state: State, config: HyperStyleConfig, numbers: list[int]) -> Pairs:
    yield from psp_weights.trunk(state, _Trunk(config))
    alike = [target for target in config.targets if target.kind == SHARED]
    if alike:
        yield from _shared(state, config.code, alike[0])
    for place, (number, target) in enumerate(zip(numbers, config.targets, strict=True)):
        yield from _block(state, f"refinement_blocks.{number}", f"blocks.{place}", target, config)


def _shared(state: State, code: int, target: Target) -> Pairs:
    sizes = {2: target.inputs * code, 1: target.outputs * target.kernel**2}
    for number, ours in ((2, "rows"), (1, "taps")):
        weight = take(state, f"shared_weight_hypernet.w{number}", code, sizes[number])
        yield f"shared.{ours}.weight", weight.T.contiguous()
        yield (
            f"shared.{ours}.bias",
            take(state, f"shared_weight_hypernet.b{number}", sizes[number]),
        )


def _block(state: State, theirs: str, ours: str, target: Target, config: HyperStyleConfig) -> Pairs:
    depth, code = HALVED[target.kind], config.code
    sizes = [config.widths[-1], *[target.inner] * (depth - 1), code]
    for k in range(depth):
        names = (f"{theirs}.convs.{2 * k}", f"{ours}.convs.{k}")
        yield from plain(state, *names, sizes[k + 1], sizes[k], 3, 3)
    if target.kind == SHARED:
        yield from equal_linear(state, f"{theirs}.linear", f"{ours}.last", code, code)
    elif target.kind == SEPARABLE:
        yield from _separable(state, f"{theirs}.output.0", f"{ours}.last", target, code)
    else:
        place = f"{theirs}.output.{int(target.kind == CHANNELS)}"
        count = target.inputs * target.outputs
        weight = take(state, f"{place}.weight", count, code, 1, 1)
        yield f"{ours}.last.weight", weight.flatten(1)
        yield f"{ours}.last.bias", take(state, f"{place}.bias", count)


def _separable(state: State, theirs: str, ours: str, target: Target, code: int) -> Pairs:
    taps = target.kernel**2
    for name, own, count in (
        ("in", "inputs", target.inputs),
        ("out", "outputs", target.outputs),
    ):
        yield from plain(state, f"{theirs}.make_kernel_{name}", f"{ours}.{own}", taps * count, code)
        mixing = (f"{theirs}.kernel_linear_{name}", f"{ours}.mix_{own}")
        yield from plain(state, *mixing, count, count)
