"""The arrows between rooms point one way, and what must start fast or be fuzzed stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = {
    "dseinvert": ROOT / "dseinvert",
    "dseinvert.export": ROOT / "export",
    "recipe": ROOT / "bin" / "recipe",
    "measure": ROOT / "bin" / "measure",
}
HOUSE = (
    *(
        "version",
        "errors",
        "names",
        "stop",
        "progress",
        "timecode",
        "written",
        "config",
        "cards",
        "media",
        "pickled",
        "latent",
    ),
    *("generators", "encoders", "similarity", "faces", "editing", "importers", "models"),
    *("inversion", "evaluation", "video", "training", "export", "run", "api", "ui", "cli"),
    # Not installed; of the package they may use all, and it knows nothing of them.
    *("recipe", "measure"),
)
DOORS = {"", "__main__", "bundled"}
"""What is no room: the package itself, its entrance, and data."""


def names_of_modules() -> Iterator[tuple[str, Path]]:
    for tree, folder in TREES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((tree, *(part for part in parts if part != "__init__"))), path


MODULES = dict(names_of_modules())


def room(name: str) -> str:
    """`dseinvert.media.clip` -> `media`, `recipe.gan.pieces` -> `recipe`; "" = of others."""
    package, *inside = name.split(".")
    if package == "dseinvert":
        return inside[0] if inside else ""
    return package if package in TREES else ""


def imports(path: Path) -> Iterator[str]:
    """Everything that a file imports, at its top or later, by full names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imported_modules(path: Path) -> set[str]:
    """Those of ours; a name that is no module stands for the one that it comes from."""
    names = (name if name in MODULES else name.rpartition(".")[0] for name in imports(path))
    return {name for name in names if name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_only_from_rooms_above_it(name: str) -> None:
    own = room(name)
    if own in DOORS:
        pytest.skip("no room")
    assert own in HOUSE, f"{name} has no place in the house"
    above = {*HOUSE[: HOUSE.index(own) + 1]}
    used = {room(imported) for imported in imports(MODULES[name])}
    assert used & {*HOUSE} <= above


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    TopologicalSorter(arrows).prepare()  # raises a CycleError that shows the circle


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("dseinvert.cli.main", ("torch", "cv2", "numpy", "PIL", "rich")),
        ("dseinvert.media.images", ("torch",)),
        ("dseinvert.media.scan", ("torch",)),
        ("dseinvert.faces.detect", ("torch",)),
        ("dseinvert.faces.paste", ("torch",)),
        *((f"dseinvert.video.{name}", ("torch",)) for name in ("tracks", "steady", "metrics")),
        *(
            (name, ("onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt", "torch._dynamo"))
            for name in ("dseinvert.run.images.run", "dseinvert.export.exporting")
        ),
    ],
)
def test_importing_it_does_not_load(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[n for n in {heavy!r} if n in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


def test_rich_is_for_the_terminal_and_the_verbs_alone() -> None:
    users = {name for name, path in MODULES.items() if "rich" in roots(path)}
    installed = {name for name in users if name.startswith("dseinvert.")}
    assert {n for n in installed if room(n) != "cli"} == {"dseinvert.run.flow.progress"}


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}
