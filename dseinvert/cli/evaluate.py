"""`dseinvert evaluate`: numbers that say how good a result is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dseinvert.cli.stdout import print_json, reserved_stdout
from dseinvert.errors import DseInvertError


def evaluate(
    video: Annotated[
        tuple[Path, Path], typer.Option(metavar="SOURCE EDITED", help="Two videos to compare.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details and tracebacks.")
    ] = False,
) -> int:
    """Measure how steady an edited video is against its source.

    dseinvert evaluate --video clip.mp4 older.mp4
    """
    try:
        numbers = _run(*video, quiet)
    except DseInvertError as error:
        if json:
            print_json({"exit_code": int(error.exit_code), "error": str(error)})
        raise
    if json:
        print_json(numbers)
        return 0
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"{name:<{width}}  {_plain(value)}")
    return 0


def _run(source: Path, edited: Path, quiet: bool) -> dict[str, Any]:
    with reserved_stdout():
        from dseinvert.run.progress import watching
        from dseinvert.run.video_evaluate import evaluate_videos

        with watching(quiet) as watcher:
            return evaluate_videos(source, edited, watcher)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "; ".join(value) or "none" if isinstance(value, list) else str(value)
