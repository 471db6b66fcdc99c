"""What of TensorRT needs neither it nor a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dseinvert.errors import DeviceError, MissingError
from dseinvert.export import with_tensorrt
from dseinvert.export.graphs import graphs
from dseinvert.export.to_onnx import Batch
from dseinvert.export.with_tensorrt import check_version, engine_key, engine_place, profiles
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
