"""export/ keeps to its place in the house, which `tests/test_layers.py` sees only from inside."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "export").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_imports_nothing_of_what_is_built_on_it(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if str(name).startswith(("dseinvert.run", "dseinvert.cli"))]


def test_runtimes_are_loaded_only_where_one_is_wanted() -> None:
    heavy = ("onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt", "torch._dynamo")
    code = "import sys, dseinvert.run.images.run, dseinvert.export.exporting; "
    code += f"print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
