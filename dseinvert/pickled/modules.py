"""A pickled nn.Module taken apart, without its class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dseinvert.pickled.machine import Foreign, kind


@dataclass(frozen=True)
class Module:
    """A pickled nn.Module taken apart."""

    name: str
    """Of its class."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """What it was constructed with, where that was kept (NVlabs)."""
    tensors: dict[str, Tensor]
    """Parameters and buffers, its own and those of its modules, by dotted name."""
    modules: dict[str, Any]
    """Its direct submodules, each for `module` again."""
    attributes: dict[str, Any]
    """The rest of its state."""


def module(value: Any) -> Module:
    """A pickled nn.Module, also one of NVlabs' persistent classes.

    Raises:
        ValueError: not one.
    """
    name, state = _class_and_state(value)
    tensors = {}
    for dotted, tensor in _tensors(value, "", 0, [0]):
        tensors[dotted] = tensor
    special = ("_parameters", "_buffers", "_modules", "_init_args", "_init_kwargs")
    return Module(
        name=name,
        args=tuple(state.get("_init_args", ())),
        kwargs=dict(state.get("_init_kwargs", {})),
        tensors=tensors,
        modules={k: v for k, v in _part(state, "_modules").items() if v is not None},
        attributes={key: item for key, item in state.items() if key not in special},
    )


def _tensors(value: Any, prefix: str, depth: int, seen: list[int]) -> Iterator[tuple[str, Tensor]]:
    _, state = _class_and_state(value)
    seen[0] += 1
    if depth > 32 or seen[0] > 10_000:
        raise ValueError("modules without end")
    for group in ("_parameters", "_buffers"):
        for name, tensor in _part(state, group).items():
            if isinstance(tensor, Tensor):
                yield f"{prefix}{name}", tensor
            elif tensor is not None:
                raise ValueError(f"{prefix}{name}: {kind(tensor)} where a tensor belongs")
    for name, child in _part(state, "_modules").items():
        if child is not None:
            yield from _tensors(child, f"{prefix}{name}.", depth + 1, seen)


def _class_and_state(value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, Foreign):
        raise ValueError(f"{kind(value)} where a network belongs")
    name: Any = value.name
    state = value.state
    if value.name == "_reconstruct_persistent_obj" and value.args:
        meta = value.args[0]
        if not isinstance(meta, dict):
            raise ValueError("a persistent class without its description")
        name, state = meta.get("class_name"), meta.get("state")
    if not isinstance(name, str) or not isinstance(state, dict):
        raise ValueError(f"{value.module}.{name}: no state where a network belongs")
    return name, state


def _part(state: dict[str, Any], group: str) -> dict[str, Any]:
    part = state.get(group, {})
    if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
        raise ValueError(f"{group} is no table of names")
    return part
