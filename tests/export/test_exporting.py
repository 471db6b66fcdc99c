from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dseinvert.errors import MissingError, OutputError, UsageError
from dseinvert.export import exporting
from dseinvert.export.exporting import Exported, export_model, read_export
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import ParityError
from dseinvert.models import Model

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def test_the_sidecar_tells_files_hashes_shapes_and_differences(exported: Exported) -> None:
    told = json.loads((exported.folder / "export.json").read_bytes())
    assert [*told["files"]] == ["encoder", "generator", "generator-feature", "features"]
    for about in told["files"].values():
        data = (exported.folder / about["file"]).read_bytes()
        assert about["sha256"] == {about["file"]: hashlib.sha256(data).hexdigest()}
        assert len(data) == about["bytes"]
    generator = told["files"]["generator"]
    assert generator["inputs"] == {"code": {"type": "float32", "shape": ["batch", 6, 16]}}
    assert generator["outputs"]["images"]["shape"] == ["batch", 3, 16, 16]
    assert {one["batch"] for one in told["parity"]["differences"]} == {1, 3}
    assert max(one["largest"] for one in told["parity"]["differences"]) < 1e-3
    assert read_export(exported.folder) == Exported(exported.folder, told)


@pytest.mark.usefixtures("quick")
def test_an_export_that_differs_leaves_nothing(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object) -> object:
        def wrong(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {"images": torch.zeros(len(inputs["code"]), 3, 16, 16)}

        return wrong

    monkeypatch.setattr(exporting, "load", loaded)
    with pytest.raises(ParityError, match="nothing was written"):
        export_model(tiny, ExportOptions(out=tmp_path / "out", what="generator"))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("quick")
def test_an_earlier_export_is_replaced_and_other_files_are_not(tiny: Model, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "export.json").write_text("{}")
    (out / "old.onnx").write_text("old")
    export_model(tiny, ExportOptions(out=out, what="generator"))
    assert sorted(file.name for file in out.iterdir()) == ["export.json", "generator.onnx"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    with pytest.raises(UsageError, match="holds other files"):
        export_model(tiny, ExportOptions(out=tmp_path / "photos"))
    assert [file.name for file in (tmp_path / "photos").iterdir()] == ["mine.jpg"]


@pytest.mark.parametrize(
    "given",
    [{"to": "coreml"}, {"precision": "fp8"}, {"what": "all"}],
    ids=lambda one: next(iter(one)),
)
def test_words_that_mean_nothing_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(given.values()))):
        ExportOptions(**given)  # type: ignore[arg-type]


def test_what_a_runtime_cannot_do_is_refused_before_work(tiny: Model, tmp_path: Path) -> None:
    options = ExportOptions(to="onnx", precision="bf16", out=tmp_path / "out")
    with pytest.raises(UsageError, match="not for onnx"):
        export_model(tiny, options)


def test_a_runtime_that_is_absent_says_how_to_get_it(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"pip install 'dseinvert\[onnx,tensorrt\]'"):
        export_model(tiny, ExportOptions(to="tensorrt", out=tmp_path / "out"))


def test_a_damaged_file_is_no_export(exported: Exported, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported.folder, copy)
    assert read_export(copy) is not None
    data = bytearray((copy / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "encoder.onnx").write_bytes(data)
    assert read_export(copy) is None


@pytest.mark.usefixtures("quick")
def test_what_a_killed_process_left_goes_after_a_day(tiny: Model, tmp_path: Path) -> None:
    old, new = (tmp_path / f".out.{name}.dse-part" for name in ("0", "1"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    export_model(tiny, ExportOptions(out=tmp_path / "out", what="generator"))
    assert sorted(one.name for one in tmp_path.iterdir()) == [new.name, "out"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("refused", [OSError("no"), KeyboardInterrupt()])
def test_an_earlier_export_outlives_one_that_cannot_take_its_place(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: BaseException
) -> None:
    """Neither a disk that refuses nor a kill between two renames loses it."""
    options = ExportOptions(out=tmp_path / "out", what="generator")
    before = export_model(tiny, options)
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == tmp_path / "out" and not self.name.endswith("-old"):
            raise refused
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises((OutputError, KeyboardInterrupt)):
            export_model(tiny, options)
    (left,) = tmp_path.iterdir()
    told = left / "export.json"
    assert json.loads(told.read_bytes()) == before.sidecar
    again = export_model(tiny, options)
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    assert read_export(tmp_path / "out") == again


def test_half_a_folder_is_no_export(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes((exported.folder / "export.json").read_bytes())
    assert read_export(tmp_path) is None
    (tmp_path / "export.json").write_text("[]")
    assert read_export(tmp_path) is None


@pytest.mark.usefixtures("quick")
def test_half_precision_keeps_its_inputs_and_its_bound(tiny: Model, tmp_path: Path) -> None:
    options = ExportOptions(out=tmp_path / "out", what="generator", precision="fp16")
    made = export_model(tiny, options)
    psnr = [one["psnr"] for one in made.sidecar["parity"]["differences"]]
    assert 45 < min(psnr) < 100
    weights = {one.data_type for one in onnx.load(made.folder / "generator.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in weights
    assert made.sidecar["files"]["generator"]["inputs"]["code"]["type"] == "float32"


def test_pixels_and_one_batch_size(tiny: Model, tmp_path: Path) -> None:
    options = ExportOptions(out=tmp_path / "out", what="generator", pixels=True, batch="2")
    made = export_model(tiny, options)
    (output,) = onnx.load(made.folder / "generator.onnx").graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [2, 16, 16, 3]
    assert output.type.tensor_type.elem_type == onnx.TensorProto.UINT8
