"""One export of the tiny model for all tests that look at one."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dseinvert.export import exporting
from dseinvert.export.backend import _place
from dseinvert.export.exporting import Exported, export_model
from dseinvert.export.graphs import Graph
from dseinvert.export.options import ExportOptions
from dseinvert.models import Model, open_model

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> Model:
    """The tiny model, opened."""
    return open_model(str(tiny_model))


@pytest.fixture(scope="session")
def exported(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """It as ONNX, its feature at layer 3 as well."""
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("export") / "onnx"
    return export_model(tiny, ExportOptions(out=out, layer=3))


@pytest.fixture
def quick(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that were exported once are not exported again."""
    import onnx

    monkeypatch.setattr(
        exporting, "to_onnx", lambda graph, *_: onnx.load(exported.folder / f"{graph.name}.onnx")
    )


@pytest.fixture
def edited(
    tiny: Model, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Exported:
    """An export with an editor; what is exported already is not exported again."""
    import onnx

    make = exporting.to_onnx

    def to_onnx(graph: Graph, *given: Any) -> Any:
        file = exported.folder / f"{graph.name}.onnx"
        return onnx.load(file) if file.is_file() else make(graph, *given)

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "to_onnx", to_onnx)
        options = ExportOptions(out=tmp_path / "with-edits", what="generator", edit="age, smile")
        return export_model(tiny, options)


@pytest.fixture
def in_cache(tiny: Model, exported: Exported) -> Exported:
    """The same, where `--backend onnx` of this test looks for it."""
    place = _place(tiny, "onnx")
    shutil.copytree(exported.folder, place)
    return Exported(place, exported.sidecar)


@pytest.fixture(scope="session")
def kinds() -> ModuleType:
    """Small models of every kind: see models_of_every_kind.py."""
    file = HERE / "models_of_every_kind.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def model_of(kinds: ModuleType) -> Callable[[str], Model]:
    """`model_of("stylegan2, dse")`."""
    return kinds.model_of  # type: ignore[no-any-return]
