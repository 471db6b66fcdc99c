"""Published inverters written down once more from what their papers and state dicts say.

Plain functions over a state dict under its published names, that share nothing with this program:
what its readers make of the same random weights must come to the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.references.encoder_weights import encoder_state

State = Mapping[str, Tensor]
Shapes = dict[str, list[int]]
TAPS = torch.tensor([1.0, 3, 3, 1])
KERNEL = torch.outer(TAPS, TAPS) / 64


# ---- names and shapes


def norm_shapes(name: str, width: int) -> Iterator[tuple[str, list[int]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", [width]
    yield f"{name}.num_batches_tracked", []


def unit_shapes(
    name: str, before: int, width: int, squeeze: bool = True
) -> Iterator[tuple[str, list[int]]]:
    """An IR block, with squeeze-and-excitation or without."""
    inner = f"{name}.res_layer"
    yield from norm_shapes(f"{inner}.0", before)
    yield f"{inner}.1.weight", [width, before, 3, 3]
    yield f"{inner}.2.weight", [width]
    yield f"{inner}.3.weight", [width, width, 3, 3]
    yield from norm_shapes(f"{inner}.4", width)
    if squeeze:
        few = max(1, width // 16)
        yield f"{inner}.5.fc1.weight", [few, width, 1, 1]
        yield f"{inner}.5.fc2.weight", [width, few, 1, 1]
    if before != width:
        yield f"{name}.shortcut_layer.0.weight", [width, before, 1, 1]
        yield from norm_shapes(f"{name}.shortcut_layer.1", width)


def stem_shapes(name: str, channels: int, width: int) -> Iterator[tuple[str, list[int]]]:
    yield f"{name}.0.weight", [width, channels, 3, 3]
    yield from norm_shapes(f"{name}.1", width)
    yield f"{name}.2.weight", [width]


def filled(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Random weights under which networks behave, whatever their names begin with."""
    inside = {f"encoder.{name}": shape for name, shape in shapes.items()}
    matrices = [name for name, shape in inside.items() if len(shape) == 2]
    state = encoder_state(inside, seed, matrices)
    return {name.removeprefix("encoder."): tensor for name, tensor in state.items()}


# ---- layers


def norm(x: Tensor, state: State, name: str) -> Tensor:
    weight, bias, mean, var = (
        state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    shape = (1, -1, 1, 1)
    scaled = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + 1e-5)
    return scaled * weight.view(shape) + bias.view(shape)


def conv(x: Tensor, state: State, name: str, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    bias = state.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2)


def unit(x: Tensor, state: State, name: str, stride: int) -> Tensor:
    inner = f"{name}.res_layer"
    y = F.prelu(conv(norm(x, state, f"{inner}.0"), state, f"{inner}.1"), state[f"{inner}.2.weight"])
    y = norm(conv(y, state, f"{inner}.3", stride), state, f"{inner}.4")
    if f"{inner}.5.fc1.weight" in state:
        weights = conv(y.mean((2, 3), keepdim=True), state, f"{inner}.5.fc1").relu()
        y = y * torch.sigmoid(conv(weights, state, f"{inner}.5.fc2"))
    if f"{name}.shortcut_layer.0.weight" in state:
        away = conv(x, state, f"{name}.shortcut_layer.0", stride)
        return y + norm(away, state, f"{name}.shortcut_layer.1")
    return y + x[:, :, ::stride, ::stride]


def stem(x: Tensor, state: State, name: str) -> Tensor:
    return F.prelu(norm(conv(x, state, f"{name}.0"), state, f"{name}.1"), state[f"{name}.2.weight"])


# ---- the generator of rosinality's code


def dense(x: Tensor, state: State, name: str) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.linear(x, weight / math.sqrt(weight.shape[1]), state[f"{name}.bias"])


def modulated(
    x: Tensor, state: State, name: str, w: Tensor, *, up: bool = False, delta: Tensor | None = None
) -> Tensor:
    """One sample at a time; `delta` [B, O, I, k, k] is a share that is added to the weight."""
    weight = state[f"{name}.weight"][0]
    styles = dense(w, state, f"{name}.modulation")
    made = []
    for k in range(len(x)):
        own = weight if delta is None else weight * (1 + delta[k])
        own = own * styles[k][None, :, None, None] / math.sqrt(weight[0].numel())
        if weight.shape[0] != 3:
            own = own / torch.sqrt(own.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        one = x[k : k + 1]
        if up:
            one = F.conv_transpose2d(one, own.transpose(0, 1), stride=2)
            one = fir(F.pad(one, (1, 1, 1, 1)), 4 * KERNEL)
        else:
            one = F.conv2d(one, own, padding=own.shape[-1] // 2)
        made.append(one)
    return torch.cat(made)


def fir(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])


def upsampled(x: Tensor) -> Tensor:
    wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    return fir(F.pad(wide, (2, 1, 2, 1)), 4 * KERNEL)


def draw(
    w: Tensor,
    state: State,
    deltas: Sequence[Tensor | None] | None = None,
    fused: tuple[Tensor, Tensor] | None = None,
    seen: dict[int, Tensor] | None = None,
    entering: tuple[int, Tensor] | None = None,
) -> Tensor:
    """[B, L, D] -> image.

    Args:
        deltas: of each convolution and ToRGB in the order they run (HyperStyle).
        fused: scale and shift of the features of their size, before the second convolution (HFGI).
        seen: filled with the output of each convolution that ends a block, counted from 1.
        entering: the number of one of them, and what goes on in its place (StyleFeatureEditor).
    """
    count = sum(name.startswith("to_rgbs.") and name.endswith(".bias") for name in state)
    count = len({name.split(".")[1] for name in state if name.startswith("to_rgbs.")}) or count
    left = iter(deltas) if deltas is not None else iter([None] * (3 * count + 2))

    def styled(x: Tensor, name: str, row: int, *, up: bool = False) -> Tensor:
        x = modulated(x, state, f"{name}.conv", w[:, row], up=up, delta=next(left))
        x = x + state[f"{name}.noise.weight"] * state[f"noises.noise_{row}"]
        bias = state[f"{name}.activate.bias"].view(1, -1, 1, 1)
        return F.leaky_relu(x + bias, 0.2) * math.sqrt(2)

    def coloured(x: Tensor, name: str, row: int) -> Tensor:
        made = modulated(x, state, f"{name}.conv", w[:, row], delta=next(left))
        return made + state[f"{name}.bias"]

    x = styled(state["input.input"].expand(len(w), -1, -1, -1), "conv1", 0)
    image = coloured(x, "to_rgb1", 1)
    for block in range(count):
        x = styled(x, f"convs.{2 * block}", 2 * block + 1, up=True)
        if fused is not None and x.shape[-1] == fused[0].shape[-1]:
            x = x * (1 + fused[0]) + fused[1]
        x = styled(x, f"convs.{2 * block + 1}", 2 * block + 2)
        image = upsampled(image) + coloured(x, f"to_rgbs.{block}", 2 * block + 3)
        if seen is not None:
            seen[2 * block + 3] = x
        if entering is not None and entering[0] == 2 * block + 3:
            x = entering[1]
    return image


def decoder_shapes(side: int, width: int, w_dim: int) -> Shapes:
    """Of a generator of that side, as wide at each resolution."""
    steps = int(math.log2(side)) - 2
    made: Shapes = {"input.input": [1, width, 4, 4], "style.1.weight": [w_dim, w_dim]}
    made["style.1.bias"] = [w_dim]
    for row, name in enumerate(["conv1", *(f"convs.{k}" for k in range(2 * steps))]):
        res = 4 << (row + 1) // 2
        made |= {f"{name}.conv.weight": [1, width, width, 3, 3], f"{name}.noise.weight": [1]}
        made |= {f"{name}.activate.bias": [width], f"noises.noise_{row}": [1, 1, res, res]}
    for name in ["to_rgb1", *(f"to_rgbs.{k}" for k in range(steps))]:
        made |= {f"{name}.conv.weight": [1, 3, width, 1, 1], f"{name}.bias": [1, 3, 1, 1]}
    for name in [name for name in made if name.endswith("conv.weight")]:
        modulation = name.replace("weight", "modulation")
        made |= {f"{modulation}.weight": [width, w_dim], f"{modulation}.bias": [width]}
    return made


def below(state: State, prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


# ---- E2Style

E2STYLE_UNITS, E2STYLE_WIDTHS, E2STYLE_ROWS = (2, 1, 1, 1), (16, 32, 48, 64), (5, 3, 2)


def e2style_shapes(channels: int, w_dim: int) -> Shapes:
    """Of one stage; there is a fourth scale that nothing reads."""
    made = [*stem_shapes("input_layer", channels, E2STYLE_WIDTHS[0])]
    before, number = E2STYLE_WIDTHS[0], 0
    for width, units in zip(E2STYLE_WIDTHS, E2STYLE_UNITS, strict=True):
        for _ in range(units):
            made += unit_shapes(f"body.{number}", before, width)
            before, number = width, number + 1
    heads = zip((3, 4, 5), E2STYLE_WIDTHS[2::-1], E2STYLE_ROWS, strict=True)
    for place, width, rows in heads:
        made += norm_shapes(f"output_layer_{place}.0", width)
        made.append((f"output_layer_{place}.3.weight", [rows * w_dim, width * 49]))
        made.append((f"output_layer_{place}.3.bias", [rows * w_dim]))
    return dict(made)


def e2style_rows(x: Tensor, state: State, w_dim: int) -> Tensor:
    x, found, number = stem(x, state, "input_layer"), [], 0
    for place, units in zip((5, 4, 3), E2STYLE_UNITS[:3], strict=True):
        for k in range(units):
            x, number = unit(x, state, f"body.{number}", 1 if k else 2), number + 1
        head = f"output_layer_{place}"
        pooled = F.adaptive_avg_pool2d(norm(x, state, f"{head}.0"), (7, 7)).flatten(1)
        made = F.linear(pooled, state[f"{head}.3.weight"], state[f"{head}.3.bias"])
        found.insert(0, made.reshape(len(x), -1, w_dim))
    return torch.cat(found, dim=1)


def e2style(images: Tensor, stages: Sequence[State], decoder: State, average: Tensor) -> Tensor:
    """w+ after all stages, of images at 256 px."""
    w_dim = average.shape[-1]
    w = average + e2style_rows(images, stages[0], w_dim)
    for stage in stages[1:]:
        seen = F.adaptive_avg_pool2d(draw(w, decoder), (256, 256))
        w = w + e2style_rows(torch.cat([images, seen], 1), stage, w_dim)
    return w


def noise(seed: int, *shape: int) -> Tensor:
    """Numbers that do not depend on PyTorch's version."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


# ---- HFGI

HFGI_READS, HFGI_ALIGNS = (8, 12, 16), (8, 10, 12, 16)
HFGI_UP = ((16 + 12, (16, 10, 10)), (10 + 10, (10, 8, 8)), (8 + 8, (8, 3, 3)))


def hfgi_shapes(channels: int, hidden: int) -> tuple[Shapes, Shapes]:
    """Of the network that reads the details, and of the one that aligns them."""
    made = []
    for inputs, widths in ((3, HFGI_READS), (6, HFGI_ALIGNS)):
        shapes = [*stem_shapes("conv_layer1", inputs, widths[0])]
        for scale, (before, width) in enumerate(pairwise(widths), 2):
            for k in range(3):
                at = f"conv_layer{scale}.{k}"
                shapes += unit_shapes(at, width if k else before, width, squeeze=False)
        made.append(dict(shapes))
    for name in ("condition_scale3", "condition_shift3"):
        for place, sizes in (("0", (hidden, HFGI_READS[-1])), ("2", (channels, hidden))):
            made[0][f"{name}.{place}.weight"] = [*sizes, 3, 3]
            made[0][f"{name}.{place}.bias"] = [sizes[0]]
    for scale, (before, widths) in enumerate(HFGI_UP, 1):
        for k, width in enumerate(widths):
            at = f"dconv_layer{scale}.{k}"
            made[1] |= dict(unit_shapes(at, widths[k - 1] if k else before, width, squeeze=False))
    return made[0], made[1]


def units(x: Tensor, state: State, name: str, stride: int) -> Tensor:
    for k in range(3):
        x = unit(x, state, f"{name}.{k}", 1 if k else stride)
    return x


def resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear")


def hfgi(images: Tensor, w: Tensor, reader: State, aligner: State, decoder: State) -> Tensor:
    """The picture, of images of the encoder's size and the w+ that e4e has found.

    The published size is 256, and what is fused has a quarter of it.
    """
    size = images.shape[-1]
    drawn = resized(draw(w, decoder).clamp(-1, 1), size)
    maps = [stem(torch.cat([images - drawn, drawn], 1), aligner, "conv_layer1")]
    for scale in (2, 3, 4):
        maps.append(units(maps[-1], aligner, f"conv_layer{scale}", 2))
    x = maps[3]
    for scale, side in ((1, size // 4), (2, size // 2), (3, size)):
        joined = torch.cat([resized(x, side), maps[3 - scale]], 1)
        x = units(joined, aligner, f"dconv_layer{scale}", 1)
    x = stem(x, reader, "conv_layer1")
    x = units(units(x, reader, "conv_layer2", 2), reader, "conv_layer3", 2)
    fused = []
    for name in ("condition_scale3", "condition_shift3"):
        y = F.leaky_relu(equal_conv(x, reader, f"{name}.0"), 0.2) * math.sqrt(2)
        fused.append(equal_conv(y, reader, f"{name}.2"))
    return draw(w, decoder, fused=(fused[0], fused[1]))


def equal_conv(x: Tensor, state: State, name: str) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight / math.sqrt(weight[0].numel()), state[f"{name}.bias"], padding=1)


# ---- HyperStyle

HYPER_WIDTHS, HYPER_UNITS, HYPER_CODE, HYPER_INNER = (12, 16, 24, 32), (1, 1, 1, 1), 12, 8


def hyper_targets(decoder: State) -> list[tuple[str, int, int, int]]:
    """Name, outputs, inputs and kernel of each weight, in the order they run."""
    count = len({name.split(".")[1] for name in decoder if name.startswith("to_rgbs.")})
    names = ["conv1", "to_rgb1"]
    for k in range(count):
        names += [f"convs.{2 * k}", f"convs.{2 * k + 1}", f"to_rgbs.{k}"]
    shapes = [decoder[f"{name}.conv.weight"].shape for name in names]
    return [(name, s[1], s[2], s[3]) for name, s in zip(names, shapes, strict=True)]


def hyper_shapes(decoder: State, separable: bool) -> Shapes:
    """The first convolutions that are 16 wide share a network; the eighth is not changed."""
    made = {"conv1.weight": [HYPER_WIDTHS[0], 6, 7, 7], "relu.weight": [HYPER_WIDTHS[0]]}
    made |= dict(norm_shapes("bn1", HYPER_WIDTHS[0]))
    before = HYPER_WIDTHS[0]
    for k, width in enumerate(HYPER_WIDTHS):
        for number, inputs in ((1, before), (2, width)):
            made[f"body.{k}.conv{number}.weight"] = [width, inputs, 3, 3]
            made |= dict(norm_shapes(f"body.{k}.bn{number}", width))
        if before != width:
            made[f"body.{k}.downsample.0.weight"] = [width, before, 1, 1]
            made |= dict(norm_shapes(f"body.{k}.downsample.1", width))
        before = width
    code = HYPER_CODE
    for number, size in ((1, 16 * 9), (2, 16 * code)):
        made[f"shared_weight_hypernet.w{number}"] = [code, size]
        made[f"shared_weight_hypernet.b{number}"] = [size]
    for number, (_, outputs, inputs, kernel) in enumerate(hyper_targets(decoder)):
        if number != 8:
            made |= _block_shapes(number, outputs, inputs, kernel, separable)
    return made


def _block_shapes(number: int, outputs: int, inputs: int, kernel: int, separable: bool) -> Shapes:
    name, code, shared = f"refinement_blocks.{number}", HYPER_CODE, number in (0, 2, 3)
    depth = 5 if shared else 4 if kernel == 1 or separable else 3
    sizes = [HYPER_WIDTHS[-1], *[HYPER_INNER] * (depth - 1), code]
    made: Shapes = {}
    for k in range(depth):
        made[f"{name}.convs.{2 * k}.weight"] = [sizes[k + 1], sizes[k], 3, 3]
        made[f"{name}.convs.{2 * k}.bias"] = [sizes[k + 1]]
    dense_shapes: dict[str, list[int]] = {}
    if shared:
        dense_shapes["linear"] = [code, code]
    elif kernel == 1 or not separable:
        dense_shapes[f"output.{int(kernel == 3)}"] = [inputs * outputs, code, 1, 1]
    else:
        for part, width in (("in", inputs), ("out", outputs)):
            dense_shapes[f"output.0.make_kernel_{part}"] = [9 * width, code]
            dense_shapes[f"output.0.kernel_linear_{part}"] = [width, width]
    for part, sizes in dense_shapes.items():
        made |= {f"{name}.{part}.weight": sizes, f"{name}.{part}.bias": [sizes[0]]}
    return made


def hyper_deltas(x: Tensor, state: State, decoder: State, separable: bool) -> list[Tensor | None]:
    weight = F.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    x = F.prelu(norm(weight, state, "bn1"), state["relu.weight"])
    for k in range(len(HYPER_WIDTHS)):
        name, stride = f"body.{k}", 2 if k else 1
        y = norm(conv(x, state, f"{name}.conv1", stride), state, f"{name}.bn1").relu()
        y = norm(conv(y, state, f"{name}.conv2"), state, f"{name}.bn2")
        if f"{name}.downsample.0.weight" in state:
            x = norm(conv(x, state, f"{name}.downsample.0", stride), state, f"{name}.downsample.1")
        else:
            x = x[:, :, ::stride, ::stride]
        x = (x + y).relu()
    found: list[Tensor | None] = []
    for number, (_, outputs, inputs, kernel) in enumerate(hyper_targets(decoder)):
        name, shared = f"refinement_blocks.{number}", number in (0, 2, 3)
        if f"{name}.convs.0.weight" not in state:
            found.append(None)
            continue
        y, k = x, 0
        while f"{name}.convs.{2 * k}.weight" in state:
            stride = 1 if shared and k == 0 else 2
            y = F.leaky_relu(conv(y, state, f"{name}.convs.{2 * k}", stride), 0.01)
            k += 1
        size = (len(x), outputs, inputs, kernel, kernel)
        if shared:
            z = dense(y.flatten(1), state, f"{name}.linear")
            inner = z @ state["shared_weight_hypernet.w2"] + state["shared_weight_hypernet.b2"]
            rows = inner.reshape(len(x), inputs, HYPER_CODE)
            made = rows @ state["shared_weight_hypernet.w1"] + state["shared_weight_hypernet.b1"]
            found.append(made.reshape(size))
        elif kernel == 1:
            found.append(conv(y, state, f"{name}.output.0").reshape(size))
        elif not separable:
            one = conv(y.mean((2, 3), keepdim=True), state, f"{name}.output.1")
            found.append(one.reshape(*size[:3], 1, 1).expand(size))
        else:
            found.append(_separable(y.flatten(1), state, f"{name}.output.0", size))
    return found


def _separable(code: Tensor, state: State, name: str, size: tuple[int, ...]) -> Tensor:
    """kernel[o, i, y, x] = a product of two, then a matrix over i and one over o."""
    batch, outputs, inputs, kernel, _ = size

    def affine(x: Tensor, part: str) -> Tensor:
        return F.linear(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])

    down = affine(code, "make_kernel_out").reshape(batch, kernel, kernel, outputs)
    across = affine(code, "make_kernel_in").reshape(batch, kernel, kernel, inputs)
    product = torch.einsum("byxo,byxi->byxoi", down, across)
    mixed = affine(product, "kernel_linear_in").transpose(3, 4)
    return affine(mixed, "kernel_linear_out").permute(0, 4, 3, 1, 2)


def hyperstyle(
    images: Tensor, w: Tensor, state: State, decoder: State, separable: bool, times: int
) -> Tensor:
    """The picture, of images at 256 px and the w that the encoder has found."""
    seen = F.adaptive_avg_pool2d(draw(w, decoder), (256, 256))
    total: list[Tensor | None] = []
    for _ in range(times):
        step = hyper_deltas(torch.cat([images, seen], 1), state, decoder, separable)
        if total:
            step = [
                None if a is None or b is None else a + b for a, b in zip(total, step, strict=True)
            ]
        total = step
        drawn = draw(w, decoder, deltas=total)
        seen = F.adaptive_avg_pool2d(drawn, (256, 256))
    return drawn


# ---- StyleRes


def as_nvlabs(decoder: State, average: Tensor) -> dict[str, Tensor]:
    """The same generator as NVlabs' PyTorch code names and scales its weights."""
    count = len({name.split(".")[1] for name in decoder if name.startswith("to_rgbs.")})
    made = {"synthesis.b4.const": decoder["input.input"][0], "mapping.w_avg": average[0]}
    depth = sum(n.startswith("style.") and n.endswith("weight") for n in decoder)
    for k in range(depth):
        for part in ("weight", "bias"):
            made[f"mapping.fc{k}.{part}"] = decoder[f"style.{k + 1}.{part}"]

    def styled(theirs: str, ours: str, row: int) -> None:
        weight = decoder[f"{theirs}.conv.weight"][0]
        made[f"{ours}.weight"] = weight / math.sqrt(weight[0].numel())
        made[f"{ours}.bias"] = decoder[f"{theirs}.activate.bias"]
        made[f"{ours}.noise_const"] = decoder[f"noises.noise_{row}"][0, 0]
        made[f"{ours}.noise_strength"] = decoder[f"{theirs}.noise.weight"][0]

    def coloured(theirs: str, ours: str) -> None:
        made[f"{ours}.weight"] = decoder[f"{theirs}.conv.weight"][0]
        made[f"{ours}.bias"] = decoder[f"{theirs}.bias"].flatten()

    layers = [("conv1", "b4.conv1", "to_rgb1", "b4.torgb")]
    layers += [
        (f"convs.{2 * k + 1}", f"b{8 << k}.conv1", f"to_rgbs.{k}", f"b{8 << k}.torgb")
        for k in range(count)
    ]
    for block, (conv_name, own, rgb, own_rgb) in enumerate(layers):
        styled(conv_name, f"synthesis.{own}", 2 * block)
        coloured(rgb, f"synthesis.{own_rgb}")
        pairs = [(conv_name, own), (rgb, own_rgb)]
        if block:
            first = (f"convs.{2 * block - 2}", f"b{4 << block}.conv0")
            styled(first[0], f"synthesis.{first[1]}", 2 * block - 1)
            pairs.append(first)
        for theirs, ours in pairs:
            for part in ("weight", "bias"):
                name = f"synthesis.{ours}.affine.{part}"
                made[name] = decoder[f"{theirs}.conv.modulation.{part}"]
    return made


def styleres_shapes(inputs: int, channels: int, hidden: int, narrow: int) -> Shapes:
    made: Shapes = {}

    def layer(name: str, *sizes: int) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = [*sizes], [sizes[0]]

    def block(name: str, before: int, width: int, stride: int = 1) -> None:
        layer(f"{name}.res_layer.0", width, before, 3, 3)
        layer(f"{name}.res_layer.2", width, width, 3, 3)
        if before != width or stride != 1:
            made[f"{name}.shortcut_layer.0.weight"] = [width, before, 1, 1]

    layer("alignment.first_layer", hidden, inputs, 1, 1)
    layer("alignment.out_layer", channels, hidden, 1, 1)
    layer("extraction.first_layer", hidden, channels, 1, 1)
    block("alignment.conv1.0", hidden, hidden)
    for name in ("conv2", "conv3"):
        block(f"alignment.{name}.0", hidden, hidden, 2)
        block(f"alignment.{name}.1", hidden, hidden)
    for name in ("dconv1", "dconv2", "dconv3"):  # the third is never run
        block(f"alignment.{name}.0", hidden, hidden)
        block(f"alignment.{name}.1", hidden, hidden)
    for k, width in enumerate((hidden, channels, channels)):
        block(f"extraction.convs.{k}", channels if k == 2 else hidden, width)
    for name in ("down1", "down2"):
        layer(f"gates.{name}", narrow, channels, 3, 3)
    for name, last in (("convs", channels), ("convs2", 1)):
        for k, width in enumerate((2 * narrow, channels, last)):
            block(f"gates.{name}.{k}", channels if k == 2 else 2 * narrow, width)
    return made


def residual(x: Tensor, state: State, name: str, stride: int = 1) -> Tensor:
    y = F.leaky_relu(conv(x, state, f"{name}.res_layer.0"), 0.2)
    y = conv(y, state, f"{name}.res_layer.2", stride)
    if f"{name}.shortcut_layer.0.weight" in state:
        x = conv(x, state, f"{name}.shortcut_layer.0", stride)
    return x + y


def styleres(seen: Tensor, own: Tensor, state: State) -> Tensor:
    """The changed features, of the encoder's map and the generator's own features."""

    def larger(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    x = conv(torch.cat([seen, own], 1), state, "alignment.first_layer")
    f1 = residual(x, state, "alignment.conv1.0")
    f2 = residual(residual(f1, state, "alignment.conv2.0", 2), state, "alignment.conv2.1")
    f3 = residual(residual(f2, state, "alignment.conv3.0", 2), state, "alignment.conv3.1")
    x = larger(f3) + f2
    x = residual(residual(x, state, "alignment.dconv1.0"), state, "alignment.dconv1.1")
    x = larger(x) + f1
    x = residual(residual(x, state, "alignment.dconv2.0"), state, "alignment.dconv2.1")
    x = conv(conv(x, state, "alignment.out_layer"), state, "extraction.first_layer")
    for k in range(3):
        x = residual(x, state, f"extraction.convs.{k}")
    both = torch.cat([conv(own, state, "gates.down1"), conv(x, state, "gates.down2")], 1)
    change = gate = both
    for k in range(3):
        change = residual(change, state, f"gates.convs.{k}")
        gate = residual(gate, state, f"gates.convs2.{k}")
    gate = torch.sigmoid(gate)
    return own * (1 - gate) + (own + change) * gate


def trunk(x: Tensor, state: State, units: Sequence[int]) -> Iterator[Tensor]:
    """The output of each stage of an encoder of the pSp family."""
    x, number = stem(x, state, "input_layer"), 0
    for count in units:
        for k in range(count):
            x, number = unit(x, state, f"body.{number}", 1 if k else 2), number + 1
        yield x


# ---- In-Domain Inversion

IDINVERT_WIDTHS = (6, 8, 12, 12)


def idinvert_shapes(w_dim: int) -> Shapes:
    """Of the encoder for 32 px."""
    made: Shapes = {"block0.conv.weight": [IDINVERT_WIDTHS[0], 3, 3, 3]}
    made |= dict(norm_shapes("block0.bn.bn", IDINVERT_WIDTHS[0]))
    for k, (before, width) in enumerate(pairwise(IDINVERT_WIDTHS), 1):
        hidden = min(before, width)
        if before != width:
            made[f"block{k}.conv.weight"] = [width, before, 1, 1]
            made |= dict(norm_shapes(f"block{k}.bn.bn", width))
        for number, inputs, outputs in ((1, before, hidden), (2, hidden, width)):
            made[f"block{k}.conv{number}.weight"] = [outputs, inputs, 3, 3]
            made[f"block{k}.wscale{number}.bias"] = [outputs]
            made |= dict(norm_shapes(f"block{k}.bn{number}.bn", outputs))
    last = len(IDINVERT_WIDTHS)
    made[f"block{last}.fc.weight"] = [2 * last * w_dim, 16 * IDINVERT_WIDTHS[-1]]
    return made | dict(norm_shapes(f"block{last}.bn.bn", 2 * last * w_dim))


def idinvert(x: Tensor, state: State) -> Tensor:
    """[B, 3, 32, 32] -> w+ [B, L, D]."""
    x = F.leaky_relu(norm(conv(x, state, "block0.conv"), state, "block0.bn.bn"), 0.2)
    last = len(IDINVERT_WIDTHS)
    for k in range(1, last):
        x = y = F.avg_pool2d(x, 2)
        if f"block{k}.conv.weight" in state:
            y = norm(conv(x, state, f"block{k}.conv"), state, f"block{k}.bn.bn")
            y = F.leaky_relu(y, 0.2)
        for number in (1, 2):
            bias = state[f"block{k}.wscale{number}.bias"].view(1, -1, 1, 1)
            x = conv(x, state, f"block{k}.conv{number}") + bias
            x = F.leaky_relu(norm(x, state, f"block{k}.bn{number}.bn"), 0.2)
        x = x + y
    weight = state[f"block{last}.fc.weight"]
    x = F.linear(x.flatten(1), weight) / math.sqrt(weight.shape[1])
    return norm(x[:, :, None, None], state, f"block{last}.bn.bn").reshape(len(x), 2 * last, -1)


# ---- StyleFeatureEditor

SFE_WIDTHS, SFE_UNITS, SFE_DEPTH = (6, 8, 10, 12), (1, 2, 2, 1), 2


def sfe_shapes(rows: int, channels: int, w_dim: int) -> Shapes:
    """Of its inverter."""
    first = SFE_WIDTHS[0]
    made: Shapes = {f"fs_backbone.{n}": s for n, s in stem_shapes("conv", 3, first)}
    before = first
    for k, (width, count) in enumerate(zip(SFE_WIDTHS, SFE_UNITS, strict=True), 1):
        for i in range(count):
            name = f"fs_backbone.block_{k}.{i}"
            made |= _sfe_branch(name, SFE_NAMED, before, width)
            if i == 0:  # also where the width stays: it shrinks, or did before its stride was cut
                made[f"{name}.downsample.0.weight"] = [width, before, 1, 1]
                made |= dict(norm_shapes(f"{name}.downsample.1", width))
            before = width
    made |= _sfe_branch("fs_backbone.content_layer", SFE_COUNTED, SFE_WIDTHS[2], channels)
    for row in range(rows):
        made[f"fs_backbone.styles.{row}.weight"] = [w_dim, 9 * sum(SFE_WIDTHS)]
        made[f"fs_backbone.styles.{row}.bias"] = [w_dim]
    return made | sfe_fuser_shapes("fuser.", channels)


def sfe_fuser_shapes(name: str, channels: int) -> Shapes:
    """Of the network that fuses, and of the editor."""
    made: Shapes = {f"{name}conv.weight": [channels, 2 * channels, 1, 1]}
    made[f"{name}conv.bias"] = [channels]
    for k in range(SFE_DEPTH):
        made |= _sfe_branch(f"{name}body.{k}.body", SFE_COUNTED, channels, channels)
    return made


SFE_NAMED = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")
SFE_COUNTED = ("0", "1", "2", "3", "4", "5")


def _sfe_branch(name: str, parts: Sequence[str], before: int, width: int) -> Shapes:
    entry, first, middle, slope, second, last = (f"{name}.{part}" for part in parts)
    made: Shapes = dict(norm_shapes(entry, before))
    made |= {f"{first}.weight": [width, before, 3, 3], f"{second}.weight": [width, width, 3, 3]}
    made |= {f"{slope}.weight": [width]}
    return made | dict(norm_shapes(middle, width)) | dict(norm_shapes(last, width))


def sfe_branch(x: Tensor, state: State, name: str, parts: Sequence[str], stride: int = 1) -> Tensor:
    entry, first, middle, slope, second, last = (f"{name}.{part}" for part in parts)
    y = norm(conv(norm(x, state, entry), state, first), state, middle)
    y = F.prelu(y, state[f"{slope}.weight"])
    return norm(conv(y, state, second, stride), state, last)


def sfe_fuser(x: Tensor, state: State, name: str) -> Tensor:
    x = conv(x, state, f"{name}conv")
    for k in range(SFE_DEPTH):
        x = x + sfe_branch(x, state, f"{name}body.{k}.body", SFE_COUNTED)
    return x


def style_feature(
    images: Tensor, inverter: State, average: Tensor, decoder: State, editor: State | None
) -> tuple[Tensor, Tensor, Tensor]:
    """w+, F and the picture, of images at 256 px; `editor` None = of the inverter alone."""
    x, maps = stem(images, inverter, "fs_backbone.conv"), []
    for k, (count, shrinks) in enumerate(zip(SFE_UNITS, (2, 2, 1, 2), strict=True), 1):
        for i in range(count):
            name, stride = f"fs_backbone.block_{k}.{i}", 1 if i else shrinks
            y = sfe_branch(x, inverter, name, SFE_NAMED, stride)
            if i == 0:
                x = conv(x, inverter, f"{name}.downsample.0", stride)
                x = norm(x, inverter, f"{name}.downsample.1")
            x = x + y
        maps.append(x)
    joined = torch.cat([F.adaptive_avg_pool2d(one, 3) for one in maps], 1).flatten(1)
    rows = sum(n.startswith("fs_backbone.styles.") and n.endswith("bias") for n in inverter)
    names = [f"fs_backbone.styles.{row}" for row in range(rows)]
    w = torch.stack(
        [F.linear(joined, inverter[f"{n}.weight"], inverter[f"{n}.bias"]) for n in names], 1
    )
    w = average + w
    predicted = sfe_branch(maps[2], inverter, "fs_backbone.content_layer", SFE_COUNTED)
    seen: dict[int, Tensor] = {}
    draw(w, decoder, seen=seen)
    feature = sfe_fuser(torch.cat([predicted, seen[9]], 1), inverter, "fuser.")
    if editor is not None:
        both = torch.cat([feature, torch.zeros_like(feature)], 1)
        feature = sfe_fuser(both, editor, "")
    return w, feature, draw(w, decoder, entering=(9, feature))
