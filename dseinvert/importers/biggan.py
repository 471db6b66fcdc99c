"""BigGAN-deep as huggingface/pytorch-pretrained-BigGAN saves it: pytorch_model.bin, config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.generators.biggan import BigGAN, BigGANConfig
from dseinvert.generators.blank import Blank
from dseinvert.importers.found import Found
from dseinvert.importers.tensors import State, shape, take

WEIGHTS, CONFIG = "pytorch_model.bin", "config.json"
ATTENTION = {
    "query": "snconv1x1_theta",
    "key": "snconv1x1_phi",
    "value": "snconv1x1_g",
    "out": "snconv1x1_o_conv",
}


def recognise(content: Any) -> bool:
    """Whether this is its state dict, alone or with config.json: {file name: content}."""
    if not isinstance(content, Mapping):
        return False
    state = content.get(WEIGHTS, content)
    return isinstance(state, Mapping) and {
        "embeddings.weight",
        "generator.gen_z.weight_orig",
        "generator.bn.running_means",
    } <= set(state)


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator. All sizes follow from the shapes; config.json, where there is one, must agree.

    Raises:
        InputError: a tensor is missing, misshapen or not finite, or config.json says otherwise.
    """
    state = content.get(WEIGHTS, content)
    config = _config(state, content.get(CONFIG))
    with torch.device("meta"), Blank():
        network = BigGAN(config)
    network.load_state_dict(_weights(state, config, network.state_dict()), assign=True)
    notes = ("class labels: the 1000 of ImageNet",) if config.classes == 1000 else ()
    return Found(
        f"BigGAN-deep {config.resolution} of pytorch-pretrained-BigGAN",
        generator=network.eval().requires_grad_(False),
        notes=notes,
    )


def _config(state: State, said: Mapping[str, Any] | None) -> BigGANConfig:
    """The numbers that the shapes imply; eps alone is not among them."""
    class_dim, classes = shape(state, "embeddings.weight", 2)
    _, condition = shape(state, "generator.gen_z.weight_orig", 2)
    rows, last = shape(state, "generator.bn.running_means", 2)
    layers = _layers(state)
    channels = [shape(state, f"{name}.conv_0.weight_orig", 4)[1] for name in layers.values()]
    numbers: dict[str, Any] = {
        "channels": (*channels, last),
        "attention": _attention(state),
        "z_dim": condition - class_dim,
        "class_dim": class_dim,
        "classes": classes,
        "statistics": rows,
        "eps": 1e-4,
    }
    try:
        if said is not None:
            numbers["eps"] = float(said["eps"])
            _agree(numbers, said)
        return BigGANConfig(**numbers)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"a BigGAN whose sizes make no generator: {error}") from error


def _agree(numbers: State, said: Mapping[str, Any]) -> None:
    """ValueError where config.json contradicts the weights."""
    channels, width = numbers["channels"], said["channel_width"]
    layers = [
        [index % 2 == 1, channels[index] // width, channels[index + 1] // width]
        for index in range(len(channels) - 1)
    ]
    found = {
        "layers": layers,
        "attention_layer_position": numbers["attention"],
        "num_classes": numbers["classes"],
        "z_dim": numbers["z_dim"],
        "class_embed_dim": numbers["class_dim"],
        "n_stats": numbers["statistics"],
    }
    for name, value in found.items():
        wanted = [list(layer) for layer in said[name]] if name == "layers" else said[name]
        if wanted != value:
            raise ValueError(f"{CONFIG}: {name} is {wanted}, the weights have {value}")


def _layers(state: State) -> dict[int, str]:
    """The names of the residual blocks by their number; the attention stands among them."""
    count = len({name.split(".")[2] for name in state if name.startswith("generator.layers.")})
    attention = _attention(state)
    indices = [index for index in range(count) if index != attention]
    return {block: f"generator.layers.{index}" for block, index in enumerate(indices)}


def _attention(state: State) -> int:
    for name in state:
        parts = name.split(".")
        if len(parts) > 3 and parts[3] == ATTENTION["query"] and parts[2].isdecimal():
            return int(parts[2])
    raise InputError(f"layer generator.layers.*.{ATTENTION['query']}: expected one, found none")


def _weights(state: State, config: BigGANConfig, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of our network, filled from theirs name by name."""
    weights = {
        "embedding.weight": take(state, "embeddings.weight", *wanted["embedding.weight"].shape),
        **_project(state, config),
        **_final(state, config),
    }
    for block, theirs in _layers(state).items():
        for index in range(4):
            ours = f"blocks.{block}.norms.{index}"
            size = wanted[f"{ours}.statistics.means"].shape
            weights |= _statistics(state, f"{theirs}.bn_{index}", ours, *size)
            for linear in ("scale", "offset"):
                name = f"{ours}.{linear}.weight"
                weights[name] = _folded(state, f"{theirs}.bn_{index}.{linear}", wanted[name])
            conv, name = f"{theirs}.conv_{index}", f"blocks.{block}.convs.{index}"
            weights[f"{name}.weight"] = _folded(state, conv, wanted[f"{name}.weight"])
            weights[f"{name}.bias"] = take(state, f"{conv}.bias", len(wanted[f"{name}.bias"]))
    attention = f"generator.layers.{config.attention}"
    for part, theirs in ATTENTION.items():
        name = f"attention.{part}.weight"
        weights[name] = _folded(state, f"{attention}.{theirs}", wanted[name])
    weights["attention.gamma"] = take(state, f"{attention}.gamma", 1)
    return weights


def _project(state: State, config: BigGANConfig) -> dict[str, Tensor]:
    """Theirs draws [4, 4, C], ours [C, 4, 4]."""
    name, width, inputs = "generator.gen_z", config.channels[0], config.z_dim + config.class_dim
    weight = _folded(state, name, torch.empty(16 * width, inputs, device="meta"))
    bias = take(state, f"{name}.bias", 16 * width)
    return {
        "project.weight": weight.unflatten(0, (16, width)).transpose(0, 1).flatten(0, 1),
        "project.bias": bias.view(16, width).t().flatten(),
    }


def _final(state: State, config: BigGANConfig) -> dict[str, Tensor]:
    """The last norm, and of its convolution the three channels that are shown."""
    width, norm, rgb = config.channels[-1], "generator.bn", "generator.conv_to_rgb"
    kernel = torch.empty(width, width, 3, 3, device="meta")
    return {
        **_statistics(state, norm, "", config.statistics, width),
        "gain": take(state, f"{norm}.weight", width),
        "bias": take(state, f"{norm}.bias", width),
        "to_rgb.weight": _folded(state, rgb, kernel)[:3],
        "to_rgb.bias": take(state, f"{rgb}.bias", width)[:3],
    }


def _statistics(
    state: State, theirs: str, ours: str, rows: int, channels: int
) -> dict[str, Tensor]:
    prefix = f"{ours}.statistics" if ours else "statistics"
    variances = take(state, f"{theirs}.running_vars", rows, channels)
    if (variances < 0).any():
        raise InputError(f"layer {theirs}.running_vars: holds negative variances")
    return {
        f"{prefix}.means": take(state, f"{theirs}.running_means", rows, channels),
        f"{prefix}.variances": variances,
    }


def _folded(state: State, name: str, like: Tensor) -> Tensor:
    """A weight divided by its largest singular value, as spectral norm does when it is used."""
    weight = take(state, f"{name}.weight_orig", *like.shape)
    matrix = weight.flatten(1)
    u = take(state, f"{name}.weight_u", len(matrix))
    if f"{name}.weight_v" in state:
        v = take(state, f"{name}.weight_v", matrix.shape[1])
    else:  # files of the first spectral norm in PyTorch keep u alone
        v = F.normalize(matrix.t() @ u, dim=0)
    sigma = u @ (matrix @ v)
    if not math.isfinite(sigma) or sigma == 0:
        raise InputError(f"layer {name}: its spectral norm is {float(sigma)}")
    return weight / sigma
