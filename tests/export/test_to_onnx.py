from __future__ import annotations

from pathlib import Path

import pytest

from dseinvert.errors import UsageError
from dseinvert.export.exporting import Exported
from dseinvert.export.to_onnx import Batch

onnx = pytest.importorskip("onnx")


def test_a_batch_is_a_range_or_a_number() -> None:
    assert Batch.parse("1..8") == Batch(1, 8)
    assert Batch.parse("4") == Batch(4, 4) and not Batch.parse("4").free
    for text in ("8..1", "0", "many", "1..9999", "-2", ""):
        with pytest.raises(UsageError, match="--batch"):
            Batch.parse(text)


def test_every_file_is_valid_and_says_what_it_is(exported: Exported) -> None:
    for about in exported.sidecar["files"].values():
        model = onnx.load(exported.folder / about["file"])
        onnx.checker.check_model(model, full_check=True)
        told = {entry.key: entry.value for entry in model.metadata_props}
        assert told["dseinvert.generator_sha256"] == exported.sidecar["generator_sha256"]
        assert told["dseinvert.space"] == "w+"
        assert told["dseinvert.resolution"] == "16"
        assert {"dseinvert.version", "dseinvert.model", "dseinvert.batch"} <= {*told}


def test_the_batch_is_free_in_every_input_and_output(exported: Exported) -> None:
    for about in exported.sidecar["files"].values():
        graph = onnx.load(exported.folder / about["file"]).graph
        for value in (*graph.input, *graph.output):
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param == "batch"
            assert all(dim.dim_value > 0 for dim in rest)


def test_no_operator_draws_anything(exported: Exported) -> None:
    for about in exported.sidecar["files"].values():
        kinds = {node.op_type for node in onnx.load(exported.folder / about["file"]).graph.node}
        assert not {kind for kind in kinds if "Random" in kind or kind == "Dropout"}


def test_files_tell_nothing_of_the_machine_they_were_made_on(exported: Exported) -> None:
    for about in exported.sidecar["files"].values():
        data = (exported.folder / about["file"]).read_bytes()
        assert str(Path(__file__).parents[2]).encode() not in data
        assert b"site-packages" not in data
