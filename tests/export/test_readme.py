"""What the deployment page shows is run as it is written there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.editing.apply import apply_edits, parse_edits
from dseinvert.export.exporting import Exported, export_model
from dseinvert.export.options import ExportOptions
from dseinvert.export.parity import TOLERANCES
from dseinvert.generators.pixels import to_pixels, to_tensor
from dseinvert.media.images import encode_png, read_image
from dseinvert.models import Model
from tests.conftest import ROOT, picture
from tests.test_docs import EXPORTS, commands, run_line, runnable

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


# What a program needs besides the call that the page shows.
MAIN = """
#include <fstream>
#include <iterator>
int main(int, char** words) {
  Ort::Env env;
  Ort::SessionOptions options;
  Ort::Session encoder(env, words[1], options), generator(env, words[2], options);
  std::ifstream in(words[3], std::ios::binary);
  std::vector<uint8_t> face{std::istreambuf_iterator<char>(in), {}};
  auto drawn = redraw(encoder, generator, face, 16);
  std::ofstream out(words[4], std::ios::binary);
  out.write(reinterpret_cast<char*>(drawn.data()), drawn.size());
}
"""


def code(language: str) -> str:
    """All of the page in that language, one after the other."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found
    return "\n".join(found)


def test_the_python_of_the_page_works_without_this_program(
    tiny: Model, exported: Exported, edited: Exported, tmp_path: Path
) -> None:
    shutil.copytree(exported.folder, tmp_path / "exported")
    edited.folder.rename(tmp_path / "editing")
    (tmp_path / "face.png").write_bytes(encode_png(face := picture(3, 16, 16)))
    lines = "import sys\nfor name in ('torch', 'dseinvert'):\n    sys.modules[name] = None\n"
    ends = "\nassert names == ['age', 'smile']\nnp.save('edited.npy', edited)\n"
    command = [sys.executable, "-c", lines + code("python") + ends]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert tiny.encoder is not None
    with torch.inference_mode():
        latent = tiny.encoder.encode(to_tensor([face]))
        (wanted,) = to_pixels(tiny.generator.synthesize(latent))
    assert np.abs(np.load(tmp_path / "face.npy") - latent.code.numpy()).max() < 1e-4
    redrawn = read_image(tmp_path / "redrawn.png")
    assert np.abs(redrawn.astype(int) - wanted.astype(int)).max() <= 1
    with torch.inference_mode():
        moved = apply_edits(latent, parse_edits("age=2,smile=-1", tiny.directions))
        drawn = tiny.generator.synthesize(moved).numpy()
    assert np.abs(np.load(tmp_path / "edited.npy") - drawn).max() < 1e-3


@pytest.mark.slow
def test_the_commands_of_the_page_work(tmp_path: Path, tiny_model: Path) -> None:
    lines = commands(ROOT / "export" / "README.md")
    assert lines[0] == EXPORTS  # which test_docs runs as it is
    tiny = [line.replace("default", str(tiny_model)) for line in lines]
    lines = [line for line in tiny if runnable(line)]
    assert len(lines) >= 3
    for line in lines:  # with a model of seconds
        run_line(line, tmp_path)
    for folder, file in (("exported", "encoder"), ("editing", "editor"), ("served", "generator")):
        assert (tmp_path / folder / f"{file}.onnx").is_file()
    assert (tmp_path / "served" / "triton" / "tiny_encoder" / "config.pbtxt").is_file()


def test_the_cpp_of_the_page_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    (tmp_path / "redraw.cpp").write_text(code("cpp"))
    command = [compiler, "-std=c++17", "-fsyntax-only", "redraw.cpp"]
    if not has_headers(compiler):
        (tmp_path / "onnxruntime_cxx_api.h").write_text(STANDINS)
        command += ["-I", "."]
    subprocess.run(command, cwd=tmp_path, check=True)


def has_headers(compiler: str) -> bool:
    probe = [compiler, "-std=c++17", "-E", "-x", "c++", "-"]
    asked = "#include <onnxruntime_cxx_api.h>\n"
    return subprocess.run(probe, input=asked, capture_output=True, text=True).returncode == 0


def test_the_cpp_of_the_page_draws_what_torch_does(tiny: Model, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    compiler = shutil.which("c++")
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if compiler is None or not libraries or not has_headers(compiler):
        pytest.skip("no C++ compiler, or no headers or library of ONNX Runtime, here")
    made = export_model(tiny, ExportOptions(out=tmp_path / "pixels", pixels=True))
    (tmp_path / "redraw.cpp").write_text(code("cpp") + MAIN)
    library = [str(libraries[0]), f"-Wl,-rpath,{libraries[0].parent}"]
    command = [compiler, "-std=c++17", "redraw.cpp", *library, "-o", "redraw"]
    subprocess.run(command, cwd=tmp_path, check=True)
    # The library is found under the name it was built with.
    (tmp_path / "libonnxruntime.so.1").symlink_to(libraries[0])
    face = picture(3, 16, 16)
    (tmp_path / "face").write_bytes(face.tobytes())
    files = [str(made.folder / f"{name}.onnx") for name in ("encoder", "generator")]
    subprocess.run(
        ["./redraw", *files, "face", "drawn"],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    drawn = np.frombuffer((tmp_path / "drawn").read_bytes(), np.uint8).reshape(16, 16, 3)
    assert tiny.encoder is not None
    with torch.inference_mode():
        (wanted,) = to_pixels(tiny.generator.synthesize(tiny.encoder.encode(to_tensor([face]))))
    assert np.abs(drawn.astype(int) - wanted.astype(int)).max() <= 1


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
