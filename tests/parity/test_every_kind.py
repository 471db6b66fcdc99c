"""Every generator family and every kind of encoder, from PyTorch to ONNX and compared."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dseinvert.encoders.kinds import CHANGE_WEIGHTS, KINDS
from dseinvert.export.graphs import Graph, graphs
from dseinvert.export.parity import TOLERANCES, check, compare
from dseinvert.export.runtimes import Threads
from dseinvert.export.to_onnx import Batch, save, to_onnx
from dseinvert.generators.families import FAMILIES
from dseinvert.models import Model

pytest.importorskip("onnxruntime")
FILE = Path(__file__).parents[1] / "export" / "models_of_every_kind.py"
FAST = ("stylegan2, dse-feature", "pggan, dse-pggan", "biggan, dse-biggan")
"""The rest take a minute, because the exporter takes seconds a graph."""


@cache
def recipes() -> ModuleType:
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[FILE.stem] = module
    spec.loader.exec_module(module)
    return module


def cases() -> list[object]:
    """(model, graph), each generator once."""
    found: list[object] = []
    seen = set()
    for name in recipes().MODELS:
        family, kind = name.split(", ", 1)
        # What changes weights cannot be exported; that is tested where it is refused.
        parts = ["encoder"] * (kind != "none" and kind not in CHANGE_WEIGHTS) + ["generator"] * (
            family not in seen
        )
        parts += ["generator-feature", "features"] * (kind in ("dse-feature", "feature-style"))
        seen.add(family)
        slow = [] if name in FAST else [pytest.mark.slow]
        found += [pytest.param(name, part, id=f"{name}: {part}", marks=slow) for part in parts]
    return found


def exported(name: str, part: str) -> tuple[Model, Graph]:
    model = recipes().model_of(name)
    made = graphs(model, "both" if model.encoder is not None else "generator")
    return model, next(graph for graph in made if graph.name == part)


@pytest.mark.parametrize(("name", "part"), cases())
def test_onnx_computes_what_torch_does(name: str, part: str, tmp_path: Path) -> None:
    from dseinvert.export.with_onnxruntime import OnnxRunner

    model, graph = exported(name, part)
    save(to_onnx(graph, Batch(), {}), tmp_path / "graph.onnx")
    runner = OnnxRunner(tmp_path / "graph.onnx", torch.device("cpu"), Threads())
    check(compare(graph, runner, model, None, [1, 3]), TOLERANCES["fp32"], "fp32")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), cases())
def test_openvino_computes_what_torch_does(name: str, part: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from dseinvert.export.with_openvino import OpenVinoRunner, save_ir

    model, graph = exported(name, part)
    save(to_onnx(graph, Batch(), {}), tmp_path / "graph.onnx")
    save_ir(tmp_path / "graph.onnx", tmp_path / "graph.xml")
    runner = OpenVinoRunner(tmp_path / "graph.xml", Threads(), "fp32")
    check(compare(graph, runner, model, None, [1, 3]), TOLERANCES["fp32"], "fp32")


def test_no_family_and_no_kind_is_left_out() -> None:
    models = [recipes().model_of(name) for name in recipes().MODELS]
    assert {model.generator.family for model in models} == {*FAMILIES}
    assert {model.encoder.kind for model in models if model.encoder is not None} == {*KINDS}
