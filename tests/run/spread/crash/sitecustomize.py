"""For tests: in every process that has this folder on its path, some files kill who reads them.

`fatal*` is a segmentation fault, `slow*` takes a while.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_WHERE = "dseinvert.run.inputs"


class Finder(importlib.abc.MetaPathFinder):
    """Finds that module as ever, and changes it when it is there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _WHERE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def changed(module: ModuleType) -> None:
            run(module)
            module.open_image = fatal(module.open_image)  # type: ignore[attr-defined]

        spec.loader.exec_module = changed  # type: ignore[method-assign]
        return spec


def fatal(real: Any) -> Any:
    def open_image(path: Path, *given: Any) -> Any:
        if path.name.startswith("fatal"):
            ctypes.string_at(0)
        if path.name.startswith("slow"):
            time.sleep(0.3)
        return real(path, *given)

    return open_image


sys.meta_path.insert(0, Finder())
