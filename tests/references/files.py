"""Files of random weights of every format, as published code saves them."""

from __future__ import annotations

import json
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dseinvert.pickled.pickles import Foreign
from tests.references import contents
from tests.references.progressive import reference


def write_nvlabs(path: Path, content: Any) -> Path:
    """A pickle whose Foreign records are instances, or results of functions, of their modules."""
    with _modules() as named:
        path.write_bytes(pickle.dumps(_instances(content, named)))
    return path


def write_torch(path: Path, content: Any) -> Path:
    """A file of torch.save."""
    torch.save(content, path)
    return path


def write_biggan(folder: Path, resolution: int = 128) -> Path:
    """A folder as Hugging Face's libraries save one."""
    numbers = reference(f"biggan-{resolution}")
    folder.mkdir()
    write_torch(folder / "pytorch_model.bin", contents.biggan(numbers))
    (folder / "config.json").write_text(json.dumps(numbers["config"]))
    return folder


class _Result:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def _instances(content: Any, named: Callable[[str, str, bool], Any]) -> Any:
    if isinstance(content, dict):
        return {key: _instances(value, named) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_instances(value, named) for value in content)
    if not isinstance(content, Foreign):
        return content
    if content.state is None:
        function = named(content.module, content.name, False)
        return _Result(function, _instances(content.args, named))
    made = named(content.module, content.name, True)()
    made.__dict__.update(_instances(content.state, named))
    return made


@contextmanager
def _modules() -> Iterator[Callable[[str, str, bool], Any]]:
    """What gives a class or function of a module that is there only while pickling."""
    added: list[str] = []

    def named(module: str, name: str, is_class: bool) -> Any:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            known = ".".join(parts[:end])
            if known not in sys.modules:
                sys.modules[known] = types.ModuleType(known)
                added.append(known)
        if not hasattr(sys.modules[module], name):
            setattr(sys.modules[module], name, _made(module, name, is_class))
        return getattr(sys.modules[module], name)

    try:
        yield named
    finally:
        for known in added:
            del sys.modules[known]


def _made(module: str, name: str, is_class: bool) -> Any:
    if is_class:
        return type(name, (), {"__module__": module})

    def must_not_run(*_: Any) -> Any:
        raise AssertionError(f"{module}.{name} was run")

    must_not_run.__module__, must_not_run.__name__ = module, name
    must_not_run.__qualname__ = name
    return must_not_run
