"""NVlabs pickles of the TensorFlow era: PGGAN, StyleGAN and StyleGAN2, as (G, D, Gs).

A network is its name, the arguments it was built with, its variables, its sub-networks, and its
source code, which is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.found import Found
from dseinvert.importers.progressive import Source, pggan, stylegan1, stylegan2
from dseinvert.pickled.pickles import Foreign

LAYERS = {
    "const": "4x4/Const/const",
    "noise": "noise{index}",
    "style.weight": "{scope}/StyleMod/weight",
    "style.bias": "{scope}/StyleMod/bias",
    "strength": "{scope}/Noise/weight",
    "weight": "{scope}/weight",
    "bias": "{scope}/bias",
    "rgb.weight": "ToRGB_lod0/weight",
    "rgb.bias": "ToRGB_lod0/bias",
    "mapping.weight": "Dense{index}/weight",
    "mapping.bias": "Dense{index}/bias",
    "embedding": "LabelConcat/weight",
    "w_avg": "dlatent_avg",
    "lod": "lod",
}
STYLEGAN2 = {
    "bypass": "{square}/Skip/weight",
    "embed.weight": "LabelEmbed/weight",
    "embed.bias": "LabelEmbed/bias",
    "style.weight": "{scope}/mod_weight",
    "style.bias": "{scope}/mod_bias",
    "strength": "{scope}/noise_strength",
    "rgb.weight": "{rgb}/weight",
    "rgb.bias": "{rgb}/bias",
    "rgb.style.weight": "{rgb}/mod_weight",
    "rgb.style.bias": "{rgb}/mod_bias",
}
FIXED: dict[str, tuple[Any, ...]] = {
    "use_wscale": (True,),
    "use_pixelnorm": (True,),
    "use_leakyrelu": (True,),
    "normalize_latents": (True,),
    "mapping_lrmul": (0.01,),
    "mapping_nonlinearity": ("lrelu",),
    "nonlinearity": ("lrelu",),
    "use_styles": (True,),
    "const_input_layer": (True,),
    "use_noise": (True,),
    "use_pixel_norm": (False,),
    "use_instance_norm": (True,),
    "blur_filter": ([1, 2, 1], (1, 2, 1)),
    "resample_kernel": ([1, 3, 3, 1], (1, 3, 3, 1)),
}
"""What the networks may be built with; the values that are known here."""


def recognise(content: Any) -> bool:
    """Whether this is a pickled TensorFlow network, or a tuple with one."""
    return any(True for _ in _networks(content))


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator: of several, Gs, the one averaged over the training.

    Raises:
        InputError: no generator among the networks, built otherwise than in the papers, or a
            variable is missing, misshapen or not finite.
    """
    network = _generator([*_networks(content)])
    arguments = _mapping(network.state.get("static_kwargs"))
    _known(arguments)
    variables = dict(_variables(network))
    if "4x4/Dense/weight" in variables:
        return _pggan(variables, arguments)
    if "4x4/Const/StyleMod/weight" in variables:
        return _stylegan1(variables, arguments)
    return _stylegan2(variables, arguments)


def _networks(content: Any) -> Iterator[Foreign]:
    parts = content.values() if isinstance(content, Mapping) else content
    for part in parts if isinstance(content, tuple | list | Mapping) else (content,):
        if isinstance(part, Foreign) and _is_network(part):
            yield part


def _is_network(part: Foreign) -> bool:
    state = part.state
    known = part.name == "Network" and isinstance(state, Mapping)
    return known and isinstance(state.get("variables"), list)


def _generator(networks: list[Foreign]) -> Foreign:
    able = [network for network in networks if _generates(dict(_variables(network)))]
    if not able:
        names = ", ".join(str(network.state.get("name")) for network in networks)
        raise InputError(f"TensorFlow networks {names}: none is a PGGAN, StyleGAN or StyleGAN2")
    averaged = [network for network in able if network.state.get("name") == "Gs"]
    return (averaged or able)[-1]


def _generates(variables: Mapping[str, Any]) -> bool:
    return any(re.fullmatch(r".*ToRGB(_lod0)?/weight", name) for name in variables)


def _variables(network: Foreign) -> Iterator[tuple[str, Any]]:
    """Its own and those of its mapping and synthesis networks, by their own names."""
    for part in (network, *_networks(_mapping(network.state.get("components")))):
        for pair in part.state["variables"]:
            if not isinstance(pair, tuple | list) or len(pair) != 2 or type(pair[0]) is not str:
                raise InputError(f"TensorFlow network {part.state.get('name')}: damaged variables")
            yield pair[0], pair[1]


def _mapping(value: Any) -> Mapping[str, Any]:
    """A dict, or dnnlib's EasyDict."""
    value = value.entries or value.state if isinstance(value, Foreign) else value
    return value if isinstance(value, Mapping) else {}


def _known(arguments: Mapping[str, Any]) -> None:
    for name, values in FIXED.items():
        value = arguments.get(name, values[0])
        if isinstance(value, np.ndarray) or value not in values:
            raise InputError(f"a network built with {name}={value!r}, which is not known here")


def _pggan(variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> Found:
    fused = "8x8/Conv0_up/weight" in variables
    second = "Conv0_up" if fused else "Conv0"

    def name(part: str, index: int = 0) -> str:
        scopes = ("Dense", "Conv") if index < 2 else (second, "Conv1")
        return _name(part, index, scopes)

    network = pggan(
        Source({n: _turned(n, v, pggan=True) for n, v in variables.items()}, name),
        _classes(arguments),
        fused=fused,
    )
    epsilon = arguments.get("pixelnorm_epsilon", 1e-8)
    notes = () if epsilon == 1e-8 else (f"pixelnorm_epsilon was {epsilon}; here it is 1e-08",)
    return Found("PGGAN pickle of NVIDIA (TensorFlow)", generator=network, notes=notes)


def _stylegan1(variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> Found:
    def name(part: str, index: int = 0) -> str:
        return _name(part, index, ("Const", "Conv") if index < 2 else ("Conv0_up", "Conv1"))

    fused = arguments.get("fused_scale", "auto")
    network = stylegan1(
        Source({n: _turned(n, v) for n, v in variables.items()}, name),
        lambda resolution: resolution >= 128 if fused == "auto" else bool(fused),
    )
    return Found("StyleGAN pickle of NVlabs (TensorFlow)", generator=network)


def _stylegan2(variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> Found:
    revised = "ToRGB_lod0/weight" in variables  # configurations B to D: grown, one image at the end

    def name(part: str, index: int = 0) -> str:
        res, rgb = 2 ** ((index + 5) // 2), 2 ** (index + 2)
        scope = "Conv" if res == 4 else "Conv0_up" if index % 2 else "Conv1"
        return (LAYERS | STYLEGAN2)[part].format(
            index=index,
            square=f"{res}x{res}",
            scope=f"{res}x{res}/{scope}",
            rgb="ToRGB_lod0" if revised else f"{rgb}x{rgb}/ToRGB",
        )

    network = stylegan2(
        Source({n: _turned(n, v) for n, v in variables.items()}, name),
        "orig" if revised else None,
        _clamp(arguments),
    )
    return Found("StyleGAN2 pickle of NVlabs (TensorFlow)", generator=network)


def _clamp(arguments: Mapping[str, Any]) -> float | None:
    clamp = arguments.get("conv_clamp")
    if clamp is not None and (not isinstance(clamp, int | float) or not clamp > 0):
        raise InputError(f"a network built with conv_clamp={clamp!r}")
    return clamp


def _classes(arguments: Mapping[str, Any]) -> int:
    classes = arguments.get("label_size", 0)
    if not isinstance(classes, int) or classes < 0:
        raise InputError(f"a network built with label_size={classes!r}")
    return classes


def _name(part: str, index: int, scopes: tuple[str, str]) -> str:
    res = 2 ** (index // 2 + 2)
    return LAYERS[part].format(index=index, scope=f"{res}x{res}/{scopes[index % 2]}")


def _turned(name: str, value: Any, *, pggan: bool = False) -> Tensor:
    """TensorFlow's [H, W, I, O] and [I, O] to [O, I, H, W] and [O, I]."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "fiu":
        raise InputError(f"layer {name}: expected numbers, found {type(value).__name__}")
    tensor = torch.from_numpy(np.array(value, np.float32))
    if pggan and name == "4x4/Dense/weight" and tensor.ndim == 2 and tensor.shape[1] % 16 == 0:
        # [I, O*16], as the kernel of a convolution of one pixel padded by three.
        return tensor.unflatten(1, (-1, 4, 4)).transpose(0, 1).flip(2, 3)
    if pggan and name.endswith("Conv0_up/weight") and tensor.ndim == 4:
        return tensor.permute(2, 3, 0, 1)  # this one is [H, W, O, I]
    if tensor.ndim == 4 and name.endswith("weight"):
        return tensor.permute(3, 2, 0, 1)
    return tensor.t() if tensor.ndim == 2 and not name.startswith("LabelConcat") else tensor
