"""What the readers get of files of each format: the random weights that the numbers here are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dseinvert.pickled.pickles import Foreign
from tests.references.encoder_weights import encoder_state
from tests.references.progressive import fill, reference, state

Tensors = dict[str, Tensor]
FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def genforce(name: str) -> Tensors:
    """genforce, InterFaceGAN, idinvert: a state dict."""
    arrays = state(reference(name))
    return {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}


def rosinality_state() -> Tensors:
    """The state dict of rosinality's generator."""
    numbers = reference("stylegan2-rosinality")
    tensors = {}
    for name, array in fill(numbers["shapes"], numbers["seed"]).items():
        tensor = torch.from_numpy(array)
        if name.endswith("kernel"):
            tensor = 4 * FIR
        elif name.startswith("style."):
            tensor = tensor * 100
        elif name.endswith("modulation.bias"):
            tensor = tensor + 1
        tensors[name] = tensor
    return tensors


def latent_avg() -> Tensor:
    """The mean of w beside it."""
    numbers = reference("stylegan2-rosinality")
    array = fill({"latent_avg": [numbers["z_dim"]]}, numbers["seed"])["latent_avg"]
    return torch.from_numpy(array)


def rosinality() -> dict[str, Any]:
    """A training checkpoint of rosinality."""
    averaged = rosinality_state()
    return {"g_ema": averaged, "g": {}, "d": {}, "args": None, "latent_avg": latent_avg()}


def stylegan2_ada_state(numbers: Mapping[str, Any]) -> Tensors:
    """The state dict of a StyleGAN2-ADA generator."""
    made = {}
    for name, array in fill(numbers["shapes"], numbers["seed"]).items():
        tensor = torch.as_tensor(array)
        if name.endswith("resample_filter"):
            tensor = FIR
        elif name.startswith("mapping.fc"):
            tensor = tensor * 100
        elif name.endswith("affine.bias"):
            tensor = tensor + 1
        made[name] = tensor
    return made


def stylegan2_ada_network(tensors: Tensors, clamp: float | None, **changed: Any) -> Foreign:
    """What the restricted unpickler makes of a persistent network; `changed` goes to each layer."""

    def described(prefix: str) -> Foreign:
        below = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
        inner = dict.fromkeys(name.split(".")[0] for name in below if "." in name)
        own: dict[str, Any] = {
            "_parameters": {n: t for n, t in below.items() if "." not in n},
            "_buffers": {},
            "_modules": {name: described(f"{prefix}{name}.") for name in inner},
        }
        layer = prefix.split(".")[-2] if prefix else ""
        if layer.startswith("fc"):
            own |= {"bias_gain": 0.01, "activation": "lrelu", **changed}
        elif layer.startswith("conv"):
            own |= {"conv_clamp": clamp, "activation": "lrelu", **changed}
        elif layer in ("affine", "embed"):
            own |= {"activation": "linear"}
        return persistent("Generator", own)

    return described("")


def stylegan2_ada(name: str, **changed: Any) -> dict[str, Any]:
    """A StyleGAN2-ADA pickle."""
    numbers = reference(name)
    network = stylegan2_ada_network(stylegan2_ada_state(numbers), numbers["clamp"], **changed)
    return {"G": None, "D": None, "G_ema": network, "training_set_kwargs": {}}


def stylegan3_state(numbers: Mapping[str, Any]) -> Tensors:
    """The state dict of a StyleGAN3 generator; the recipe is in the file."""
    arrays = fill(numbers["shapes"], numbers["seed"])
    for name, shape in numbers["shapes"].items():
        if name in numbers["filter_of"]:
            taps = numbers["filters"][numbers["filter_of"][name]]
            arrays[name] = np.array(taps, np.float32).reshape(shape)
        elif name.endswith("magnitude_ema"):
            arrays[name] = np.abs(arrays[name]) + np.float32(0.5)
        elif name.endswith("transform"):
            arrays[name] = np.array(numbers["transform"], np.float32)
        elif name.startswith("mapping.fc"):
            arrays[name] = arrays[name] * np.float32(100)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def persistent(name: str, own: dict[str, Any]) -> Foreign:
    """A class saved with its source, which must never run."""
    meta = {
        "type": "class",
        "version": 6,
        "module_src": "raise SystemExit('the source was run')",
        "class_name": name,
        "state": own,
    }
    return Foreign("torch_utils.persistence", "_reconstruct_persistent_obj", (meta,))


def stylegan3_module(name: str, tensors: Mapping[str, Any], kwargs: dict[str, Any]) -> Foreign:
    """One of its modules, with those inside it."""
    own = {part: tensor for part, tensor in tensors.items() if "." not in part}
    children: dict[str, dict[str, Any]] = {}
    for part, tensor in tensors.items():
        child, _, rest = part.partition(".")
        if rest:
            children.setdefault(child, {})[rest] = tensor
    inside = {
        "training": False,
        "_parameters": {},
        "_buffers": own,
        "_modules": {
            child: stylegan3_module(child, inner, kwargs if child == "synthesis" else {})
            for child, inner in children.items()
        },
        "_init_args": (),
        "_init_kwargs": kwargs if name == "synthesis" else {},
    }
    if name.startswith("fc"):
        inside["bias_gain"] = 0.01
    return persistent(name, inside)


def stylegan3(name: str, drop: str = "", **changes: Any) -> dict[str, Any]:
    """A StyleGAN3 pickle; `changes` go to the tensors, or else to the constructor's arguments."""
    numbers = reference(name)
    tensors, kwargs = stylegan3_state(numbers), dict(numbers["kwargs"])
    for key, value in changes.items():
        (tensors if key in tensors else kwargs)[key] = value
    tensors.pop(drop, None)
    networks = {"G": None, "D": None, "training_set_kwargs": {}, "augment_pipe": None}
    return networks | {"G_ema": stylegan3_module("Generator", tensors, kwargs)}


def tensorflow_network(name: str, arrays: Mapping[str, Any], config: dict[str, Any]) -> Foreign:
    """A pickled Network, with the variables of its parts in theirs."""
    parts: dict[str, dict[str, Any]] = {"": {}, "mapping": {}, "synthesis": {}}
    for variable, value in arrays.items():
        part, _, rest = variable.partition("/")
        if part in parts:
            parts[part][rest] = value
        else:
            parts[""][variable] = value

    def network(title: str, part: str, inside: dict[str, Foreign]) -> Foreign:
        described = {
            "version": 3,
            "name": title,
            "static_kwargs": dict(config),
            "build_module_src": "raise SystemExit('the source was run')",
            "build_func_name": "G",
            "variables": list(parts[part].items()),
            "components": inside,
        }
        return Foreign("dnnlib.tflib.network", "Network", state=described)

    inner = {p: network(f"G_{p}", p, {}) for p in ("synthesis", "mapping") if parts[p]}
    return network(name, "", inner)


def tensorflow(name: str, **changes: Any) -> tuple[Foreign, Foreign, Foreign]:
    """(G, D, Gs) as TensorFlow's training saved them; `changes` are arguments they had."""
    numbers = reference(name)
    config = numbers["config"] | changes
    arrays = state(numbers)
    raw = {key: value * 0 for key, value in arrays.items()}
    discriminator = {"4x4/Conv/weight": np.zeros((3, 3, 4, 4)), "FromRGB_lod0/weight": np.zeros(3)}
    return (
        tensorflow_network("G", raw, config),
        tensorflow_network("D", discriminator, config),
        tensorflow_network("Gs", arrays, config),
    )


def biggan(numbers: Mapping[str, Any]) -> Tensors:
    """The state dict of a BigGAN-deep; the recipe is in the file."""
    arrays = fill(numbers["shapes"], numbers["seed"])
    for name in sorted(arrays):
        if name.endswith("running_vars"):
            arrays[name] = np.abs(arrays[name]) + np.float32(0.1)
        if name.endswith("weight_u"):
            original, v = name[:-1] + "orig", name[:-1] + "v"
            arrays[name], arrays[v] = _power_iterations(arrays[original], arrays[name])
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def _power_iterations(weight: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matrix = weight.reshape(len(u), -1)
    for _ in range(5):
        v = matrix.T @ u
        v = v / np.linalg.norm(v)
        u = matrix @ v
        u = u / np.linalg.norm(u)
    return u, v


GAN_ZOO_WIDTHS = (10, 8, 6)


def gan_zoo(wrapped: bool = True, **config: Any) -> dict[str, Any]:
    """A PGAN checkpoint of Facebook's zoo, of 16 px: z of 12 numbers and a label of 3.

    Args:
        wrapped: whether its layers stand in another, as the later files have it.
        config: numbers that its configuration holds instead.
    """
    first, inner = GAN_ZOO_WIDTHS[0], ".module" if wrapped else ""
    shapes: dict[str, list[int]] = {"formatLayer": [16 * first, 15]}
    shapes |= {"groupScale0.0": [first, first, 3, 3], "toRGBLayers.0": [3, first, 1, 1]}
    for k, (before, width) in enumerate(pairwise(GAN_ZOO_WIDTHS)):
        shapes[f"scaleLayers.{k}.0"] = [width, before, 3, 3]
        shapes[f"scaleLayers.{k}.1"] = [width, width, 3, 3]
        shapes[f"toRGBLayers.{k + 1}"] = [3, width, 1, 1]
    named = {f"{name}{inner}.weight": shape for name, shape in shapes.items()}
    named |= {f"{name}{inner}.bias": shape[:1] for name, shape in shapes.items()}
    arrays = fill(named, 120)
    state = {n: torch.from_numpy(np.array(array)) for n, array in arrays.items()}
    numbers = {"alpha": 0, "lossCriterion": "WGANGP", "categoryVectorDim": 3}
    numbers |= {"noiseVectorDim": 12, "attribKeysOrder": {"Main": {"order": 0, "values": [*"abc"]}}}
    settings = Foreign("models.utils.config", "BaseConfig", state=numbers | config)
    lost = {name: tensor * 0 for name, tensor in state.items()}
    return {"config": settings, "netG": lost, "netD": {}, "avgG": state}


def deep_gan_encoder(numbers: Mapping[str, Any], dim: int | None = None) -> Tensors:
    """An encoder of Deep-GAN-Encoders.

    Args:
        dim: of the rows it writes; None = that of the numbers.
    """
    shapes: dict[str, Sequence[int]] = numbers["shapes"]
    if dim is not None:
        shapes = {n: [dim, *s[1:]] if "inver_mod" in n else s for n, s in shapes.items()}
    matrices = ("weight", "weight_orig")
    plain = [n for n, s in shapes.items() if len(s) > 1 and n.rpartition(".")[2] in matrices]
    return encoder_state(shapes, numbers["seed"], plain)


def psp_state(name: str) -> Tensors:
    """The state dict of a pSp, e4e or ReStyle checkpoint."""
    numbers = reference(name)
    plain = ["encoder.output_layer_2.3.weight"]
    return encoder_state(numbers["shapes"], numbers["seed"], plain)


def psp(name: str, tensors: Tensors | None = None, **opts: Any) -> dict[str, Any]:
    """A pSp, e4e or ReStyle checkpoint; `opts` are options it was trained with.

    Args:
        tensors: what psp_state gave; None = ask it.
    """
    numbers = reference(name)
    row = np.random.RandomState(numbers["seed"] + 1).standard_normal((1, 64)) * 0.5
    average = torch.from_numpy(row.astype(np.float32)).repeat(numbers["latent_avg_rows"], 1)
    return {
        "state_dict": dict(tensors or psp_state(name)),
        "opts": numbers["opts"] | opts,
        "latent_avg": average,
    }
