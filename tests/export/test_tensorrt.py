"""What of TensorRT needs neither it nor a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dseinvert.errors import DeviceError, MissingError
from dseinvert.export import to_onnx as to_onnx_file
from dseinvert.export import with_tensorrt
from dseinvert.export.exporting import Exported
from dseinvert.export.graphs import graphs
from dseinvert.export.to_onnx import Batch, save, to_onnx
from dseinvert.export.with_tensorrt import (
    check_operators,
    check_version,
    engine_key,
    engine_place,
    profiles,
)
from dseinvert.models import Model


def test_a_profile_spans_the_batch_of_every_input(model_of: Callable[[str], Model]) -> None:
    made = {graph.name: graph for graph in graphs(model_of("stylegan2, dse-feature"))}
    shapes = profiles(made["generator-feature"], Batch(1, 16))
    assert [*shapes] == ["code", "feature"]
    assert shapes["feature"].least == (1, 16, 8, 8)
    assert shapes["feature"].common == shapes["feature"].most == (16, 16, 8, 8)


def test_an_engine_is_for_one_file_one_gpu_and_one_version() -> None:
    keys = {
        engine_key(data, gpu, capability, version)
        for data in (b"a", b"b")
        for gpu, capability in (("H200", (9, 0)), ("T4", (7, 5)))
        for version in ("10.3.0", "10.4.0")
    }
    assert len(keys) == 8
    assert engine_key(b"a", "T4", (7, 5), "10.3.0") == engine_key(b"a", "T4", (7, 5), "10.3.0")


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "9.9"])
def test_an_old_version_is_refused_with_the_command_that_mends_it(version: str) -> None:
    with pytest.raises(MissingError, match=r"too old.*pip install -U 'dseinvert\[tensorrt\]'"):
        check_version(version)


@pytest.mark.parametrize("version", ["10.3.0", "10.13.2.6", "11.0.0"])
def test_a_new_version_is_taken(version: str) -> None:
    check_version(version)


def test_no_gpu_is_said_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU"):
        engine_place(tmp_path / "generator.onnx", torch.device("cpu"))


def test_an_absent_package_is_said_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingError, match=r"not installed \(pip install"):
        with_tensorrt._tensorrt()


def test_what_the_parser_does_not_read_is_said_before_a_gpu_is_asked(
    exported: Exported, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported.folder / "generator.onnx")
    model.graph.node[0].op_type = "Col2Im"
    onnx.save(model, tmp_path / "generator.onnx")
    with pytest.raises(MissingError, match=r"does not read Col2Im \(--to onnx\)"):
        check_operators(tmp_path / "generator.onnx")


def test_tensorrt_reads_every_file_of_an_export(exported: Exported) -> None:
    for about in exported.sidecar["files"].values():
        check_operators(exported.folder / about["file"])


def test_only_a_cast_reads_bytes() -> None:
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        make.make_node("Shape", ["images"], ["shape"]),
        make.make_node("Cast", ["images"], ["floats"], to=kinds.FLOAT),
        make.make_node("Reshape", ["floats", "shape"], ["same"]),
    ]
    given = make.make_tensor_value_info("images", kinds.UINT8, ["batch", 2])
    made = make.make_tensor_value_info("same", kinds.FLOAT, ["batch", 2])
    model = make.make_model(make.make_graph(nodes, "g", [given], [made]))
    to_onnx_file._only_cast(model)
    onnx.checker.check_model(model, full_check=True)
    assert [(n.op_type, *n.input) for n in model.graph.node] == [
        ("Cast", "images"),
        ("Shape", "floats"),
        ("Reshape", "floats", "shape"),
    ]


WHOLE = "encoder generator"
# A StyleGAN2 and its features are the same beside every encoder: they are written once.
GRAPHS = {
    "stylegan2, dse-feature": f"{WHOLE} generator-feature features",
    "stylegan1, dse": WHOLE,
    "stylegan2, restyle": "encoder",
    "stylegan2, deep-gan": "encoder",
    "stylegan2, feature-style": "encoder generator-feature",
    "stylegan3 (R), none": "generator",
    "pggan, dse-pggan": WHOLE,
    "biggan, deep-gan-big": WHOLE,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part"), [(name, part) for name, parts in GRAPHS.items() for part in parts.split()]
)
def test_tensorrt_reads_every_graph_and_bytes_only_where_it_may(
    name: str, part: str, model_of: Callable[[str], Model], tmp_path: Path
) -> None:
    """Bytes are for inputs and outputs alone: nothing but a cast may touch them."""
    onnx = pytest.importorskip("onnx")
    model = model_of(name)
    what = "both" if model.encoder is not None else "generator"
    (graph,) = (one for one in graphs(model, what, pixels=True) if one.name == part)
    made = to_onnx(graph, Batch(1, 4), {})
    save(made, tmp_path / "graph.onnx")
    check_operators(tmp_path / "graph.onnx")
    fixed = {one.name for one in made.graph.initializer}
    fixed |= {n.output[0] for n in made.graph.node if n.op_type == "Constant"}
    every = (*made.graph.input, *made.graph.output, *made.graph.value_info)
    pixels = {v.name for v in every if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    for node in made.graph.node:
        assert node.op_type == "Cast" or not pixels & {*node.input, *node.output}, node.name
        if node.op_type in ("Pad", "Slice", "Squeeze", "Unsqueeze", "ReduceSum", "ReduceMean"):
            axes = 3 if node.op_type in ("Pad", "Slice") else 1
            assert not node.input[axes:] or node.input[axes] in fixed, node.name


class Called:
    """Stands in for TensorRT: remembers what is asked of it, and gives what it is told to."""

    __version__ = "10.5.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    BuilderFlag = SimpleNamespace(TF32="tf32")

    def __init__(self, plan: bytes | None = b"plan", parses: bool = True) -> None:
        self.plan, self.parses = plan, parses
        self.asked: list[tuple[object, ...]] = []
        self.Logger = lambda level: level
        self.Logger.ERROR = "error"  # type: ignore[attr-defined]
        self.Builder = lambda logger: self
        self.OnnxParser = lambda network, logger: self
        self.num_errors = 1

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            self.asked.append((name, *given, *named.values()))
            return self

        return call

    def parse_from_file(self, file: str) -> bool:
        return self.parses

    def desc(self) -> str:
        return "no plugin for Dream"

    def build_serialized_network(self, network: object, config: object) -> bytes | None:
        self.asked.append(("build",))
        return self.plan

    def get_timing_cache(self) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: b"timing")


@pytest.fixture
def building(
    exported: Exported, tmp_path: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Called], Path]:
    """Builds the engine of the tiny generator by what stands in for TensorRT."""

    def build(trt: Called) -> Path:
        place = tmp_path / "engines" / "key.plan"
        monkeypatch.setattr(with_tensorrt, "_tensorrt", lambda: trt)
        monkeypatch.setattr(with_tensorrt, "engine_place", lambda *_: place)
        monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
        graph = {graph.name: graph for graph in graphs(tiny, "generator")}["generator"]
        file = exported.folder / "generator.onnx"
        return with_tensorrt.build(file, graph, Batch(1, 8), torch.device("cuda"))

    return build


def test_an_engine_is_built_once_in_full_float32_with_its_profile(
    building: Callable[[Called], Path],
) -> None:
    trt = Called()
    place = building(trt)
    assert place.read_bytes() == b"plan"
    assert ("create_network", 1) in trt.asked  # strongly typed
    assert ("clear_flag", "tf32") in trt.asked
    assert ("set_shape", "code", (1, 6, 16), (8, 6, 16), (8, 6, 16)) in trt.asked
    assert ("create_timing_cache", b"") in trt.asked
    again = Called()
    building(again)
    assert again.asked == []


def test_a_later_build_goes_by_the_timings_of_the_first(
    building: Callable[[Called], Path],
) -> None:
    building(Called()).unlink()
    trt = Called()
    building(trt)
    assert ("create_timing_cache", b"timing") in trt.asked


def test_a_failed_build_says_why_and_leaves_no_engine(
    building: Callable[[Called], Path], tmp_path: Path
) -> None:
    with pytest.raises(
        MissingError, match=r"TensorRT 10\.5\.0 cannot read it: no plugin for Dream"
    ):
        building(Called(parses=False))
    with pytest.raises(DeviceError, match="could not build an engine"):
        building(Called(plan=None))
    assert not (tmp_path / "engines").exists()
