"""The layers of encoders of the pSp family, from their names to ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from typing import Protocol

from torch import Tensor

from dseinvert.encoders.irse import REDUCTION
from dseinvert.encoders.psp import POOLED, PSPConfig
from dseinvert.errors import InputError
from dseinvert.importers.tensors import State, count, norm, shape, take

STEMS = {"irse": "input_layer.0.weight", "resnet": "conv1.weight"}
_WIDTH = {"irse": "res_layer.1.weight", "resnet": "conv1.weight"}
Pairs = Iterator[tuple[str, Tensor]]


class TrunkShape(Protocol):
    """What defines the convolutions that heads stand on."""

    @property
    def trunk(self) -> str:
        """Its kind: "irse" or "resnet"."""

    @property
    def widths(self) -> Sequence[int]:
        """Channels of each stage."""

    @property
    def units(self) -> Sequence[int]:
        """Blocks in each stage."""

    @property
    def in_channels(self) -> int:
        """Of the pictures."""


def in_channels(state: State) -> int:
    """3 for photographs, 6 for photographs and results, else label maps."""
    return shape(state, STEMS[_trunk(state)], 4)[1]


def config(state: State, layers: int, w_dim: int) -> PSPConfig:
    """The sizes that the shapes imply; whether rows are relative they do not.

    Raises:
        InputError: a layer that tells a size is missing, or there are too few rows.
        ValueError: sizes that make no encoder.
    """
    head, found = _head(state), stages(state)
    rows = _rows(state, head, w_dim)
    if rows is not None and rows < layers:
        raise InputError(f"its encoder writes {rows} rows, its generator takes {layers}")
    return PSPConfig(
        layers=layers,
        w_dim=w_dim,
        trunk=_trunk(state),
        widths=tuple(width for width, _ in found),
        units=tuple(number for _, number in found),
        head=head,
        size=16 * 2 ** _halvings(state) if head in ("pyramid", "last") else 256,
        in_channels=in_channels(state),
    )


def left_out(state: State, config: PSPConfig) -> tuple[str, ...]:
    """A note where the encoder writes more rows than the generator takes."""
    extra = (_rows(state, config.head, config.w_dim) or config.layers) - config.layers
    return (f"the last {extra} rows of its encoder: left out",) if extra else ()


def convert(state: State, config: PSPConfig) -> dict[str, Tensor]:
    """The weights of a PSPNetwork, folded, by their names in an encoder.

    Raises:
        InputError: a tensor is missing, misshapen or not finite.
    """
    pairs = [*trunk(state, config), *_heads(state, config)]
    return {f"network.{name}": tensor for name, tensor in pairs}


def _trunk(state: State) -> str:
    return next((kind for kind, stem in STEMS.items() if stem in state), "irse")


def _head(state: State) -> str:
    if "styles.0.linear.weight" in state:
        return "pyramid" if "latlayer1.weight" in state else "last"
    return "w+" if "output_layer_2.3.weight" in state else "w"


def _rows(state: State, head: str, w_dim: int) -> int | None:
    """Rows it writes; None = as many as wanted."""
    if head == "w+":
        return shape(state, "linear.weight", 2)[0] // w_dim
    return None if head == "w" else count(state, "styles.")


def _halvings(state: State) -> int:
    """Convolutions of the first style block; between them stand activations."""
    names = (f"styles.0.convs.{2 * i}.weight" for i in range(8))
    return sum(name in state for name in names)


def trunk(state: State, shape: TrunkShape) -> Pairs:
    """The weights of a Trunk, folded, under "trunk.".

    Raises:
        InputError: a tensor is missing, misshapen or not finite.
    """
    yield from _stem(state, shape)
    yield from _units(state, shape)


def stages(state: State) -> list[tuple[int, int]]:
    """The width and the number of blocks of each stage, as the shapes tell."""
    conv = _WIDTH[_trunk(state)]
    widths = [shape(state, f"body.{i}.{conv}", 4)[0] for i in range(count(state, "body."))]
    return [(width, len(list(group))) for width, group in groupby(widths)]


def _stem(state: State, config: TrunkShape) -> Pairs:
    width, resnet = config.widths[0], config.trunk == "resnet"
    conv, after, slope = (
        ("conv1", "bn1", "relu") if resnet else ("input_layer.0", "input_layer.1", "input_layer.2")
    )
    kernel = 7 if resnet else 3
    wanted = (width, config.in_channels, kernel, kernel)
    yield from conv_norm(state, conv, after, "trunk.stem", *wanted)
    yield "trunk.slope.weight", take(state, f"{slope}.weight", width)


def _units(state: State, config: TrunkShape) -> Pairs:
    """Theirs are counted through all stages."""
    unit = _resnet_unit if config.trunk == "resnet" else _irse_unit
    starts = [0, *accumulate(config.units)]
    before = config.widths[0]
    for stage, width in enumerate(config.widths):
        for number in range(config.units[stage]):
            ours = f"trunk.stages.{stage}.{number}"
            yield from unit(state, f"body.{starts[stage] + number}", ours, before, width)
            before = width


def _irse_unit(state: State, theirs: str, ours: str, before: int, width: int) -> Pairs:
    yield from ir_unit(state, theirs, ours, before, width)
    few, squeeze = width // REDUCTION, f"{theirs}.res_layer.5"
    for part, layer, *sizes in (("squeeze", "fc1", few, width), ("excite", "fc2", width, few)):
        weight = take(state, f"{squeeze}.{layer}.weight", *sizes, 1, 1)
        yield f"{ours}.weigh.{part}.weight", weight.flatten(1)


def ir_unit(state: State, theirs: str, ours: str, before: int, width: int) -> Pairs:
    """A block of ArcFace without what weighs its channels."""
    scale, shift = norm(state, f"{theirs}.res_layer.0", before)
    yield f"{ours}.norm.scale", scale.float()
    yield f"{ours}.norm.shift", shift.float()
    first = take(state, f"{theirs}.res_layer.1.weight", width, before, 3, 3)
    yield f"{ours}.first.weight", first
    yield f"{ours}.slope.weight", take(state, f"{theirs}.res_layer.2.weight", width)
    conv, after = f"{theirs}.res_layer.3", f"{theirs}.res_layer.4"
    yield from conv_norm(state, conv, after, f"{ours}.second", width, width, 3, 3)
    if before != width:
        bypass = f"{theirs}.shortcut_layer"
        shortcut = (f"{bypass}.0", f"{bypass}.1", f"{ours}.bypass")
        yield from conv_norm(state, *shortcut, width, before, 1, 1)


def _resnet_unit(state: State, theirs: str, ours: str, before: int, width: int) -> Pairs:
    for part, number, inputs in (("first", 1, before), ("second", 2, width)):
        conv, after = f"{theirs}.conv{number}", f"{theirs}.bn{number}"
        yield from conv_norm(state, conv, after, f"{ours}.{part}", width, inputs, 3, 3)
    if before != width:
        bypass = f"{theirs}.downsample"
        shortcut = (f"{bypass}.0", f"{bypass}.1", f"{ours}.bypass")
        yield from conv_norm(state, *shortcut, width, before, 1, 1)


def _heads(state: State, config: PSPConfig) -> Pairs:
    width, w_dim = config.widths[-1], config.w_dim
    if config.head == "w":
        yield from equal_linear(state, "linear", "head.fc", w_dim, width)
    elif config.head == "w+":
        yield from _flat(state, config)
    else:
        for i in range(config.layers):
            yield from _style(state, config, i)
    if config.head == "pyramid":
        for i in (0, 1):
            theirs, inputs = f"latlayer{i + 1}", config.widths[2 - i]
            yield from plain(state, theirs, f"head.lateral.{i}", w_dim, inputs, 1, 1)


def _style(state: State, config: PSPConfig, row: int) -> Pairs:
    side, w_dim = config.side(row), config.w_dim
    for i in range(int(math.log2(side))):
        theirs, ours = f"styles.{row}.convs.{2 * i}", f"head.rows.{row}.convs.{i}"
        yield from plain(state, theirs, ours, w_dim, w_dim, 3, 3)
    yield from equal_linear(state, f"styles.{row}.linear", f"head.rows.{row}.fc", w_dim, w_dim)


def _flat(state: State, config: PSPConfig) -> Pairs:
    """A norm of each channel passes through the pooling and folds into what flattens the map."""
    width, w_dim, theirs = config.widths[-1], config.w_dim, "output_layer_2"
    scale, shift = norm(state, f"{theirs}.0", width)
    weight = take(state, f"{theirs}.3.weight", w_dim, width * POOLED**2).double()
    each = weight.unflatten(1, (width, -1))
    yield "head.squeeze.weight", (each * scale[:, None]).flatten(1).float()
    bias = take(state, f"{theirs}.3.bias", w_dim) + each.sum(dim=2) @ shift
    yield "head.squeeze.bias", bias.float()
    rows = _rows(state, "w+", w_dim) or 0
    for name, tensor in equal_linear(state, "linear", "head.fc", rows * w_dim, w_dim):
        yield name, tensor[: config.layers * w_dim]


def conv_norm(state: State, conv: str, after: str, ours: str, *wanted: int) -> Pairs:
    """A convolution without bias and the norm after it, folded into one with."""
    scale, shift = norm(state, after, wanted[0])
    weight = take(state, f"{conv}.weight", *wanted)
    yield f"{ours}.weight", (weight * scale[:, None, None, None]).float()
    yield f"{ours}.bias", shift.float()


def plain(state: State, theirs: str, ours: str, *wanted: int) -> Pairs:
    """A layer as it is, with its bias."""
    yield f"{ours}.weight", take(state, f"{theirs}.weight", *wanted)
    yield f"{ours}.bias", take(state, f"{theirs}.bias", wanted[0])


def equal_linear(state: State, theirs: str, ours: str, outputs: int, inputs: int) -> Pairs:
    """A fully connected layer scaled as it runs by 1 / sqrt(inputs): folded."""
    weight = take(state, f"{theirs}.weight", outputs, inputs)
    yield f"{ours}.weight", weight / math.sqrt(inputs)
    yield f"{ours}.bias", take(state, f"{theirs}.bias", outputs)
