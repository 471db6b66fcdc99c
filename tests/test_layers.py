"""The arrows between rooms point one way, and what must start fast or be fuzzed stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dseinvert"
HOUSE = (
    *("errors", "latent", "config", "media", "generators", "encoders", "similarity", "faces"),
    *(
        "editing",
        "importers",
        "models",
        "inversion",
        "evaluation",
        "video",
        "training",
        "export",
        "run",
        "cli",
    ),
)
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in HOUSE
)


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    own = room(path)
    if own not in HOUSE:
        pytest.skip("data only")
    above = {*HOUSE[: HOUSE.index(own) + 1]}
    names = [name.split(".") for name in imports(ast.parse(path.read_text("utf-8")))]
    used = {parts[1] for parts in names if parts[0] == "dseinvert" and len(parts) > 1}
    assert used & {*HOUSE} <= above


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("dseinvert.cli.main", ("torch", "cv2", "numpy", "PIL", "rich")),
        ("dseinvert.media.images", ("torch",)),
        ("dseinvert.media.scan", ("torch",)),
        ("dseinvert.faces.detect", ("torch",)),
        ("dseinvert.faces.paste", ("torch",)),
        *((f"dseinvert.video.{name}", ("torch",)) for name in ("tracks", "steady", "metrics")),
    ],
)
def test_importing_it_does_not_load(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[n for n in {heavy!r} if n in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


def test_rich_is_for_the_terminal_and_the_verbs_alone() -> None:
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "export").rglob("*.py")]
    users = {path for path in files if "rich" in roots(path)}
    terminal = PACKAGE / "run" / "flow" / "progress.py"
    assert {path for path in users if path.parent != PACKAGE / "cli"} == {terminal}


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}
