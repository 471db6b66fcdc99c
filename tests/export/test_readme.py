"""What the deployment page shows is run as it is written there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.export.exporting import Exported
from dseinvert.export.parity import TOLERANCES
from dseinvert.media.images import encode_png, read_image
from dseinvert.models import Model
from dseinvert.run.compute import to_pixels, to_tensor
from tests.conftest import ROOT, picture

PAGE = (ROOT / "export" / "README.md").read_text()
# Enough of the header's names for a compiler to check the syntax of what is written against it.
STANDINS = """
#include <cstddef>
#include <cstdint>
#include <vector>
enum Allocator { OrtArenaAllocator }; enum Kind { OrtMemTypeDefault };
namespace Ort {
struct MemoryInfo { static MemoryInfo CreateCpu(Allocator, Kind); };
struct RunOptions {};
struct Value {
  template <class T> static Value CreateTensor(MemoryInfo&, T*, size_t, const int64_t*, size_t);
  template <class T> const T* GetTensorData() const;
};
struct Session {
  std::vector<Value> Run(RunOptions&, const char**, Value*, size_t, const char**, size_t);
};
}
"""


def code(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return found


def test_the_python_of_the_page_works_without_this_program(
    tiny: Model, exported: Exported, tmp_path: Path
) -> None:
    shutil.copytree(exported.folder, tmp_path / "exported")
    (tmp_path / "face.png").write_bytes(encode_png(face := picture(3, 16, 16)))
    lines = "import sys\nfor name in ('torch', 'dseinvert'):\n    sys.modules[name] = None\n"
    command = [sys.executable, "-c", lines + code("python")]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert tiny.encoder is not None
    with torch.inference_mode():
        latent = tiny.encoder.encode(to_tensor([face]))
        (wanted,) = to_pixels(tiny.generator.synthesize(latent))
    assert np.abs(np.load(tmp_path / "face.npy") - latent.code.numpy()).max() < 1e-4
    redrawn = read_image(tmp_path / "redrawn.png")
    assert np.abs(redrawn.astype(int) - wanted.astype(int)).max() <= 1


def test_the_cpp_of_the_page_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    (tmp_path / "redraw.cpp").write_text(code("cpp"))
    command = [compiler, "-std=c++17", "-fsyntax-only", "redraw.cpp"]
    probe = [compiler, "-std=c++17", "-E", "-x", "c++", "-"]
    asked = "#include <onnxruntime_cxx_api.h>\n"
    there = subprocess.run(probe, input=asked, capture_output=True, text=True).returncode == 0
    if not there:
        (tmp_path / "onnxruntime_cxx_api.h").write_text(STANDINS)
        command += ["-I", "."]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_the_tolerances_of_the_page_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| (\w+) \|.*\| (\d+) dB \|$", PAGE, re.M)
    assert {name: float(psnr) for name, psnr in rows} == {
        name: tolerance.psnr for name, tolerance in TOLERANCES.items()
    }
    assert "| fp32 | 1e-4, per unit of the largest | 1e-3, likewise |" in PAGE
    assert TOLERANCES["fp32"].latent == 1e-4 and TOLERANCES["fp32"].image == 1e-3


def test_every_option_of_the_page_is_one_of_the_verb() -> None:
    from dataclasses import fields

    from dseinvert.export.options import ExportOptions

    named = {*re.findall(r"^\| `--([a-z]+)", PAGE, re.M)}
    assert named == {field.name for field in fields(ExportOptions)} - {"out"}
