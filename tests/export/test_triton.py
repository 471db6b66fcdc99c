from __future__ import annotations

from pathlib import Path

import pytest

from dseinvert.export.exporting import Exported
from dseinvert.export.triton import config, name, write_triton


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    """A copy of an export with its model repository."""
    import shutil

    copy = tmp_path / "out"
    shutil.copytree(exported.folder, copy)
    write_triton(copy, exported.sidecar)
    return copy


def test_every_graph_has_its_folder_with_the_same_bytes(folder: Path, exported: Exported) -> None:
    made = sorted(one.name for one in (folder / "triton").iterdir())
    assert made == ["tiny_encoder", "tiny_features", "tiny_generator", "tiny_generator_feature"]
    model = folder / "triton" / "tiny_encoder" / "1" / "model.onnx"
    assert model.read_bytes() == (exported.folder / "encoder.onnx").read_bytes()


def test_shapes_in_a_config_are_those_of_the_file_without_the_batch(folder: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    own = folder / "triton" / "tiny_generator_feature"
    text = (own / "config.pbtxt").read_text()
    session = onnxruntime.InferenceSession(own / "1" / "model.onnx")
    for port in (*session.get_inputs(), *session.get_outputs()):
        dims = ", ".join(map(str, port.shape[1:]))
        assert f'{{ name: "{port.name}" data_type: TYPE_FP32 dims: [ {dims} ] }}' in text
    assert "max_batch_size: 8" in text
    assert 'backend: "onnxruntime"' in text


def test_braces_and_brackets_of_a_config_match() -> None:
    shape = {"type": "uint8", "shape": ["batch", 16, 16, 3]}
    text = config(
        "m_generator",
        'platform: "tensorrt_plan"',
        {"inputs": {"code": shape}, "outputs": {"images": shape}},
        4,
    )
    assert text.count("[") == text.count("]") == 4
    assert text.count("{") == text.count("}") == 3
    assert "TYPE_UINT8" in text


def test_names_are_words() -> None:
    assert name("faces-64", "generator-feature") == "faces_64_generator_feature"
