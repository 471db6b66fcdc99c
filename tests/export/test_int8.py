from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dseinvert.export import int8
from dseinvert.export.exporting import Exported, export_model
from dseinvert.export.graphs import graphs
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import TOLERANCES, ParityError, Tolerance
from dseinvert.models import Model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration by few samples."""
    monkeypatch.setattr(int8, "SEEDS", int8.SEEDS[:8])
    monkeypatch.setattr(int8, "SAMPLES", 8)


@pytest.fixture
def made(
    quick: None, few: None, tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Exported:
    """The tiny model in integers, whose random weights no bound is asked of."""
    monkeypatch.setitem(TOLERANCES, "int8", Tolerance(latent=None, image=None, psnr=0))
    return export_model(tiny, ExportOptions(out=tmp_path / "int8", precision="int8"))


def test_convolutions_are_integers_but_for_filters_and_colours(made: Exported) -> None:
    graph = onnx.load(made.folder / "generator.onnx").graph
    producer = {name: node for node in graph.node for name in node.output}
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}

    def integer(node: object) -> bool:
        return producer.get(node.input[0], node).op_type == "DequantizeLinear"  # type: ignore[attr-defined]

    convs = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    groups = {
        node.name: next((a.i for a in node.attribute if a.name == "group"), 1) for node in convs
    }
    assert sum(map(integer, convs)) >= 3
    assert not any(integer(node) for node in convs if groups[node.name] > 1)
    assert not any(integer(node) for node in convs if 3 in shapes.get(node.input[1], ())[:2])


def test_metadata_and_differences_are_those_of_integers(made: Exported) -> None:
    model = onnx.load(made.folder / "encoder.onnx")
    assert {e.key: e.value for e in model.metadata_props}["dseinvert.space"] == "w+"
    psnr = [one["psnr"] for one in made.sidecar["parity"]["differences"] if one["psnr"] is not None]
    assert 10 < min(psnr) < 100
    assert made.sidecar["parity"]["tolerance"]["psnr"] == 0


@pytest.mark.usefixtures("quick", "few")
def test_integers_beyond_their_bound_are_refused(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCES, "int8", Tolerance(latent=None, image=None, psnr=90))
    with pytest.raises(ParityError, match=r"int8 .* try --precision fp32"):
        export_model(tiny, ExportOptions(out=tmp_path / "int8", precision="int8"))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_what_comes_out_is_rounded_only_for_onnx_runtime(
    runtime: str, tiny: Model, exported: Exported
) -> None:
    graph = {graph.name: graph for graph in graphs(tiny)}["encoder"]
    plain = onnx.load(exported.folder / "encoder.onnx")
    nodes = int8.quantised(plain, graph, tiny, None, runtime).graph.node
    given = {name for node in nodes if node.op_type == "Conv" for name in node.output}
    rounded = [n for n in nodes if n.op_type == "QuantizeLinear" and n.input[0] in given]
    assert bool(rounded) == (runtime == "onnx")
    assert not [n for n in nodes if n.op_type == "ConvTranspose" and "Dequant" in n.input[0]]


def test_calibration_and_comparison_share_no_sample(model_of: Callable[[str], Model]) -> None:
    from dseinvert.export.parity import FRESH

    assert not {*int8.SEEDS} & {*range(FRESH, FRESH + 10_000)}
