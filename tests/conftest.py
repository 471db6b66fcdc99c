"""What all tests may use: a tiny model, pictures that are no faces, and the command line."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from dseinvert.cli.main import run
from dseinvert.editing.directions import Direction
from dseinvert.encoders.dse import DSEConfig, DSEEncoder
from dseinvert.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from dseinvert.media.images import encode_png
from dseinvert.models import open_model, save_model
from tests.forked import Forked

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

HEAVY = (
    "test_bombs.py",
    "test_crew.py",
    "test_cluster_kills.py",
    "test_ui_page.py",
    "test_video_kill.py",
)
"""Whose quick tests take as long as slow ones."""
torch.set_num_threads(1)  # the suite's nets are so small that a second thread only waits


def pytest_xdist_auto_num_workers() -> int:
    """Each process holds PyTorch, and many start others."""
    return min(4, os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow ones first, some modules of them for each process: none waits for another's end.

    xdist gives each process an equal run of the items, and moves what is left at their ends.
    """
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    slow = [item for item in items if heavy(item)]
    quick = [item for item in items if not heavy(item)]
    shares: list[list[pytest.Item]] = [[] for _ in range(count)]
    for place, (_, module) in enumerate(groupby(slow, key=lambda item: item.path)):
        shares[place % count].extend(module)
    left = len(items)
    items.clear()
    for place, share in enumerate(shares):
        size = left // (count - place)
        items += [*share, *(quick.pop(0) for _ in range(min(len(quick), size - len(share))))]
        left -= size
    items += quick


def heavy(item: pytest.Item) -> bool:
    """Whether a process that has this left at the end would keep the others waiting."""
    return item.get_closest_marker("slow") is not None or item.path.name in HEAVY


def build_tiny_model(folder: Path, seed: int = 0) -> Path:
    """A model of random weights, 16 px, with directions age and smile."""
    torch.manual_seed(seed)
    generator = StyleGAN2(StyleGAN2Config(16, {4: 16, 8: 16, 16: 8}, 16, 16, 2))
    encoder = DSEEncoder(DSEConfig(16, 6, 16, (8, 16, 16)))
    save_model(folder, generator, encoder, name="tiny")
    sha256 = open_model(str(folder)).sha256
    directions = {
        name: Direction(name, torch.randn(6, 16), "w+", "one deviation", sha256)
        for name in ("age", "smile")
    }
    save_model(folder, generator, encoder, directions, name="tiny", alignment="ffhq")
    return folder


def picture(seed: int, height: int = 40, width: int = 40) -> np.ndarray:
    """Soft blobs of colour [H, W, 3], different for each seed."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (5, 5, 3))
    rows = np.linspace(0, 4, height).round().astype(int)
    columns = np.linspace(0, 4, width).round().astype(int)
    return coarse[rows][:, columns].astype(np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's models are kept: not in the user's cache."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DSEINVERT_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def modules() -> list[str]:
    """The dotted names of all modules, those of `export/` as installed."""
    found = [path.relative_to(ROOT) for path in (ROOT / "dseinvert").rglob("*.py")]
    export = [path.relative_to(ROOT) for path in (ROOT / "export").rglob("*.py")]
    paths = [*found, *(Path("dseinvert") / path for path in export)]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return sorted(names - {"dseinvert.__main__"})


@pytest.fixture(scope="session")
def foreign_gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StyleGAN2 of 32 px, L=8 and D=20, as genforce saves it."""
    recipe = ROOT / "tests" / "references" / "progressive.py"
    spec = importlib.util.spec_from_file_location("progressive", recipe)
    assert spec is not None and spec.loader is not None
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    arrays = published.state(published.reference("stylegan2-genforce"))
    file = tmp_path_factory.mktemp("foreign") / "foreign-gan.pth"
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({"generator_smooth": state}, file)
    return file


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a 16 px model with an encoder and the directions age and smile."""
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same shape with other weights."""
    return build_tiny_model(tmp_path_factory.mktemp("model") / "other", seed=1)


@pytest.fixture(scope="session")
def blobs() -> Callable[..., np.ndarray]:
    """`blobs(seed, height, width)` draws a picture [H, W, 3]."""
    return picture


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of seven square pictures p0.png ... p6.png; for --no-align."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(7):
        (folder / f"p{seed}.png").write_bytes(encode_png(picture(seed)))
    return folder


@pytest.fixture(scope="session")
def faces_folder() -> Path:
    """A folder of photos with faces: the examples, or the shared portraits beside the checkout."""
    for folder in (ROOT / "examples" / "faces", SHARED / "data" / "portraits-cc0"):
        if folder.is_dir():
            return folder
    pytest.skip("no photos of faces here")


@pytest.fixture
def dse(tiny_model: Path) -> Callable[..., int]:
    """Run the command line in this process: `dse("images", folder, "--out", out)` -> exit code.

    `images`, `edit` and `video` get the tiny model unless another is named.
    """

    def call(verb: str, *arguments: object) -> int:
        words = [verb, *map(str, arguments)]
        if verb in ("images", "edit", "video") and "--model" not in words:
            words += ["--model", str(tiny_model)]
        return run(words)

    return call


@pytest.fixture
def dse_process(tiny_model: Path) -> Callable[..., Forked]:
    """As `dse`, in a process of its own that can be killed."""

    def start(verb: str, *arguments: object) -> Forked:
        words = [verb, *arguments, "--model", tiny_model]
        return Forked("dseinvert", words, ROOT, child_environment())

    return start


def child_environment() -> dict[str, str]:
    """An environment in which a child finds this checkout and does not fight for the cores."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
