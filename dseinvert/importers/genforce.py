"""PGGAN, StyleGAN and StyleGAN2 `.pth` of genforce, and of InterFaceGAN and In-Domain Inversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from dseinvert.errors import InputError
from dseinvert.generators import Generator
from dseinvert.importers.found import Found
from dseinvert.importers.progressive import Namer, Source, pggan, stylegan1, stylegan2

State = Mapping[str, Any]
Names = Mapping[str, str]

NONE = "none"
MAPPING = {
    "embedding": "mapping.label_weight",
    "embed.weight": NONE,
    "bypass": NONE,
    "w_avg": "truncation.w_avg",
    "lod": "synthesis.lod",
}
PGGAN = {
    "weight": "layer{0}.weight",
    "bias": "layer{0}.bias",
    "rgb.weight": "output{0}.weight",
    "rgb.bias": "output{0}.bias",
    "lod": "lod",
}
PGGAN_INTERFACEGAN = {
    "weight": "layer{0}.conv.weight",
    "bias": "layer{0}.wscale.bias",
    "rgb.weight": "output{0}.conv.weight",
    "rgb.bias": "output{0}.wscale.bias",
    "lod": "lod",
}
STYLEGAN = MAPPING | {
    "const": "synthesis.layer0.const",
    "weight": "synthesis.layer{0}.weight",
    "bias": "synthesis.layer{0}.bias",
    "noise": "synthesis.layer{0}.apply_noise.noise",
    "strength": "synthesis.layer{0}.apply_noise.weight",
    "style.weight": "synthesis.layer{0}.style.weight",
    "style.bias": "synthesis.layer{0}.style.bias",
    "rgb.weight": "synthesis.output{0}.weight",
    "rgb.bias": "synthesis.output{0}.bias",
    "mapping.weight": "mapping.dense{0}.weight",
    "mapping.bias": "mapping.dense{0}.bias",
}
STYLEGAN_IDINVERT = MAPPING | {
    "const": "synthesis.layer0.const",
    "weight": "synthesis.layer{0}.conv.weight",
    "bias": "synthesis.layer{0}.epilogue.bias",
    "noise": "synthesis.layer{0}.epilogue.apply_noise.noise",
    "strength": "synthesis.layer{0}.epilogue.apply_noise.weight",
    "style.weight": "synthesis.layer{0}.epilogue.style_mod.dense.fc.weight",
    "style.bias": "synthesis.layer{0}.epilogue.style_mod.dense.wscale.bias",
    "rgb.weight": "synthesis.output{0}.conv.weight",
    "rgb.bias": "synthesis.output{0}.bias",
    "mapping.weight": "mapping.dense{0}.fc.weight",
    "mapping.bias": "mapping.dense{0}.wscale.bias",
}
STYLEGAN_INTERFACEGAN = STYLEGAN_IDINVERT | {
    "const": "synthesis.layer0.first_layer",
    "style.weight": "synthesis.layer{0}.epilogue.style_mod.dense.linear.weight",
    "mapping.weight": "mapping.dense{0}.linear.weight",
}

STYLEGAN2 = STYLEGAN | {
    "const": "synthesis.early_layer.const",
    "noise": "synthesis.layer{0}.noise",
    "strength": "synthesis.layer{0}.noise_strength",
    "rgb.style.weight": "synthesis.output{0}.style.weight",
    "rgb.style.bias": "synthesis.output{0}.style.bias",
}


def recognise(content: Any) -> bool:
    """Whether this is a state dict of one of their generators, alone or among their models."""
    return _kind(_state(content)[0]) is not None


def convert(content: Any, generator: Generator | None = None) -> Found:
    """The generator; of several, the one averaged over the training.

    Raises:
        InputError: a tensor is missing, misshapen or not finite, or the network is half-grown.
    """
    state, notes = _state(content)
    kind = _kind(state)
    if kind is None:
        raise InputError("no generator of genforce, InterFaceGAN or In-Domain Inversion")
    title, build = kind
    found = build(state)
    return Found(title, generator=found.generator, notes=notes + found.notes)


def _state(content: Any) -> tuple[State, tuple[str, ...]]:
    """The state dict of the generator, and what was beside it."""
    if not isinstance(content, Mapping):
        return {}, ()
    models = content.get("models", content)
    notes: tuple[str, ...] = ()
    if isinstance(models, Mapping):
        for name in ("generator_smooth", "generator"):
            if isinstance(models.get(name), Mapping):
                others = [str(other) for other in models if other != name]
                notes = (f"took {name}; left out {', '.join(others)}",) if others else ()
                models = models[name]
                break
    state = models if isinstance(models, Mapping) else {}
    prefix = "module."  # of networks that were trained on several devices
    if state and all(isinstance(name, str) and name.startswith(prefix) for name in state):
        state = {name[len(prefix) :]: value for name, value in state.items()}
    return state, notes


def _kind(state: State) -> tuple[str, Callable[[State], Found]] | None:
    for marks, title, build in KINDS:
        if all(mark in state for mark in marks):
            return title, build
    return None


def _pggan(state: State) -> Found:
    """Fused doubling shows only where it changes the width: its kernels are [I, O, 3, 3]."""
    steps = [step for step in _doublings(state) if step[1] != step[2]]
    fused = bool(steps) and all(shape[:2] == (i, o) for shape, i, o in steps)
    source = Source(state, _namer(PGGAN))
    if fused:
        doubling = {f"layer{index}.weight" for index in range(2, source.count("bias"), 2)}
        turned = {n: _transposed(v) if n in doubling else v for n, v in state.items()}
        source = Source(turned, _namer(PGGAN))
    return Found("", generator=pggan(source, 0, fused=fused))


def _doublings(state: State) -> list[tuple[tuple[int, ...], int, int]]:
    """The shape of each doubling kernel, the width before and the width after."""
    steps = []
    for index in range(2, Source(state, _namer(PGGAN)).count("bias"), 2):
        parts = (f"layer{index}.weight", f"layer{index - 1}.bias", f"layer{index}.bias")
        kernel, before, after = (state.get(name) for name in parts)
        if all(isinstance(value, Tensor) and value.ndim for value in (kernel, before, after)):
            steps.append((tuple(kernel.shape), len(before), len(after)))  # type: ignore[union-attr,arg-type]
    return steps


def _pggan_interfacegan(state: State) -> Found:
    fused = "layer2.weight" in state
    namer = _fused_namer(PGGAN_INTERFACEGAN, "layer{0}.weight", state)
    return Found("", generator=pggan(Source(_kernels(state), namer), 0, fused=fused))


def _stylegan(state: State) -> Found:
    network = stylegan1(Source(state, _namer(STYLEGAN)), lambda resolution: resolution >= 128)
    fused = "doubling is taken to be fused from 128 px on, as is the default"
    notes = (fused,) if network.resolution >= 128 else ()
    return Found("", generator=network, notes=notes)


def _stylegan2(state: State) -> Found:
    return Found("", generator=stylegan2(Source(state, _namer(STYLEGAN2))))


def _stylegan_old(names: Names, *, tanh: bool = False) -> Callable[[State], Found]:
    """Their fused kernels go by another name, as [H, W, I, O].

    All that In-Domain Inversion published end with tanh, which their weights do not tell.
    """
    fused = "synthesis.layer{0}.weight"

    def build(state: State) -> Found:
        source = Source(_kernels(state), _fused_namer(names, fused, state))
        network = stylegan1(source, lambda res: fused.format(_first(res)) in state, tanh=tanh)
        notes = ("its image passes through tanh, as published",) if network.config.tanh else ()
        return Found("", generator=network, notes=notes)

    return build


def _first(resolution: int) -> int:
    """The first layer, counted from 0, of a resolution."""
    return 2 * (resolution.bit_length() - 3)


def _namer(names: Names) -> Namer:
    return lambda part, index=0: names[part].format(index)


def _fused_namer(names: Names, fused: str, state: State) -> Namer:
    def name(part: str, index: int = 0) -> str:
        if part == "weight" and fused.format(index) in state:
            return fused.format(index)
        return names[part].format(index)

    return name


def _kernels(state: State) -> dict[str, Any]:
    """Kernels [3, 3, I, O] as [O, I, 3, 3]; those of PyTorch's own layers end in conv.weight."""
    return {
        name: value.permute(3, 2, 0, 1)
        if isinstance(value, Tensor) and value.ndim == 4 and _is_fused(name)
        else value
        for name, value in state.items()
    }


def _is_fused(name: str) -> bool:
    last = name.split(".")[-2:]
    return len(last) == 2 and last[0].startswith("layer") and last[1] == "weight"


def _transposed(value: Any) -> Any:
    return value.transpose(0, 1) if isinstance(value, Tensor) and value.ndim == 4 else value


KINDS: tuple[tuple[tuple[str, ...], str, Callable[[State], Found]], ...] = (
    (("layer0.weight", "layer1.bias", "output0.weight"), "PGGAN of genforce", _pggan),
    (
        ("layer0.conv.weight", "layer0.wscale.bias", "output0.conv.weight"),
        "PGGAN of InterFaceGAN",
        _pggan_interfacegan,
    ),
    (("synthesis.layer0.const", "synthesis.layer0.bias"), "StyleGAN of genforce", _stylegan),
    (
        ("synthesis.layer0.const", "synthesis.layer0.epilogue.bias"),
        "StyleGAN of In-Domain Inversion",
        _stylegan_old(STYLEGAN_IDINVERT, tanh=True),
    ),
    (
        ("synthesis.layer0.first_layer", "synthesis.layer0.epilogue.bias"),
        "StyleGAN of InterFaceGAN",
        _stylegan_old(STYLEGAN_INTERFACEGAN),
    ),
    (
        ("synthesis.early_layer.const", "synthesis.layer0.noise_strength"),
        "StyleGAN2 of genforce",
        _stylegan2,
    ),
)
"""The names that tell, what it is, and its reader."""
